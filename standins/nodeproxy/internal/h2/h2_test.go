package h2

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
)

func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func pair(t *testing.T, cfg Config, h Handler) *Conn {
	t.Helper()
	b, a := tcpPair(t)
	s, err := Server(a, cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c, err := Client(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func connect(t *testing.T, c *Conn, authority string) (*Stream, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if !c.ReserveStream(100) {
		t.Fatal("no stream to be had")
	}
	s, _, err := c.Connect(ctx, authority, Header{"baggage": "a=b"})
	return s, err
}

func TestBulkBothWays(t *testing.T) {
	data := make([]byte, 20<<20) // more than every window
	rand.Read(data)
	c := pair(t, Config{}, func(s *Stream, r *Request) {
		if !r.IsConnect() {
			t.Errorf("got %+v, want a CONNECT", r)
		}
		if diff := cmp.Diff([]string{"x:1", "a=b"}, []string{r.Authority, r.Header["baggage"]}); diff != "" {
			t.Errorf("authority and baggage (-want +got):\n%s", diff)
		}
		s.Respond(200, nil, false)
		io.Copy(s, s)
		s.CloseWrite()
		s.Close()
	})
	s, err := connect(t, c, "x:1")
	if err != nil {
		t.Fatal(err)
	}
	go func() { s.Write(data); s.CloseWrite() }()
	got, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("got %d other bytes back than the %d sent", len(got), len(data))
	}
}

// The server says all it has to say and half-closes; the client goes on sending and every byte
// arrives.
func TestServerHalfClosesFirst(t *testing.T) {
	got := make(chan string, 1)
	c := pair(t, Config{}, func(s *Stream, _ *Request) {
		s.Respond(200, nil, false)
		io.WriteString(s, "bye")
		s.CloseWrite()
		b, err := io.ReadAll(s)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
		s.Close()
	})
	s, err := connect(t, c, "x:1")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	} else if string(b) != "bye" {
		t.Fatalf("got %q, want bye", b)
	}
	if _, err := io.WriteString(s, "still here"); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite()
	if g := <-got; g != "still here" {
		t.Fatalf("server read %q", g)
	}
}

func TestStatus(t *testing.T) {
	c := pair(t, Config{}, func(s *Stream, _ *Request) { s.Respond(401, nil, true); s.Close() })
	_, err := connect(t, c, "x:1")
	var se *StatusError
	if !errors.As(err, &se) {
		t.Fatalf("got %v, want a status", err)
	}
	if se.Code != 401 {
		t.Fatalf("got status %d, want 401", se.Code)
	}
	if got, want := se.Error(), "http status: 401 Unauthorized"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// A stalled stream holds back its own bytes and no other stream's.
func TestStalledStreamDoesNotStallOthers(t *testing.T) {
	c := pair(t, Config{}, func(s *Stream, r *Request) {
		s.Respond(200, nil, false)
		if r.Authority == "stalled:1" {
			<-s.c.Done()
			return
		}
		io.Copy(s, s)
		s.CloseWrite()
		s.Close()
	})
	st, err := connect(t, c, "stalled:1")
	if err != nil {
		t.Fatal(err)
	}
	st.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := st.Write(make([]byte, 8<<20))
	if err == nil {
		t.Fatal("wrote all past a 4 MiB window")
	}
	if n > 4<<20 {
		t.Fatalf("wrote %d past a 4 MiB window: %v", n, err)
	}
	s, err := connect(t, c, "x:1")
	if err != nil {
		t.Fatal(err)
	}
	go func() { s.Write(make([]byte, 1<<20)); s.CloseWrite() }()
	if b, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	} else if len(b) != 1<<20 {
		t.Fatalf("got %d bytes, want %d", len(b), 1<<20)
	}
}

func TestResetIsNotAnHTTP2StreamError(t *testing.T) {
	c := pair(t, Config{}, func(s *Stream, _ *Request) {
		s.Respond(200, nil, false)
		s.Reset(http2.ErrCodeInternal)
	})
	s, err := connect(t, c, "x:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Read(make([]byte, 1))
	var foreign http2.StreamError
	var own *ResetError
	if errors.As(err, &foreign) {
		t.Fatalf("%T %v is the library's own error", err, err)
	}
	if !errors.As(err, &own) {
		t.Fatalf("got %T %v, want an error of this package", err, err)
	}
	if own.Code != http2.ErrCodeInternal {
		t.Fatalf("got code %v, want %v", own.Code, http2.ErrCodeInternal)
	}
}

func TestGoAwayDrains(t *testing.T) {
	var srv atomic.Pointer[Conn]
	release := make(chan struct{})
	c := pair(t, Config{}, func(s *Stream, _ *Request) {
		srv.Store(s.c)
		s.Respond(200, nil, false)
		<-release
		io.WriteString(s, "late")
		s.CloseWrite()
		io.Copy(io.Discard, s)
		s.Close()
	})
	s, err := connect(t, c, "x:1")
	if err != nil {
		t.Fatal(err)
	}
	srv.Load().GoAway()
	for c.ReserveStream(100) { // until the GOAWAY has arrived
		c.Release()
		time.Sleep(time.Millisecond)
	}
	close(release)
	if b, err := io.ReadAll(s); err != nil {
		t.Fatalf("an open stream must finish: %v", err)
	} else if string(b) != "late" {
		t.Fatalf("an open stream must finish: got %q, want late", b)
	}
	s.CloseWrite()
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("a drained connection stays open")
	}
}

func TestMaxStreamsRefused(t *testing.T) {
	c := pair(t, Config{MaxStreams: 1}, func(s *Stream, _ *Request) { s.Respond(200, nil, false); <-s.c.Done() })
	if _, err := connect(t, c, "x:1"); err != nil {
		t.Fatal(err)
	}
	for c.ReserveStream(100) { // until the server's SETTINGS have arrived: then the client knows its limit
		c.Release()
		time.Sleep(time.Millisecond)
	}
}

func TestDeadPeerIsFoundByPing(t *testing.T) {
	a, b := net.Pipe()
	go io.Copy(io.Discard, b) // reads and never answers
	c, err := Client(a, Config{PingEvery: 20 * time.Millisecond, PingTimeout: 60 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("a peer that answers no ping is kept")
	}
}

func TestNotHTTP2(t *testing.T) {
	a, b := tcpPair(t)
	go func() { io.Copy(io.Discard, b) }()
	go b.Write([]byte("GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
	s, err := Server(a, Config{}, func(*Stream, *Request) {})
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if s.Err() == nil {
		t.Fatal("no error")
	}
}

// net/http's client is an independent reading of the RFC.
func TestAgainstNetHTTP2Client(t *testing.T) {
	a, b := tcpPair(t)
	if _, err := Server(a, Config{}, func(s *Stream, r *Request) {
		if !r.IsConnect() {
			s.Respond(400, nil, true)
			s.Close()
			return
		}
		s.Respond(200, Header{"baggage": "k=v"}, false)
		io.Copy(s, s)
		s.CloseWrite()
		s.Close()
	}); err != nil {
		t.Fatal(err)
	}
	cc, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(b)
	if err != nil {
		t.Fatal(err)
	}
	foreignClient(t, cc)
}
