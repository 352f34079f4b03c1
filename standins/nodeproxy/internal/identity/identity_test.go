package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/standins/nodeproxy/internal/proxytest"
)

const idA, idB, idOther = "spiffe://td/ns/a/sa/a", "spiffe://td/ns/b/sa/b", "spiffe://elsewhere/ns/a/sa/a"

func manager(t *testing.T, ca CA) *Manager {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return NewManager(ctx, ca)
}

func TestManyCallersOneRequest(t *testing.T) {
	ca := proxytest.NewCA()
	ca.Hold = make(chan struct{})
	m := manager(t, ca)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if c, err := m.Get(context.Background(), idA); err != nil {
				t.Error(err)
			} else if c.Identity != idA {
				t.Errorf("got identity %s, want %s", c.Identity, idA)
			}
		})
	}
	close(ca.Hold)
	wg.Wait()
	if n := ca.Calls.Load(); n != 1 {
		t.Fatalf("%d requests to the CA", n)
	}
}

func TestRenewedAtHalfLifeAndKeptWhileTheCAFails(t *testing.T) {
	ca := proxytest.NewCA()
	m := manager(t, ca)
	var waits []time.Duration
	var mu sync.Mutex
	next := make(chan chan time.Time)
	m.after = func(d time.Duration) <-chan time.Time {
		mu.Lock()
		waits = append(waits, d)
		mu.Unlock()
		c := make(chan time.Time, 1)
		next <- c
		return c
	}
	m.Hold(idA)
	tick := <-next
	first, err := m.Get(context.Background(), idA)
	if err != nil {
		t.Fatal(err)
	}
	if w := waits[0]; w < 29*time.Minute || w > 30*time.Minute {
		t.Fatalf("certificate of 1 h renewed after %v", w)
	}
	ca.SetFail(errors.New("no CA today"))
	tick <- time.Now()
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 150, 150} {
		tick = <-next
		mu.Lock()
		got := waits[len(waits)-1]
		mu.Unlock()
		if got != want*time.Second {
			t.Fatalf("failure %d: next try after %v, expected %v s", i, got, int64(want))
		}
		if c, err := m.Get(context.Background(), idA); err != nil {
			t.Fatal(err)
		} else if c != first {
			t.Fatal("a valid certificate must stay in use")
		}
		if i == 9 {
			ca.SetFail(nil)
		}
		tick <- time.Now()
	}
	<-next
	if c, err := m.Get(context.Background(), idA); err != nil {
		t.Fatal(err)
	} else if c == first {
		t.Fatal("not renewed")
	}
}

func TestFailureIsToldAtOnceAndMended(t *testing.T) {
	ca := proxytest.NewCA()
	ca.SetFail(errors.New("no pod of this account on the node"))
	m := manager(t, ca)
	tick := make(chan time.Time)
	m.after = func(time.Duration) <-chan time.Time { return tick }
	_, err := m.Get(context.Background(), idA)
	for _, want := range []string{"no pod of this account", idA} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Fatalf("got %v, want it to say %q", err, want)
		}
	}
	if _, err := m.Get(context.Background(), idA); err == nil {
		t.Fatal("got a certificate, want the failure again")
	}
	if n := ca.Calls.Load(); n != 1 {
		t.Fatalf("back-off not kept: got %d calls, want 1", n)
	}
	ca.SetFail(nil)
	tick <- time.Now()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if _, err := m.Get(context.Background(), idA); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestWrongIdentityRefused(t *testing.T) {
	ca := proxytest.NewCA()
	ca.As = "/ns/x/sa/x"
	if _, err := manager(t, ca).Get(context.Background(), idA); !strings.Contains(fmt.Sprint(err), "instead of") {
		t.Fatalf("got %v, want it to say what it got instead of what", err)
	}
}

func TestDroppedWithItsLastHolder(t *testing.T) {
	m := manager(t, proxytest.NewCA())
	m.Hold(idA)
	m.Hold(idA)
	m.Drop(idA)
	if len(m.All()) != 1 {
		t.Fatal("dropped too early")
	}
	m.Drop(idA)
	if len(m.All()) != 0 {
		t.Fatal("kept")
	}
}

func TestHandshake(t *testing.T) {
	ca, rogue := proxytest.NewCA(), proxytest.NewCA()
	get := func(ca CA, id string) *Certificate {
		c, err := manager(t, ca).Get(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server := get(ca, idB)
	for _, tc := range []struct {
		name   string
		client *Certificate
		sans   []string
		want   string // in either side's error; "" for success
	}{
		{"good", get(ca, idA), []string{"spiffe://td/ns/x/sa/x", idB}, ""},
		{"unexpected server", get(ca, idA), []string{"spiffe://td/ns/x/sa/x"}, "expected SAN"},
		{"prefix of the server's", get(ca, idA), []string{"spiffe://td/ns/b/sa/"}, "expected SAN"},
		{"no expectation", get(ca, idA), nil, "expected SAN"},
		{"other trust domain", get(ca, idOther), []string{idB}, "trust domain"},
		{"rogue CA", get(rogue, idA), []string{idB}, "unknown authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := net.Pipe()
			errs := make(chan error, 2)
			var peer string
			var proto string
			go func() {
				s := tls.Server(b, server.Server())
				err := s.HandshakeContext(context.Background())
				if err == nil {
					peer, proto = Peer(s.ConnectionState()), s.ConnectionState().NegotiatedProtocol
				}
				b.Close()
				errs <- err
			}()
			c := tls.Client(a, tc.client.Client(tc.sans))
			err := c.HandshakeContext(context.Background())
			if err == nil { // TLS 1.3: the server's refusal arrives with the first read
				_, err = c.Read(make([]byte, 1))
				if err != nil && strings.Contains(err.Error(), "EOF") {
					err = nil
				}
			}
			a.Close()
			serr := <-errs
			all := errors.Join(err, serr)
			if tc.want != "" {
				if !strings.Contains(fmt.Sprint(all), tc.want) {
					t.Errorf("got %v, want %q", all, tc.want)
				}
				return
			}
			if all != nil {
				t.Fatalf("got %v, want a handshake", all)
			}
			if diff := cmp.Diff([]any{idA, "h2", uint16(tls.VersionTLS13)}, []any{peer, proto, c.ConnectionState().Version}); diff != "" {
				t.Errorf("peer, protocol and version (-want +got):\n%s", diff)
			}

		})
	}
}

func TestNoSNINoOldTLS(t *testing.T) {
	ca := proxytest.NewCA()
	m := manager(t, ca)
	cert, err := m.Get(context.Background(), idA)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	go tls.Client(a, cert.Client([]string{idB})).Handshake()
	seen := make(chan *tls.ClientHelloInfo, 1)
	go tls.Server(
		b,
		&tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) { seen <- h; return nil, errors.New("enough") }},
	).Handshake()
	h := <-seen
	want := []any{"", []uint16{tls.VersionTLS13}, []string{"h2"}}
	if diff := cmp.Diff(want, []any{h.ServerName, h.SupportedVersions, h.SupportedProtos}); diff != "" {
		t.Fatalf("SNI, versions and ALPN (-want +got):\n%s", diff)
	}
	a.Close()
	b.Close()
}

func TestValid(t *testing.T) {
	for id, want := range map[string]bool{
		idA: true, "spiffe://td/ns/a/sa/": false, "spiffe:///ns/a/sa/b": false, "spiffe://td/ns/a/sa/b/c": false,
		"https://td/ns/a/sa/b": false, "": false,
	} {
		t.Run(id, func(t *testing.T) {
			if got := Valid(id); got != want {
				t.Errorf("got %t, want %t", got, want)
			}
		})
	}
}
