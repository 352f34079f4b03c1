package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/internal/sleep"
)

// Target is what clients call by name.
type Target interface {
	// Host is the full DNS name.
	Host() string
}

// Calls are calls of one client to one target. They can be made again and again: each call is on a
// connection of its own, unless OnOneConnection says otherwise.
type Calls struct {
	From *Client
	// Host is the target's; empty for a URL given by hand.
	Host string
	Call Call
}

// HTTP are HTTP/1.1 GETs of the target.
func (c *Client) HTTP(to Target) Calls {
	return Calls{c, to.Host(), Call{URL: "http://" + to.Host() + ":80/"}}
}

// HTTPS are GETs by TLS that trust this certificate only.
func (c *Client) HTTPS(to Target, ca string) Calls {
	return Calls{c, to.Host(), Call{URL: "https://" + to.Host() + ":443/", CA: ca}}
}

// TCP are raw TCP calls: the client speaks first, the server echoes.
func (c *Client) TCP(to Target) Calls { return c.raw(to, TCP) }

// ServerFirst are raw TCP calls to the port whose server speaks first.
func (c *Client) ServerFirst(to Target) Calls { return c.raw(to, ServerFirst).AwaitBanner() }

// Written are HTTP/1.1 requests written by hand, one after the other on one connection; the last
// must ask the server to close it. The echo client's own requests come one to a connection.
func (c *Client) Written(to Target, requests ...string) Calls {
	url := "tcp://" + to.Host() + ":80"
	return Calls{c, to.Host(), Call{URL: url, Message: strings.Join(requests, ""), Await: "HTTP/1.1 200"}}
}

// GRPC are unary gRPC calls.
func (c *Client) GRPC(to Target) Calls {
	return Calls{c, to.Host(), Call{URL: "grpc://" + to.Host() + ":" + strconv.Itoa(GRPC), Message: "amc"}}
}

// Get are GETs of a URL, which may name an address.
func (c *Client) Get(url string) Calls { return Calls{From: c, Call: Call{URL: url}} }

func (c *Client) raw(to Target, port int) Calls {
	return Calls{c, to.Host(), Call{URL: "tcp://" + to.Host() + ":" + strconv.Itoa(port)}}
}

// Times fixes how many calls each look makes, whatever a matcher asks for.
func (c Calls) Times(n int) Calls { c.Call.Times = n; return c }

// InTurn makes one call after the other: calls at the same time need connections of their own, also
// between proxies, which keep them and would use few for calls in turn.
func (c Calls) InTurn() Calls { c.Call.InTurn = true; return c }

// Within is the time each call may take.
func (c Calls) Within(d time.Duration) Calls { c.Call.Timeout = d; return c }

// Post makes the requests POSTs.
func (c Calls) Post() Calls { c.Call.Method = http.MethodPost; return c }

// Path asks for this path, which begins with a slash, instead of the root.
func (c Calls) Path(path string) Calls {
	c.Call.URL = strings.TrimSuffix(c.Call.URL, "/") + path
	return c
}

// Header adds a request header.
func (c Calls) Header(name, value string) Calls {
	c.Call.Headers = map[string]string{name: value}
	return c
}

// Query asks the echo application for a special answer, such as delay=300ms or codes=418.
func (c Calls) Query(q string) Calls { c.Call.URL += "?" + q; return c }

// HTTP2 makes the calls HTTP/2 with prior knowledge.
func (c Calls) HTTP2() Calls { c.Call.HTTP2 = true; return c }

// AwaitBanner makes TCP clients wait for the server to speak first.
func (c Calls) AwaitBanner() Calls { c.Call.ServerFirst = true; return c }

// Through makes the calls through a tunnel.
func (c Calls) Through(t Tunnel) Calls { c.Call.Tunnel = &t; return c }

// OnOneConnection makes a look n requests on one connection. Only HTTP/2 and gRPC clients keep one.
func (c Calls) OnOneConnection(n int) Calls {
	c.Call.Reuse, c.Call.Timeout = n, 20*time.Second
	return c
}

// Look makes the calls, n of them unless Times fixed a number. See [Client.Do] for the error.
func (c Calls) Look(ctx context.Context, n int) (any, error) {
	call := c.Call
	if call.Times == 0 {
		call.Times = n
	}
	return c.From.Do(ctx, call)
}

// String names client and URL, and the tunnel between them.
func (c Calls) String() string {
	s := fmt.Sprintf("%s -> %s", c.From.Name, c.Call.URL)
	if t := c.Call.Tunnel; t != nil {
		kind := map[bool]string{false: "HBONE", true: "double HBONE"}[t.Double]
		s += " by " + kind + " at " + t.Proxy
	}
	return s
}

// phase is by how much the beginnings of two series of calls may differ.
const phase = 200 * time.Millisecond

// Spread makes n calls evenly over a time, each on a connection of its own, and returns the outcome
// of each. Calls on one connection are made at the end of the time. See [Client.Do] for the error.
func (c Calls) Spread(ctx context.Context, n int, over time.Duration) (Outcomes, error) {
	if c.Call.Times != 0 {
		n = c.Call.Times
	}
	if c.Call.Reuse > 1 { // one connection is one sample
		if !sleep.For(ctx, over) {
			return nil, ctx.Err()
		}
		return c.From.Do(ctx, c.Call)
	}
	one := c.Call
	one.Times = 1
	outcomes, errs := make([]Outcomes, n), make([]error, n)
	var calls sync.WaitGroup
	tick := over / time.Duration(n)
	for i := range n {
		wait := tick
		if i == 0 { // those who look at the same time should not call in step
			wait += time.Duration(rand.Float64() * float64(min(tick, phase)))
		}
		if !sleep.For(ctx, wait) {
			break
		}
		one.begin(&calls, func() { outcomes[i], errs[i] = c.From.Do(ctx, one) })
	}
	calls.Wait()
	if err := errors.Join(errors.Join(errs...), ctx.Err()); err != nil {
		return nil, err
	}
	return slices.Concat(outcomes...), nil
}

// Lost says that a call got no answer of the application, or a server error.
func Lost(o Outcome) bool { return o.Kind != Reached || o.Code >= 500 }
