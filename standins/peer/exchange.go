package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Exchange is what two ends do with one connection. One sends its bytes and closes its direction;
// the other reads them all, sends its own and closes the connection.
type Exchange struct {
	ID string `json:"id"` // chosen by the client; no two are alike
	// To is the server, host:port. Only the client needs it.
	To string `json:"to,omitempty"`
	// ServerFirst lets the server send first; else the client does.
	ServerFirst bool `json:"serverFirst,omitempty"`
	// Up are the bytes that the client sends, Down those of the server.
	Up   int64 `json:"up"`
	Down int64 `json:"down"`
	// Write are the bytes of one write; default 64 KiB.
	Write int `json:"write,omitempty"`
	// Pause are the milliseconds between two writes; default none.
	Pause int `json:"pause,omitempty"`
	// ResetAfter lets the end that receives first reset the connection after this many bytes;
	// 0 = not at all.
	ResetAfter int64 `json:"resetAfter,omitempty"`
	// Seconds are how long either end takes part; default 60.
	Seconds int `json:"seconds,omitempty"`
}

// End is what one end of a connection did and saw.
type End struct {
	Cluster     string `json:"cluster"`
	Pod         string `json:"pod"`
	Sent        int64  `json:"sent"`
	SentSum     string `json:"sentSum,omitempty"` // SHA-256, hexadecimal
	Received    int64  `json:"received"`
	ReceivedSum string `json:"receivedSum,omitempty"`
	// How the connection ended here: one of the words below, or the error that ended it.
	How string `json:"how"`
	// Waited are the milliseconds of the last read or write, which ended it.
	Waited int64 `json:"waited"`
}

// How a connection ended.
const (
	still    = "open"      // it has not ended
	closed   = "closed"    // the other end closed it, and everything was read
	reset    = "reset"     // the other end, or who is between, broke it off
	resetUs  = "reset it"  // this end broke it off, as it was told to
	timedOut = "timed out" // neither within the time
)

// Result is what a client says of an exchange, or of a body that it got.
type Result struct {
	Client End `json:"client"`
	// Server has the server's names, as it gave them before anything else; empty if it gave none.
	Server End `json:"server"`
}

// patience is how long an end takes part; seconds = 0: a minute.
func patience(seconds int) time.Duration {
	return time.Duration(cmp.Or(seconds, 60)) * time.Second
}

// peer is one process. It remembers the ends of connections that it has served.
type peer struct {
	cluster, pod string

	mu   sync.Mutex
	seen map[string]End
}

func newPeer(cluster, pod string) *peer {
	return &peer{cluster: cluster, pod: pod, seen: map[string]End{}}
}

func (p *peer) end() End { return End{Cluster: p.cluster, Pod: p.pod, How: still} }

func (p *peer) remember(id string, e End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[id] = e
}

func (p *peer) serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go p.answer(conn.(*net.TCPConn))
	}
}

// answer is the server's end of an exchange. The client says first, in a line, what it is to be,
// and the server its names.
func (p *peer) answer(conn *net.TCPConn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience(0)))
	r := bufio.NewReader(conn)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return // a probe, or a client that gave up
	}
	var x Exchange
	if err := json.Unmarshal(line, &x); err != nil || x.ID == "" {
		fmt.Fprintf(conn, "the first line is no exchange with an id: %v\n", err)
		return
	}
	_ = conn.SetDeadline(time.Now().Add(patience(x.Seconds)))
	e := p.end()
	p.remember(x.ID, e)
	if err := json.NewEncoder(conn).Encode(e); err != nil {
		e.How = how(err)
	} else {
		e = x.take(conn, r, e, x.ServerFirst, x.Down)
	}
	p.remember(x.ID, e)
}

// exchange is the client's end. The error says that it could not begin.
func (p *peer) exchange(ctx context.Context, x Exchange) (Result, error) {
	return p.begin(ctx, x, func() {})
}

// Together are exchanges that are all there at the same time.
type Together struct {
	Count int `json:"count"`
	// Exchange is each of them; their ids are this one's, with a number from 0 on.
	Exchange Exchange `json:"exchange"`
}

// opening is the time between the beginnings of exchanges that are together. Each is some handshakes,
// and many in one moment would make all that runs on the machine late.
const opening = 20 * time.Millisecond

// together makes exchanges, none of which goes on before every server has answered, or failed to.
func (p *peer) together(ctx context.Context, t Together) ([]Result, error) {
	results, errs := make([]Result, t.Count), make([]error, t.Count)
	var there, all sync.WaitGroup
	there.Add(t.Count)
	for i := range t.Count {
		x := t.Exchange
		x.ID = fmt.Sprintf("%s-%d", x.ID, i)
		all.Go(func() {
			arrive := sync.OnceFunc(there.Done)
			defer arrive()
			time.Sleep(time.Duration(i) * opening)
			results[i], errs[i] = p.begin(ctx, x, func() { arrive(); there.Wait() })
		})
	}
	all.Wait()
	return results, errors.Join(errs...)
}

// begin is the client's end of an exchange. begun is called when the server has answered.
func (p *peer) begin(ctx context.Context, x Exchange, begun func()) (result Result, err error) {
	dialer := net.Dialer{Timeout: patience(x.Seconds)}
	c, err := dialer.DialContext(ctx, "tcp", x.To)
	if err != nil {
		return result, err
	}
	defer c.Close()
	conn := c.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(patience(x.Seconds)))
	result.Client = p.end()
	if err := json.NewEncoder(conn).Encode(x); err != nil {
		result.Client.How = how(err)
		return result, nil
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadBytes('\n')
	if err != nil {
		result.Client.How = how(err)
		return result, nil
	}
	if err := json.Unmarshal(line, &result.Server); err != nil {
		return result, fmt.Errorf("%s is not the server of a peer: it said %.100q", x.To, line)
	}
	begun()
	result.Client = x.take(conn, r, result.Client, !x.ServerFirst, x.Up)
	return result, nil
}

// take takes part in an exchange as one of its ends, which sends n bytes.
func (x *Exchange) take(conn *net.TCPConn, r io.Reader, e End, first bool, n int64) End {
	steps := []func() error{
		func() error { return x.receive(r, &e, !first) },
		func() error { return x.send(conn, &e, n) },
	}
	if first {
		steps[0], steps[1] = steps[1], steps[0]
	}
	e.How = closed
	for _, step := range steps {
		if err := step(); err != nil {
			e.How = how(err)
			break
		}
	}
	if e.How == resetUs {
		_ = conn.SetLinger(0) // the connection is closed by a reset
	}
	return e
}

// send writes n bytes that nothing between could guess, and closes this direction.
func (x *Exchange) send(conn *net.TCPConn, e *End, n int64) error {
	f, err := write(conn, n, x.Write, time.Duration(x.Pause)*time.Millisecond)
	e.Sent, e.SentSum, e.Waited = f.bytes, f.sum, f.waited.Milliseconds()
	if err != nil {
		return err
	}
	return conn.CloseWrite()
}

// receive reads to the end. The end that receives first may have to reset the connection.
func (x *Exchange) receive(r io.Reader, e *End, first bool) error {
	limit := int64(0)
	if first {
		limit = x.ResetAfter
	}
	f, err := read(r, limit)
	e.Received, e.ReceivedSum, e.Waited = f.bytes, f.sum, f.waited.Milliseconds()
	return err
}

// flow is what went one way.
type flow struct {
	bytes  int64
	sum    string
	waited time.Duration // of the last read or write
}

// defaultWrite are the bytes of one read or write.
const defaultWrite = 64 << 10

// write writes n bytes, some in each write, with a pause between two.
func write(w io.Writer, n int64, some int, pause time.Duration) (f flow, err error) {
	if some <= 0 {
		some = defaultWrite
	}
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	source, h, b := rand.NewChaCha8(seed), sha256.New(), make([]byte, some)
	for f.bytes < n && err == nil {
		if f.bytes > 0 {
			time.Sleep(pause)
		}
		part := b[:min(int64(some), n-f.bytes)]
		_, _ = source.Read(part) // never fails
		begun := time.Now()
		var k int
		k, err = w.Write(part)
		f.waited = time.Since(begun)
		h.Write(part[:k])
		f.bytes += int64(k)
	}
	f.sum = hex.EncodeToString(h.Sum(nil))
	return f, err
}

// errReset says that this end has to reset the connection.
var errReset = errors.New(resetUs)

// read reads to the end, or until limit bytes have come; 0 = no limit.
func read(r io.Reader, limit int64) (f flow, err error) {
	h, b := sha256.New(), make([]byte, defaultWrite)
	for err == nil {
		begun := time.Now()
		var k int
		k, err = r.Read(b)
		f.waited = time.Since(begun)
		h.Write(b[:k])
		if f.bytes += int64(k); err == nil && limit > 0 && f.bytes >= limit {
			err = errReset
		}
	}
	if err == io.EOF {
		err = nil
	}
	f.sum = hex.EncodeToString(h.Sum(nil))
	return f, err
}

// how says in a word how a connection ended.
func how(err error) string {
	switch {
	case errors.Is(err, errReset):
		return resetUs
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reset
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return timedOut
	}
	return err.Error()
}
