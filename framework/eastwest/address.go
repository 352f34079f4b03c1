package eastwest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ambient.test/conformance/framework/traffic"
)

// Address is a gateway's address as a client outside its network uses it. Its methods are those of
// [Endpoint], made by the echo application, which speaks HBONE.
type Address struct {
	From *traffic.Client
	At   string // host:port
}

// String says who calls where.
func (a Address) String() string { return a.From.Name + " at " + a.At }

// call makes one call and tells the three results of a probe apart.
func (a Address) call(ctx context.Context, c traffic.Calls) (Answer, error) {
	os, err := a.From.Do(ctx, c.Times(1).Call)
	if err != nil {
		return Answer{}, err
	}
	return a.answer(os[0])
}

// answer reads the outcome of a call through a tunnel.
func (a Address) answer(o traffic.Outcome) (Answer, error) {
	x := Answer{Way: a.String()}
	switch o.Kind {
	case traffic.Reached:
		x.Cluster, x.Code = o.Cluster, max(o.Code, 200)
	case traffic.Status:
		x.Code, x.Body = o.Code, o.Detail
	case traffic.TunnelRefused:
		x.Refusal = &Refusal{Status: o.Code}
	case traffic.Reset, traffic.TLSAlert:
		x.Refusal = &Refusal{Err: errors.New(o.FirstLine())}
	case traffic.Other:
		if !isAnswer(o.Detail) {
			return Answer{}, fmt.Errorf("%s: %s", a, o.FirstLine())
		}
		x.Raw, x.Err = []byte(o.Detail), errors.New(o.FirstLine())
	default: // refused, timed out, no such host: the address was not reached
		return Answer{}, fmt.Errorf("%s: %s: %s", a, o.Kind, o.FirstLine())
	}
	return x, nil
}

// isAnswer says that an error of Go's clients was caused by bytes of a peer.
func isAnswer(detail string) bool {
	for _, sign := range []string{"malformed HTTP", "does not look like a TLS handshake", "x509:", "frame too large", "http2: server sent"} {
		if strings.Contains(detail, sign) {
			return true
		}
	}
	return false
}

// clusterIn finds the cluster's name in the text of an echo server.
func clusterIn(body string) string {
	for line := range strings.Lines(body) {
		if c, ok := strings.CutPrefix(line, "Cluster="); ok {
			return strings.TrimSpace(c)
		}
	}
	return ""
}

func (a Address) through(id *Identity, double bool) traffic.Tunnel {
	t := traffic.Tunnel{Proxy: a.At, Double: double}
	if id != nil {
		t.Cert, t.Key = id.PEM()
	}
	return t
}

// CallDouble is [Endpoint.CallDouble] with one identity in both tunnels: the echo application knows
// no other. Without an id the client has no certificate.
func (a Address) CallDouble(ctx context.Context, id *Identity, host string) (Answer, error) {
	return a.Speak(ctx, id, host+":80", HBONE)
}

// CallSingle is [Endpoint.CallSingle].
func (a Address) CallSingle(ctx context.Context, id *Identity, host string) (Answer, error) {
	return a.call(ctx, a.From.Get("http://"+host+":80/").Through(a.through(id, false)))
}

// Speak is [Endpoint.Speak], as far as an HTTP client can: what answered is in Code or Raw.
func (a Address) Speak(ctx context.Context, id *Identity, authority string, in Protocol) (Answer, error) {
	if in == HBONE {
		return a.call(ctx, a.From.Get("http://"+authority+"/").Through(a.through(id, true)))
	}
	scheme := "http://"
	if in == TLS {
		scheme = "https://"
	}
	calls := a.From.Get(scheme + authority + "/version").Through(a.through(id, false)).Within(quiet)
	if in == H2C {
		calls = calls.HTTP2()
	}
	return a.call(ctx, calls)
}

// Plain makes an HTTP request to the gateway's port without any TLS.
func (a Address) Plain(ctx context.Context, http2 bool) (Reply, error) {
	calls := a.From.Get("http://" + a.At + "/").Within(closing)
	if http2 {
		calls = calls.HTTP2()
	}
	os, err := a.From.Do(ctx, calls.Times(1).Call)
	if err != nil {
		return Reply{}, err
	}
	r := Reply{Way: a.String()}
	switch o := os[0]; {
	case o.Kind == traffic.Reset:
	case o.Kind == traffic.Reached, o.Kind == traffic.Status, o.Kind == traffic.Other && isAnswer(o.Detail):
		r.Bytes = []byte(o.Detail)
		if strings.Contains(o.Detail, `\x15\x03`) { // Go quotes what is no HTTP: an alert
			r.Bytes = []byte{21, 3, 3, 0, 2, 2, 0}
		}
	case o.Kind == traffic.TimedOut && !strings.Contains(o.Detail, "dial tcp"):
		r.LeftOpen = true
	default:
		return Reply{}, fmt.Errorf("%s: %s", a, o)
	}
	return r, nil
}
