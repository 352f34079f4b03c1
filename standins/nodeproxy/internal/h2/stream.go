package h2

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

var (
	errGoAway      = errors.New("connection drained (GOAWAY)")
	errUnprocessed = errors.New("stream refused before it was processed")
	errPeerDone    = errors.New("peer needs no more data")
)

// Unprocessed tells that the peer did nothing with the stream, so that it may be tried again on
// another connection.
func Unprocessed(err error) bool { return errors.Is(err, errUnprocessed) }

// StatusError is an answer other than 200.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	text := map[int]string{
		400: " Bad Request", 401: " Unauthorized", 403: " Forbidden", 404: " Not Found", 502: " Bad Gateway",
		503: " Service Unavailable", 504: " Gateway Timeout",
	}[e.Code]
	return fmt.Sprintf("http status: %d%s", e.Code, text)
}

// ResetError is a stream the peer ended with RST_STREAM. It is deliberately not http2.StreamError:
// see the package's comment.
type ResetError struct{ Code http2.ErrCode }

func (e *ResetError) Error() string {
	if e.Code == http2.ErrCodeConnect {
		return "stream error received: connection established in response to a CONNECT request was reset or abnormally closed"
	}
	return "stream error received: " + e.Code.String()
}

// plain hides the framer's error types, so that nobody above takes them for errors of a connection
// or stream of its own.
func plain(err error) error {
	var se http2.StreamError
	var ce http2.ConnectionError
	if errors.As(err, &se) || errors.As(err, &ce) {
		return errors.New(err.Error())
	}
	return err
}

// Stream is one CONNECT: a net.Conn that half-closes.
type Stream struct {
	c  *Conn
	id uint32

	answered chan struct{} // client: closed when status or err is set
	readable *sync.Cond    // on c.mu

	// under c.mu
	hasAnswer  bool
	status     int
	header     Header
	recv       [][]byte
	recvEnd    bool // peer's END_STREAM seen
	recvUnread int64
	recvOwed   int64
	sendWindow int64
	sentEnd    bool
	peerReset  bool
	closed     bool
	err        error
	rdeadline  time.Time
	wdeadline  time.Time

	wmu sync.Mutex // one Write at a time
}

func newStream(c *Conn, id uint32) *Stream {
	return &Stream{c: c, id: id, answered: make(chan struct{}), readable: sync.NewCond(&c.mu), sendWindow: c.peerWindow}
}

// endLocked makes every waiting and later call return err; data already received can still be read.
func (s *Stream) endLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.answerLocked()
	s.readable.Broadcast()
	s.c.writable.Broadcast()
}

// answerLocked lets Connect look at status and err.
func (s *Stream) answerLocked() {
	if !s.c.server && !s.hasAnswer {
		s.hasAnswer = true
		close(s.answered)
	}
}

func (s *Stream) endRecvLocked() {
	s.recvEnd = true
	s.readable.Broadcast()
	if s.sentEnd {
		s.c.forgetLocked(s)
	}
}

// consumedLocked gives n received bytes back to the peer's windows.
func (s *Stream) consumedLocked(n int64) {
	s.recvUnread -= n
	s.recvOwed += n
	s.c.giveBackLocked(n)
	if s.recvEnd || s.err != nil || s.recvOwed < int64(s.c.cfg.StreamWindow)/4 && s.recvOwed < 256<<10 {
		return
	}
	id, owed := s.id, uint32(s.recvOwed)
	s.recvOwed = 0
	s.c.replyLocked(func() error { return s.c.fr.WriteWindowUpdate(id, owed) })
}

// Read implements net.Conn; io.EOF when the peer half-closed.
func (s *Stream) Read(b []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for len(s.recv) == 0 {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.recvEnd:
			return 0, io.EOF
		case s.err != nil:
			return 0, s.err
		case expired(s.rdeadline):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		s.readable.Wait()
	}
	n := copy(b, s.recv[0])
	if s.recv[0] = s.recv[0][n:]; len(s.recv[0]) == 0 {
		s.recv = s.recv[1:]
	}
	s.consumedLocked(int64(n))
	return n, nil
}

// Write implements net.Conn; it waits for the peer's windows.
func (s *Stream) Write(b []byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	sent := 0
	for sent < len(b) {
		n, err := s.claim(len(b) - sent)
		if err != nil {
			return sent, err
		}
		if err := s.c.write(func() error { return s.c.fr.WriteData(s.id, false, b[sent:sent+n]) }); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// claim takes up to want bytes from both windows, at least one.
func (s *Stream) claim(want int) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.err != nil:
			return 0, s.err
		case s.sentEnd:
			return 0, errors.New("write after CloseWrite")
		case expired(s.wdeadline):
			return 0, os.ErrDeadlineExceeded
		}
		if n := min(int64(want), s.sendWindow, c.sendWindow, int64(c.peerFrame), writeChunk); n > 0 {
			s.sendWindow -= n
			c.sendWindow -= n
			return int(n), nil
		}
		c.writable.Wait()
	}
}

// CloseWrite half-closes: the peer reads EOF, this side can still read.
func (s *Stream) CloseWrite() error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.c.mu.Lock()
	if s.sentEnd || s.err != nil || s.closed {
		err := s.err
		s.c.mu.Unlock()
		return err
	}
	s.sentEnd = true
	s.c.mu.Unlock()
	err := s.c.write(func() error { return s.c.fr.WriteData(s.id, true, nil) })
	s.finish()
	return err
}

// finish forgets the stream when both sides have ended.
func (s *Stream) finish() {
	s.c.mu.Lock()
	if s.sentEnd && s.recvEnd {
		s.c.forgetLocked(s)
	}
	s.c.mu.Unlock()
	s.c.closeIfDrained()
}

// Respond answers the request of a server stream. end closes the sending side with it.
func (s *Stream) Respond(status int, h Header, end bool) error {
	c := s.c
	err := c.write(func() error {
		c.hbuf.Reset()
		c.field(":status", strconv.Itoa(status))
		for k, v := range h {
			c.field(k, v)
		}
		return c.writeHeaderBlock(s.id, end)
	})
	if end {
		c.mu.Lock()
		s.sentEnd = true
		c.mu.Unlock()
		s.finish()
	}
	return err
}

// Close ends the stream: quietly when both sides have ended, else the peer gets RST_STREAM.
func (s *Stream) Close() error {
	code := http2.ErrCodeCancel
	s.c.mu.Lock()
	if s.c.server && s.sentEnd {
		code = http2.ErrCodeNo // RFC 9113 section 8.1: the answer is complete, the rest of the request is not needed
	}
	s.c.mu.Unlock()
	s.Reset(code)
	return nil
}

// Reset ends the stream at once; the peer learns code unless both sides had ended.
func (s *Stream) Reset(code http2.ErrCode) {
	c := s.c
	c.mu.Lock()
	if s.closed {
		c.mu.Unlock()
		return
	}
	s.closed = true
	tell := !(s.sentEnd && s.recvEnd) && !s.peerReset && c.err == nil
	var unread int64
	for _, b := range s.recv {
		unread += int64(len(b))
	}
	s.recv = nil
	if unread > 0 {
		c.giveBackLocked(unread)
	}
	s.endLocked(net.ErrClosed)
	c.forgetLocked(s)
	if tell {
		c.replyLocked(func() error { return c.fr.WriteRSTStream(s.id, code) })
	}
	c.mu.Unlock()
	c.closeIfDrained()
}

// LocalAddr implements net.Conn with the connection's address.
func (s *Stream) LocalAddr() net.Addr { return s.c.nc.LocalAddr() }

// RemoteAddr implements net.Conn with the connection's address.
func (s *Stream) RemoteAddr() net.Addr { return s.c.nc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	s.setDeadline(t, &s.rdeadline, &s.wdeadline)
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { s.setDeadline(t, &s.rdeadline); return nil }

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { s.setDeadline(t, &s.wdeadline); return nil }

func (s *Stream) setDeadline(t time.Time, which ...*time.Time) {
	wake := func() {
		s.c.mu.Lock()
		s.readable.Broadcast()
		s.c.writable.Broadcast()
		s.c.mu.Unlock()
	}
	s.c.mu.Lock()
	for _, w := range which {
		*w = t
	}
	s.c.mu.Unlock()
	if t.IsZero() {
		return
	}
	if d := time.Until(t); d > 0 {
		time.AfterFunc(d+time.Millisecond, wake)
	} else {
		wake()
	}
}

func expired(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }
