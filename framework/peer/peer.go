// Package peer drives the suite's own client and server (standins/peer) in pods of the fleet. They
// close one direction of a connection, reset it, carry large bodies, and both ends tell what they
// saw.
package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/internal/sleep"
)

// Exchange is what two ends do with one connection. One sends its bytes and closes its direction;
// the other reads them all, sends its own and closes the connection.
type Exchange struct {
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
}

// order is an exchange as the program is told to make it.
type order struct {
	Exchange
	ID string `json:"id"`
	To string `json:"to"` // host:port
	// Seconds are how long either end takes part.
	Seconds int `json:"seconds"`
}

func newOrder(to string, x Exchange) order {
	paused := int(x.Up+x.Down) / max(x.Write, 1) * x.Pause / 1000
	return order{x, rand.String(12), to, patience + paused}
}

// End is what one end of a connection did and saw.
type End struct {
	Cluster     string `json:"cluster"`
	Pod         string `json:"pod"`
	Sent        int64  `json:"sent"`
	SentSum     string `json:"sentSum"` // SHA-256
	Received    int64  `json:"received"`
	ReceivedSum string `json:"receivedSum"`
	// How the connection ended here: one of the words below, or the error that ended it.
	How string `json:"how"`
	// Waited are the milliseconds of the last read or write, which ended it.
	Waited int64 `json:"waited"`
}

// How a connection ended at one end. Empty = that end is not known.
const (
	Open     = "open"     // it has not ended
	Closed   = "closed"   // the other end closed it, and everything was read
	Reset    = "reset"    // the other end, or who is between, broke it off
	ByItself = "reset it" // this end broke it off, as it was told to
)

// String is for messages.
func (e End) String() string {
	switch {
	case e.How == "":
		return "not known"
	case e.Pod == "": // nobody has told yet
		return e.How
	}
	return fmt.Sprintf("%s in %s: sent %d, received %d, %s after waiting %d ms", e.Pod, e.Cluster, e.Sent, e.Received, e.How, e.Waited)
}

// Ends are both ends of one connection. Failed says why the client could not begin; empty if it
// did.
type Ends struct {
	Client, Server End
	Failed         string
}

// String is for messages.
func (e Ends) String() string {
	if e.Failed != "" {
		return e.Failed
	}
	return "client " + e.Client.String() + "; server " + e.Server.String()
}

// Peer is one pod that runs the program.
type Peer struct {
	Cluster, Pod string
	http         *http.Client
}

// Dial prepares connections to a pod. It connects to nothing yet.
func Dial(pod *portforward.Pod) *Peer {
	return dialed(pod.Cluster.Name, pod.Name, pod.HTTP())
}

func dialed(cluster, pod string, c *http.Client) *Peer {
	c.Timeout = 0 // the exchange has its own, and calls their context
	return &Peer{Cluster: cluster, Pod: pod, http: c}
}

// Peers are all pods of a spec that run the program.
type Peers []*Peer

// The seconds that a connection may take: 64 MiB each way take four on two cores. A download moves much
// only one way, and where one is stuck, many are.
const patience, patienceDownload = 20, 6

// patienceLookup are the seconds that a lookup may take.
const patienceLookup = 5

// settle is how long a server's end may go on when the client's has ended, beyond what is promised:
// it is asked for by way of an API server.
const settle = 3 * time.Second

// Exchange has a peer take part in an exchange as its client, with whichever of the peers then is the
// server. The error means that a pod could not be driven.
func (ps Peers) Exchange(ctx context.Context, client *Peer, to string, x Exchange) (Ends, error) {
	o := newOrder(to, x)
	return ps.have(ctx, client, "exchange", o.ID, o)
}

// Download has a peer get a body of this many bytes by HTTP from whichever of the peers answers at
// host:port, and reset the connection after some of them; 0 = not at all. The error means that a pod
// could not be driven.
func (ps Peers) Download(ctx context.Context, client *Peer, from string, size, resetAfter int64) (Ends, error) {
	id := rand.String(12)
	u := url.URL{Scheme: "http", Host: from, Path: "/body", RawQuery: url.Values{"id": {id}, "bytes": {strconv.FormatInt(size, 10)}}.Encode()}
	return ps.have(ctx, client, "download", id, map[string]any{"url": u.String(), "resetAfter": resetAfter, "seconds": patienceDownload})
}

// Datagram asks by UDP who is at host:port, and waits a second for the answer.
func (p *Peer) Datagram(ctx context.Context, to string) (ends Ends, err error) {
	failed, err := p.do(ctx, "datagram", map[string]any{"to": to, "seconds": 1}, &ends)
	if err != nil || failed != "" {
		return Ends{Failed: failed}, err
	}
	return ends, nil
}

// Addresses are those that a name has for a pod, sorted. Failed says why it has none.
type Addresses struct {
	All    []string
	Failed string
}

// String is for messages.
func (a Addresses) String() string {
	if a.Failed != "" {
		return a.Failed
	}
	return strings.Join(a.All, ", ")
}

// Lookup has a peer look a name up. The error means that the pod could not be driven.
func (p *Peer) Lookup(ctx context.Context, host string) (a Addresses, err error) {
	a.Failed, err = p.do(ctx, "lookup", map[string]any{"host": host, "seconds": patienceLookup}, &a.All)
	return a, err
}

// Together has a peer make this many exchanges, which are all open before any of them sends. See
// [Peers.Exchange].
func (ps Peers) Together(ctx context.Context, client *Peer, to string, count int, x Exchange) ([]Ends, error) {
	o := newOrder(to, x)
	var all []Ends
	failed, err := client.do(ctx, "together", map[string]any{"count": count, "exchange": o}, &all)
	if err != nil || failed != "" {
		return []Ends{{Failed: failed}}, err
	}
	for i := range all {
		if err := ps.complete(ctx, &all[i], fmt.Sprintf("%s-%d", o.ID, i)); err != nil {
			return all, err
		}
	}
	return all, nil
}

// have lets a client do something and asks the server what it saw.
func (ps Peers) have(ctx context.Context, client *Peer, do, id string, what any) (ends Ends, err error) {
	failed, err := client.do(ctx, do, what, &ends)
	if err != nil || failed != "" {
		return Ends{Failed: failed}, err
	}
	return ends, ps.complete(ctx, &ends, id)
}

// complete asks the server what it saw, if one is known.
func (ps Peers) complete(ctx context.Context, ends *Ends, id string) (err error) {
	i := slices.IndexFunc(ps, func(p *Peer) bool { return p.Cluster == ends.Server.Cluster && p.Pod == ends.Server.Pod })
	ends.Server = End{}
	if i >= 0 {
		ends.Server, err = ps[i].seen(ctx, id)
	}
	return err
}

// do lets the program do something. failed says why it could not begin.
func (p *Peer) do(ctx context.Context, what string, with, result any) (failed string, err error) {
	b, err := json.Marshal(with)
	if err != nil {
		return "", err
	}
	status, text, err := p.ask(ctx, http.MethodPost, "/"+what, b)
	switch {
	case err != nil:
		return "", err
	case status == http.StatusBadGateway:
		return strings.TrimSpace(string(text)), nil
	case status != http.StatusOK:
		return "", fmt.Errorf("%s: /%s: status %d: %.200s", p, what, status, text)
	}
	if err := json.Unmarshal(text, result); err != nil {
		return "", fmt.Errorf("%s: /%s: %w", p, what, err)
	}
	return "", nil
}

// seen is what this server's end of a connection saw, once it has ended, or has had its time to.
func (p *Peer) seen(ctx context.Context, id string) (e End, err error) {
	for begun := time.Now(); ; sleep.For(ctx, 50*time.Millisecond) {
		status, text, err := p.ask(ctx, http.MethodGet, "/seen?id="+id, nil)
		switch {
		case err != nil:
			return e, err
		case status != http.StatusOK:
			return e, fmt.Errorf("%s: /seen: status %d: %.200s", p, status, text)
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return e, fmt.Errorf("%s: /seen: %w", p, err)
		}
		if e.How != Open || time.Since(begun) > settle || ctx.Err() != nil {
			return e, ctx.Err()
		}
	}
}

// String names the pod.
func (p *Peer) String() string { return p.Pod + " in " + p.Cluster }

// ask makes a request of the program.
func (p *Peer) ask(ctx context.Context, method, path string, body []byte) (status int, text []byte, err error) {
	u := "http://" + net.JoinHostPort("peer", strconv.Itoa(traffic.HTTP)) + path
	r, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	answer, err := p.http.Do(r)
	if err == nil {
		defer answer.Body.Close()
		status = answer.StatusCode
		text, err = io.ReadAll(answer.Body)
	}
	if err != nil {
		err = fmt.Errorf("%s cannot be driven: %w", p, errors.Join(err, ctx.Err()))
	}
	return status, text, err
}
