package h2

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func foreignClient(t *testing.T, cc *http2.ClientConn) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	req := &http.Request{
		Method:        "CONNECT",
		URL:           &url.URL{Scheme: "https", Host: "x:1"},
		Host:          "x:1",
		Header:        http.Header{},
		Body:          io.NopCloser(bytes.NewReader(data)),
		ContentLength: -1,
	}
	resp, err := cc.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("got %d other bytes back than the %d sent", len(got), len(data))
	}
	if b := resp.Header.Get("Baggage"); b != "k=v" {
		t.Fatalf("got baggage %q, want k=v", b)
	}
	get, err := cc.RoundTrip(
		&http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "x:1", Path: "/"}, Host: "x:1", Header: http.Header{}},
	)
	if err != nil {
		t.Fatal(err)
	}
	get.Body.Close()
	if get.StatusCode != 400 {
		t.Fatalf("GET answered %d", get.StatusCode)
	}
}

func TestAgainstNetHTTP2Server(t *testing.T) {
	a, b := tcpPair(t)
	go (&http2.Server{}).ServeConn(b, &http2.ServeConnOpts{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "CONNECT" || r.Host != "host.example:80" {
			w.WriteHeader(400)
			return
		}
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		io.Copy(w, r.Body)
	})})
	c, err := Client(a, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.ReserveStream(1)
	s, _, err := c.Connect(ctx, "host.example:80", nil)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), 3<<20)
	go func() { s.Write(data); s.CloseWrite() }()
	if got, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	} else if !bytes.Equal(got, data) {
		t.Fatalf("got %d other bytes back than the %d sent", len(got), len(data))
	}
}
