package h2

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Config bounds a connection. The zero value of a field means ztunnel's default.
type Config struct {
	MaxStreams   uint32        // streams the peer may have open at once, told in SETTINGS; default 200
	StreamWindow uint32        // bytes a peer may send on a stream unread; default 4 MiB
	ConnWindow   uint32        // bytes a peer may send on the connection unread; default 16 MiB
	MaxFrame     uint32        // largest frame accepted; default 1 MiB
	PingEvery    time.Duration // default 10 s
	PingTimeout  time.Duration // a peer silent this long after a ping is dead; default 20 s
}

func (c Config) withDefaults() Config {
	def := func(v *uint32, d uint32) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MaxStreams, 200)
	def(&c.StreamWindow, 4<<20)
	def(&c.ConnWindow, 16<<20)
	def(&c.MaxFrame, 1<<20)
	if c.PingEvery == 0 {
		c.PingEvery = 10 * time.Second
	}
	if c.PingTimeout == 0 {
		c.PingTimeout = 20 * time.Second
	}
	return c
}

const (
	initialWindow  = 65535 // RFC 9113 section 6.9.2: both windows before any SETTINGS
	maxHeaderList  = 64 << 10
	writeChunk     = 64 << 10 // one DATA frame at most: a bulk stream must not hold the connection from the others
	maxQueuedReply = 4096     // control frames owed to a peer that does not read; more is an attack
)

// Header is a request's or an answer's ordinary header fields, names in lower case.
type Header map[string]string

// Request is a CONNECT as it arrived.
type Request struct {
	Method    string
	Authority string
	Header    Header
	malformed bool // carries :scheme, :path or :protocol, which a plain CONNECT must not
}

// IsConnect tells whether the request is a plain CONNECT (RFC 9113 section 8.5).
func (r *Request) IsConnect() bool { return r.Method == "CONNECT" && !r.malformed }

// Handler serves one request. It answers with Respond and then owns the stream; it must Close it.
// It runs on a goroutine of its own.
type Handler func(*Stream, *Request)

// Conn is one HTTP/2 connection, client or server.
type Conn struct {
	cfg     Config
	nc      net.Conn
	server  bool
	handler Handler

	wmu  sync.Mutex // serializes the wire: framer writes, the HPACK encoder, stream ids in order
	bw   *bufio.Writer
	fr   *http2.Framer
	henc *hpack.Encoder
	hbuf bytes.Buffer

	mu         sync.Mutex // everything below
	streams    map[uint32]*Stream
	nextID     uint32 // client: next to open
	lastPeer   uint32 // server: highest opened by the peer
	sendWindow int64  // connection level
	recvUnread int64  // received, not yet given back by WINDOW_UPDATE
	recvOwed   int64  // read by the application, not yet told to the peer
	peerWindow int64  // peer's initial stream window
	peerFrame  int
	peerMax    uint32 // streams the peer lets us open
	goAway     bool   // peer said GOAWAY, or we did: no new streams
	reserved   int    // client: streams promised by Reserve and not yet open
	idleSince  time.Time
	err        error
	queue      []func() error // control frames for the reply loop
	wake       chan struct{}
	pinged     time.Time // zero when no ping is unanswered
	writable   *sync.Cond

	done chan struct{}
}

// Client starts HTTP/2 on nc and returns when the preface is written. Do not use nc afterwards.
func Client(nc net.Conn, cfg Config) (*Conn, error) { return start(nc, cfg, nil) }

// Server reads the client's preface from nc and serves requests with h until the connection ends;
// Done tells when.
func Server(nc net.Conn, cfg Config, h Handler) (*Conn, error) { return start(nc, cfg, h) }

func start(nc net.Conn, cfg Config, h Handler) (*Conn, error) {
	c := &Conn{
		cfg: cfg.withDefaults(), nc: nc, server: h != nil, handler: h,
		streams: map[uint32]*Stream{}, nextID: 1, sendWindow: initialWindow, peerWindow: initialWindow,
		peerFrame: 16384, peerMax: 100, wake: make(chan struct{}, 1), done: make(chan struct{}), idleSince: time.Now(),
	}
	c.writable = sync.NewCond(&c.mu)
	c.bw = bufio.NewWriterSize(nc, 32<<10)
	c.fr = http2.NewFramer(c.bw, bufio.NewReaderSize(nc, 32<<10))
	c.fr.SetReuseFrames()
	c.fr.SetMaxReadFrameSize(c.cfg.MaxFrame)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.MaxHeaderListSize = maxHeaderList
	c.henc = hpack.NewEncoder(&c.hbuf)
	settings := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: c.cfg.StreamWindow},
		{ID: http2.SettingMaxFrameSize, Val: c.cfg.MaxFrame},
		{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList},
	}
	if c.server {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: c.cfg.MaxStreams})
	} else {
		settings = append(settings, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	err := c.write(func() error {
		if !c.server {
			if _, err := c.bw.WriteString(http2.ClientPreface); err != nil {
				return err
			}
		}
		if err := c.fr.WriteSettings(settings...); err != nil {
			return err
		}
		if d := int64(c.cfg.ConnWindow) - initialWindow; d > 0 {
			return c.fr.WriteWindowUpdate(0, uint32(d))
		}
		return nil
	})
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("http2 handshake failed: %w", err)
	}
	go c.replyLoop()
	go c.readLoop()
	return c, nil
}

// Done is closed when the connection is over; Err then tells why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and all its streams at once.
func (c *Conn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}

// GoAway tells the peer to open no more streams. The connection closes when the last open stream
// ends.
func (c *Conn) GoAway() {
	c.mu.Lock()
	c.goAway = true
	last := c.lastPeer
	c.mu.Unlock()
	c.reply(func() error { return c.fr.WriteGoAway(last, http2.ErrCodeNo, nil) })
	c.closeIfDrained()
}

// ReserveStream promises one more stream of this client connection to the caller, who must call
// Connect or Release next. It refuses when limit or the peer's limit is reached, or the connection
// is going away.
func (c *Conn) ReserveStream(limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.goAway || c.nextID > 1<<31-1 {
		return false
	}
	if n := len(c.streams) + c.reserved; n >= limit || n >= int(c.peerMax) {
		return false
	}
	c.reserved++
	return true
}

// Release gives back what ReserveStream promised, when Connect is not called after all.
func (c *Conn) Release() {
	c.mu.Lock()
	c.reserved--
	c.mu.Unlock()
}

// Idle is how long no stream has been open; 0 while one is.
func (c *Conn) Idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams)+c.reserved > 0 {
		return 0
	}
	return time.Since(c.idleSince)
}

// Connect opens a stream to authority and waits for the answer's header. The caller must hold a
// reservation. A status other than 200 is a *StatusError. Errors for which Unprocessed is true may
// be retried on another connection.
func (c *Conn) Connect(ctx context.Context, authority string, h Header) (*Stream, Header, error) {
	s, err := c.open(authority, h)
	if err != nil {
		return nil, nil, err
	}
	select {
	case <-s.answered:
	case <-ctx.Done():
		s.Reset(http2.ErrCodeCancel)
		return nil, nil, fmt.Errorf("no answer to CONNECT %s: %w", authority, context.Cause(ctx))
	}
	s.c.mu.Lock()
	status, header, err := s.status, s.header, s.err
	s.c.mu.Unlock()
	if status == 0 {
		s.Close()
		return nil, nil, err
	}
	if status != 200 {
		s.Reset(http2.ErrCodeNo)
		return nil, nil, &StatusError{Code: status}
	}
	return s, header, nil
}

func (c *Conn) open(authority string, h Header) (*Stream, error) {
	var s *Stream
	err := c.write(func() error {
		c.mu.Lock()
		c.reserved--
		if c.err != nil || c.goAway {
			c.mu.Unlock()
			return errUnprocessed
		}
		s = newStream(c, c.nextID)
		c.nextID += 2
		c.streams[s.id] = s
		c.mu.Unlock()
		c.hbuf.Reset()
		c.field(":method", "CONNECT")
		c.field(":authority", authority)
		for k, v := range h {
			c.field(k, v)
		}
		return c.writeHeaderBlock(s.id, false)
	})
	if err != nil {
		if s != nil {
			s.Close()
		}
		return nil, err
	}
	return s, nil
}

func (c *Conn) field(name, value string) {
	c.henc.WriteField(hpack.HeaderField{Name: name, Value: value}) //nolint:errcheck // a bytes.Buffer does not fail
}

// writeHeaderBlock sends hbuf; wmu is held.
func (c *Conn) writeHeaderBlock(id uint32, end bool) error {
	block := c.hbuf.Bytes()
	const part = 16384 // the least maximum frame size any peer may have
	first := block[:min(len(block), part)]
	rest := block[len(first):]
	if err := c.fr.WriteHeaders(
		http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0},
	); err != nil {
		return err
	}
	for len(rest) > 0 {
		n := min(len(rest), part)
		if err := c.fr.WriteContinuation(id, n == len(rest), rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// write runs f with the wire to itself and flushes.
func (c *Conn) write(f func() error) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	err := f()
	if err == nil {
		err = c.bw.Flush()
	}
	if err == nil || errors.Is(err, errUnprocessed) {
		return err
	}
	// The peer that closed may have said why (TLS 1.3 refuses a client certificate after the
	// handshake): the reader hears it.
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
		c.fail(plain(err))
	}
	return c.Err()
}

// reply queues a control frame. Neither the read loop nor a reader of a stream may wait for the
// peer to read: two peers doing so would wait for each other.
func (c *Conn) reply(f func() error) {
	c.mu.Lock()
	if len(c.queue) >= maxQueuedReply {
		c.mu.Unlock()
		c.fail(errors.New("peer provokes replies and does not read them"))
		return
	}
	c.queue = append(c.queue, f)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Conn) replyLoop() {
	tick := time.NewTicker(c.cfg.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-c.wake:
		case <-tick.C:
			c.mu.Lock()
			dead := !c.pinged.IsZero() && time.Since(c.pinged) > c.cfg.PingTimeout
			ask := c.pinged.IsZero()
			if ask {
				c.pinged = time.Now()
			}
			c.mu.Unlock()
			if dead {
				c.fail(fmt.Errorf("no answer to a ping for %v", c.cfg.PingTimeout))
				return
			}
			if ask {
				c.reply(func() error { return c.fr.WritePing(false, [8]byte{'n', 'p'}) })
			}
		}
		c.mu.Lock()
		q := c.queue
		c.queue = nil
		c.mu.Unlock()
		if len(q) == 0 {
			continue
		}
		if c.write(func() error {
			for _, f := range q {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		}) != nil {
			return
		}
		c.closeIfDrained()
	}
}

// closeIfDrained ends a connection that is going away and has nothing open and nothing to say.
func (c *Conn) closeIfDrained() {
	c.mu.Lock()
	over := c.goAway && len(c.streams)+c.reserved+len(c.queue) == 0
	c.mu.Unlock()
	if over {
		c.fail(errGoAway)
	}
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	all := make([]*Stream, 0, len(c.streams))
	for _, s := range c.streams {
		all = append(all, s)
	}
	for _, s := range all {
		s.endLocked(err)
	}
	c.streams = map[uint32]*Stream{}
	c.writable.Broadcast()
	c.mu.Unlock()
	close(c.done)
	c.nc.Close()
}

func (c *Conn) readLoop() {
	err := c.readFrames()
	var ce http2.ConnectionError
	if errors.As(err, &ce) {
		code := http2.ErrCode(ce)
		c.write(func() error { return c.fr.WriteGoAway(0, code, nil) }) //nolint:errcheck // the connection ends either way
	}
	c.fail(plain(err))
}

func (c *Conn) readFrames() error {
	if c.server {
		pre := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c.nc, pre); err != nil {
			return fmt.Errorf("http2 handshake failed: %w", err)
		}
		if string(pre) != http2.ClientPreface {
			return errors.New("http2 handshake failed: not an HTTP/2 client preface")
		}
	}
	for first := true; ; first = false {
		f, err := c.fr.ReadFrame()
		if err != nil {
			var se http2.StreamError
			if errors.As(err, &se) && se.StreamID != 0 { // only what the framer itself found wrong: streams never return this type
				c.resetPeer(se.StreamID, se.Code)
				continue
			}
			return err
		}
		if _, ok := f.(*http2.SettingsFrame); first && !ok {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if err := c.handle(f); err != nil {
			return err
		}
	}
}

// resetPeer refuses a stream, known or not.
func (c *Conn) resetPeer(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	s := c.streams[id]
	if c.server && id > c.lastPeer && id%2 == 1 {
		c.lastPeer = id
	}
	c.mu.Unlock()
	if s != nil {
		s.Reset(code)
		return
	}
	c.reply(func() error { return c.fr.WriteRSTStream(id, code) })
}

func (c *Conn) handle(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.onData(f)
	case *http2.MetaHeadersFrame:
		return c.onHeaders(f)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.WindowUpdateFrame:
		c.mu.Lock()
		defer c.mu.Unlock()
		w := &c.sendWindow
		if f.StreamID != 0 {
			s := c.streams[f.StreamID]
			if s == nil {
				return nil
			}
			w = &s.sendWindow
		}
		if *w += int64(f.Increment); *w > 1<<31-1 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.writable.Broadcast()
	case *http2.PingFrame:
		if f.IsAck() {
			c.mu.Lock()
			c.pinged = time.Time{}
			c.mu.Unlock()
			return nil
		}
		data := f.Data
		c.reply(func() error { return c.fr.WritePing(true, data) })
	case *http2.RSTStreamFrame:
		c.mu.Lock()
		if s := c.streams[f.StreamID]; s != nil {
			s.peerReset = true
			switch {
			case f.ErrCode == http2.ErrCodeNo && s.recvEnd:
				// RFC 9113 section 8.1: the answer is complete, the peer needs no more of the
				// request
				s.endLocked(errPeerDone)
			case f.ErrCode == http2.ErrCodeRefusedStream:
				s.endLocked(errUnprocessed)
			default:
				s.endLocked(&ResetError{Code: f.ErrCode})
			}
			c.forgetLocked(s)
		}
		c.mu.Unlock()
		c.closeIfDrained()
	case *http2.GoAwayFrame:
		c.mu.Lock()
		c.goAway = true
		for id, s := range c.streams {
			if !c.server && id > f.LastStreamID {
				s.peerReset = true
				s.endLocked(errUnprocessed)
				c.forgetLocked(s)
			}
		}
		c.mu.Unlock()
		c.closeIfDrained()
	}
	return nil
}

func (c *Conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	table := -1
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			d := int64(s.Val) - c.peerWindow
			c.peerWindow = int64(s.Val)
			for _, st := range c.streams {
				st.sendWindow += d
			}
			c.writable.Broadcast()
		case http2.SettingMaxFrameSize:
			c.peerFrame = int(s.Val)
		case http2.SettingMaxConcurrentStreams:
			c.peerMax = s.Val
		case http2.SettingHeaderTableSize:
			table = int(min(s.Val, 4096))
		}
		return nil
	})
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.reply(func() error {
		if table >= 0 {
			c.henc.SetMaxDynamicTableSizeLimit(uint32(table))
		}
		return c.fr.WriteSettingsAck()
	})
	return nil
}

func (c *Conn) onHeaders(f *http2.MetaHeadersFrame) error {
	c.mu.Lock()
	s := c.streams[f.StreamID]
	if s != nil { // an answer, or trailers
		defer c.mu.Unlock()
		if !c.server && s.status == 0 {
			code, err := strconv.Atoi(f.PseudoValue("status"))
			if err != nil || code < 100 || code > 999 {
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
			if code >= 200 {
				s.status, s.header = code, headerOf(f)
				s.answerLocked()
			}
		}
		if f.StreamEnded() {
			s.endRecvLocked()
		}
		return nil
	}
	if !c.server || f.StreamID%2 == 0 || f.StreamID <= c.lastPeer {
		c.mu.Unlock()
		if c.server && f.StreamID%2 == 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // of a stream that is over
	}
	if f.Truncated {
		c.mu.Unlock()
		c.resetPeer(f.StreamID, http2.ErrCodeEnhanceYourCalm)
		return nil
	}
	c.lastPeer = f.StreamID
	if c.goAway || len(c.streams) >= int(c.cfg.MaxStreams) {
		c.mu.Unlock()
		c.resetPeer(f.StreamID, http2.ErrCodeRefusedStream)
		return nil
	}
	s = newStream(c, f.StreamID)
	c.streams[s.id] = s
	if f.StreamEnded() {
		s.endRecvLocked()
	}
	c.mu.Unlock()
	r := &Request{Method: f.PseudoValue("method"), Authority: f.PseudoValue("authority"), Header: headerOf(f)}
	for _, p := range f.PseudoFields() {
		if p.Name == ":scheme" || p.Name == ":path" || p.Name == ":protocol" {
			r.malformed = true
		}
	}
	go c.handler(s, r)
	return nil
}

func headerOf(f *http2.MetaHeadersFrame) Header {
	h := Header{}
	for _, x := range f.RegularFields() {
		if old, ok := h[x.Name]; ok {
			h[x.Name] = old + "," + x.Value
		} else {
			h[x.Name] = x.Value
		}
	}
	return h
}

func (c *Conn) onData(f *http2.DataFrame) error {
	n := int64(f.Length)
	c.mu.Lock()
	c.recvUnread += n
	if c.recvUnread > int64(max(c.cfg.ConnWindow, initialWindow)) {
		c.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s := c.streams[f.StreamID]
	if s == nil || s.recvEnd {
		unknown := c.server && f.StreamID > c.lastPeer || !c.server && f.StreamID >= c.nextID
		c.giveBackLocked(n)
		c.mu.Unlock()
		if unknown {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil
	}
	s.recvUnread += n
	if s.recvUnread > int64(c.cfg.StreamWindow) {
		c.mu.Unlock()
		c.giveBack(n)
		s.Reset(http2.ErrCodeFlowControl)
		return nil
	}
	data := f.Data()
	if pad := n - int64(len(data)); pad > 0 {
		s.consumedLocked(pad)
	}
	if len(data) > 0 {
		s.recv = append(s.recv, bytes.Clone(data)) // the framer reuses its buffer
	}
	if f.StreamEnded() {
		s.endRecvLocked()
	}
	s.readable.Broadcast()
	c.mu.Unlock()
	return nil
}

func (c *Conn) giveBack(n int64) {
	c.mu.Lock()
	c.giveBackLocked(n)
	c.mu.Unlock()
}

// giveBackLocked returns n bytes of the connection's window; the update is sent when it is worth a
// frame.
func (c *Conn) giveBackLocked(n int64) {
	c.recvUnread -= n
	c.recvOwed += n
	if c.recvOwed < int64(c.cfg.ConnWindow)/4 && c.recvOwed < 1<<20 || c.err != nil {
		return
	}
	owed := uint32(c.recvOwed)
	c.recvOwed = 0
	c.replyLocked(func() error { return c.fr.WriteWindowUpdate(0, owed) })
}

// replyLocked is reply for callers that hold mu; what they send is paid for by bytes received, so
// it needs no limit.
func (c *Conn) replyLocked(f func() error) {
	c.queue = append(c.queue, f)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// forgetLocked takes a finished stream off the books.
func (c *Conn) forgetLocked(s *Stream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
	}
}
