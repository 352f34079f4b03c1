package portforward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/mesh/meshtest"
)

// serving is the far end of port-forwards to the pod ns/p.
func serving(ports meshtest.Ports) *meshtest.Kubelet {
	return &meshtest.Kubelet{Pods: map[string]meshtest.Ports{"ns/p": ports}}
}

// pod opens the way into the pod ns/p of a cluster whose API server is h.
func pod(t *testing.T, h http.Handler) *Pod {
	t.Helper()
	s := httptest.NewServer(h)
	path := meshtest.Kubeconfig(t, s.URL)
	p := Open(&mesh.Cluster{Name: "c1", Kubeconfig: path}, "ns", "p")
	t.Cleanup(func() { p.Close(); s.CloseClientConnections(); s.Close() })
	return p
}

func dial(t *testing.T, p *Pod, port int) net.Conn {
	t.Helper()
	c, err := p.Dial(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends a question, half-closes and returns the answer.
func ask(t *testing.T, c net.Conn, question string) (string, error) {
	t.Helper()
	if _, err := io.WriteString(c, question); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// afterEOF answers when the client has half-closed, and not before.
func afterEOF(data io.ReadWriter) error {
	b, err := io.ReadAll(data)
	if err == nil {
		_, err = fmt.Fprintf(data, "got %s", b)
	}
	return err
}

func TestData(t *testing.T) {
	k := serving(meshtest.Ports{80: afterEOF})
	p := pod(t, k)
	first, second := dial(t, p, 80), dial(t, p, 80)
	for c, question := range map[net.Conn]string{first: "one", second: "two"} {
		got, err := ask(t, c, question)
		if err != nil {
			t.Errorf("got error %v, want none", err)
		}
		if want := "got " + question; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if n := len(k.Connections()); n != 1 {
		t.Errorf("got %d connections to the API server, want one for both streams", n)
	}
	if got, want := first.RemoteAddr().String(), "c1/ns/p:80"; got != want {
		t.Errorf("got remote address %q, want %q", got, want)
	}
}

func TestHTTP(t *testing.T) {
	p := pod(t, serving(meshtest.Ports{15020: func(data io.ReadWriter) error {
		r, err := http.ReadRequest(bufio.NewReader(data))
		if err == nil {
			_, err = fmt.Fprintf(data, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r.URL.Path), r.URL.Path)
		}
		return err
	}}))
	resp, err := p.HTTP().Get("http://any-name:15020/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), "/metrics"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What ended a connection on our side says nothing of the pod.
func TestLost(t *testing.T) {
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	k := serving(meshtest.Ports{
		1: func(io.ReadWriter) error { <-silent; return nil },
		2: func(io.ReadWriter) error { return nil },
		3: func(io.ReadWriter) error { return errors.New("failed to connect to localhost:3: connection refused") },
		4: func(io.ReadWriter) error { return errors.New("read: connection reset by peer") },
	})
	for name, c := range map[string]struct {
		port int
		end  func(net.Conn)
		want string // part of the error; empty = nil
	}{
		"the pod closed":           {2, func(net.Conn) {}, ""},
		"the pod reset":            {4, func(net.Conn) {}, ""},
		"the port is not open":     {3, func(net.Conn) {}, "failed to connect"},
		"our deadline passed":      {1, func(c net.Conn) { _ = c.SetDeadline(time.Now().Add(10 * time.Millisecond)) }, "i/o timeout"},
		"the API server went away": {1, func(net.Conn) { _ = k.Connections()[len(k.Connections())-1].Close() }, "API server was lost"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, pod(t, k), c.port)
			c.end(conn)
			_, _ = io.ReadAll(conn)
			lost := Lost(conn)
			if (lost == nil) != (c.want == "") {
				t.Fatalf("got %v, want %q", lost, c.want)
			}
			if lost != nil && !strings.Contains(lost.Error(), c.want) {
				t.Errorf("got %v, want %q", lost, c.want)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	p := pod(t, serving(meshtest.Ports{
		1: func(io.ReadWriter) error { <-silent; return nil },
		2: func(data io.ReadWriter) error {
			time.Sleep(100 * time.Millisecond)
			_, err := io.WriteString(data, "late")
			return err
		},
	}))
	t.Run("passes", func(t *testing.T) {
		c := dial(t, p, 1)
		if err := c.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.As(err, &timeout) {
			t.Fatalf("got %v, want a timeout", err)
		}
		if !timeout.Timeout() {
			t.Fatalf("got %v, which is no timeout", err)
		}
		if got, want := err.Error(), "c1/ns/p:1: i/o timeout"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("is taken back", func(t *testing.T) {
		c := dial(t, p, 2)
		if err := c.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("got error %v, want none", err)
		}
		if got, want := string(b), "late"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// What the kubelet says on the error stream is the error of the read. Bytes that arrive before it
// must not be lost.
func TestRefusedPort(t *testing.T) {
	p := pod(t, serving(meshtest.Ports{
		1: func(data io.ReadWriter) error {
			_, _ = io.WriteString(data, "last words")
			return errors.New("connection reset by peer")
		},
	}))
	t.Run("nobody listens", func(t *testing.T) {
		got, err := ask(t, dial(t, p, 9), "hello")
		if got != "" {
			t.Errorf("got %q, want no byte", got)
		}
		if !strings.Contains(fmt.Sprint(err), "connect to port 9: connection refused") {
			t.Errorf("got %v, want the refusal that the kubelet tells", err)
		}
	})
	t.Run("answers, then resets", func(t *testing.T) {
		got, err := ask(t, dial(t, p, 1), "hello")
		if want := "last words"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if !strings.Contains(fmt.Sprint(err), "connection reset by peer") {
			t.Errorf("got %v, want the reset that the kubelet tells", err)
		}
	})
}

func TestConnectionIsDialedAnew(t *testing.T) {
	k := serving(meshtest.Ports{80: afterEOF})
	p := pod(t, k)
	if _, err := ask(t, dial(t, p, 80), "one"); err != nil {
		t.Fatal(err)
	}
	for _, c := range k.Connections() {
		_ = c.Close()
	}
	got, err := ask(t, dial(t, p, 80), "two")
	if err != nil {
		t.Errorf("got error %v, want none", err)
	}
	if want := "got two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(k.Connections()); n != 2 {
		t.Errorf("got %d connections to the API server, want a second one after the first was lost", n)
	}
}

func TestDialFails(t *testing.T) {
	t.Run("API server refuses", func(t *testing.T) {
		p := pod(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no right", http.StatusForbidden) }))
		_, err := p.Dial(t.Context(), 80)
		if !strings.Contains(fmt.Sprint(err), "port-forward to c1/ns/p: ") {
			t.Errorf("got %v, want an error that names the pod", err)
		}
	})
	t.Run("API server does not answer", func(t *testing.T) {
		end := make(chan struct{})
		p := pod(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
		defer close(end)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := p.Dial(ctx, 80); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
}
