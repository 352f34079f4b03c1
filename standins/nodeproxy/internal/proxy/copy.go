package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"

	"ambient.test/conformance/standins/nodeproxy/internal/h2"
	"ambient.test/conformance/standins/nodeproxy/internal/hbone"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

// halfConn is what both TCP connections and tunnels are.
type halfConn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// both copies between client and server until each has closed its side, passing half-closes on, and counts: what the server says is
// "sent", what the client says "received". It closes both. When one side breaks, the other is reset, as it would be without a proxy.
func both(client, server halfConn, rec *telemetry.Record) error {
	errs := make(chan error, 2)
	var once sync.Once
	abort := func() { once.Do(func() { reset(client); reset(server) }) }
	go func() {
		err := pipe(server, client, rec.Received)
		if err != nil {
			abort()
		}
		errs <- err
	}()
	err := pipe(client, server, rec.Sent)
	if err != nil {
		abort()
	}
	first := err
	if other := <-errs; first == nil || errors.Is(first, net.ErrClosed) && other != nil {
		first = other
	}
	client.Close()
	server.Close()
	return first
}

func pipe(to, from halfConn, count func(int)) error {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for {
		n, err := from.Read(*b)
		if n > 0 {
			m, werr := to.Write((*b)[:n])
			count(m)
			if werr != nil {
				return fmt.Errorf("send: %w", werr)
			}
		}
		if err == io.EOF {
			if err := to.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) && !notConnected(err) {
				return fmt.Errorf("while closing connection: %w", err)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
	}
}

// reset makes the peer see an abrupt end.
func reset(c halfConn) {
	switch c := c.(type) {
	case *net.TCPConn:
		_ = c.SetLinger(0)
		c.Close()
	case *h2.Stream:
		c.Reset(http2.ErrCodeConnect)
	case *hbone.Tunnel:
		c.Reset(http2.ErrCodeConnect)
		c.Close()
	default:
		c.Close()
	}
}
