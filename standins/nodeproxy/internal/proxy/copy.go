package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"ambient.test/conformance/standins/nodeproxy/internal/fault"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

// halfConn is what both TCP connections and tunnels are.
type halfConn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// both copies between client and server until each has closed its side, passing half-closes on, and
// counts: what the server says is "sent", what the client says "received". It closes both. An end
// that resets its TCP connection has closed its side, as with ztunnel: that is no failure of the
// mesh. A tunnel that breaks is one, and ends both sides.
func both(client, server halfConn, rec *telemetry.Record) error {
	errs := make(chan error, 1)
	abort := func() { client.Close(); server.Close() }
	go func() {
		err := pipe(server, client, rec.Received)
		if err != nil {
			abort()
			err = fmt.Errorf("send: %w", err)
		}
		errs <- err
	}()
	err := pipe(client, server, rec.Sent)
	if err != nil {
		abort()
		err = fmt.Errorf("receive: %w", err)
	}
	if other := <-errs; err == nil || errors.Is(err, net.ErrClosed) && other != nil {
		err = other // net.ErrClosed is only what abort left behind
	}
	abort()
	return err
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
				if fault.HidesAborts() {
					_, _ = io.Copy(io.Discard, from)
				}
				return ungraceful(werr)
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && ungraceful(err) != nil {
				return err
			}
			return ungraceful(to.CloseWrite())
		}
	}
}

// ungraceful passes errors on except those of a TCP end that has gone.
func ungraceful(err error) error {
	for _, gone := range []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ENOTCONN, io.ErrUnexpectedEOF} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	return err
}
