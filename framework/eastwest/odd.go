package eastwest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Odd is an HTTP/2 connection such as no proxy of a mesh opens: what it announces, and its one
// request.
type Odd struct {
	Says     string
	Settings []http2.Setting
	Fields   []hpack.HeaderField
}

// Fields of a request, by name and value in turn.
func Fields(pairs ...string) (all []hpack.HeaderField) {
	for i := 0; i+1 < len(pairs); i += 2 {
		all = append(all, hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return all
}

// Many are so many fields, each with a value of so many bytes.
func Many(fields, size int) (all []hpack.HeaderField) {
	value := strings.Repeat("x", size)
	for i := range fields {
		all = append(all, hpack.HeaderField{Name: "x-odd-" + strconv.Itoa(i), Value: value})
	}
	return all
}

// maxFrame is the largest frame that every peer takes.
const maxFrame = 16384

// Request makes an odd request with a certificate of the mesh. What answers it with an error, ends
// the stream or ends the connection refuses it; any other status is in Code.
func (e *Endpoint) Request(ctx context.Context, id *Identity, odd Odd) (Answer, error) {
	return e.secured(ctx, id, func(c *alertConn) (Answer, error) {
		code, err := c.request(odd)
		if err == nil && code >= 400 {
			return Answer{Refusal: &Refusal{Hop: "outer", Status: code}}, nil
		}
		return Answer{Code: code}, err
	})
}

// secured makes one attempt within TLS.
func (e *Endpoint) secured(ctx context.Context, id *Identity, attempt func(*alertConn) (Answer, error)) (Answer, error) {
	raw, err := e.pod.Dial(ctx, Port)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = raw.Close() }()
	c := &alertConn{Conn: tls.Client(raw, WithCertificate(id))}
	hctx, cancel := context.WithTimeout(ctx, 3*quiet)
	defer cancel()
	var a Answer
	if err = c.HandshakeContext(hctx); err == nil {
		a, err = attempt(c)
	}
	if err != nil {
		return e.refused(failed("outer", raw, c.cause(err)))
	}
	a.Way = e.String()
	return a, nil
}

// request returns the status that answers an odd request. The error says how it was ended without
// one.
func (c *alertConn) request(odd Odd) (int, error) {
	_ = c.SetDeadline(time.Now().Add(closing))
	go func() { _, _ = c.Write(odd.bytes()) }() // the peer may refuse before it has read all
	f := http2.NewFramer(io.Discard, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return 0, err
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status, err := strconv.Atoi(frame.PseudoValue("status"))
			if err != nil {
				return 0, fmt.Errorf("an answer without a status: %w", err)
			}
			if status >= 200 {
				return status, nil
			}
		case *http2.RSTStreamFrame:
			return 0, fmt.Errorf("the stream was reset: %s", frame.ErrCode)
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return 0, fmt.Errorf("the connection was ended: %s", frame.ErrCode)
			}
		}
	}
}

// bytes are all that the client says.
func (odd Odd) bytes() []byte {
	var b, block bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	_ = f.WriteSettings(odd.Settings...) // a buffer does not fail
	h := hpack.NewEncoder(&block)
	for _, x := range odd.Fields {
		_ = h.WriteField(x)
	}
	first := block.Next(maxFrame)
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndHeaders: block.Len() == 0})
	for block.Len() > 0 {
		next := block.Next(maxFrame)
		_ = f.WriteContinuation(1, block.Len() == 0, next)
	}
	return b.Bytes()
}

// Say writes bytes within TLS and keeps what comes back in Raw. Err says why no more came.
func (e *Endpoint) Say(ctx context.Context, id *Identity, payload []byte) (Answer, error) {
	return e.secured(ctx, id, func(c *alertConn) (a Answer, err error) {
		if _, err := c.Write(payload); err != nil {
			return Answer{}, err
		}
		_ = c.SetDeadline(time.Now().Add(quiet))
		a.Raw, a.Err = io.ReadAll(c)
		var late net.Error
		if errors.As(a.Err, &late) && late.Timeout() || len(a.Raw) > 0 {
			return a, nil
		}
		return a, a.Err
	})
}
