// Package traffic makes calls from pods of the fleet and names the outcome of each. Traffic is the
// oracle of the suite.
package traffic

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"istio.io/istio/pkg/test/echo"
	"istio.io/istio/pkg/test/echo/proto"
)

// Kind is the kind of outcome of one call, as the calling application sees it.
type Kind string

// The outcomes of a call. A denied HBONE CONNECT, a wrong server identity and a dead gateway all
// reach the application as Reset: ztunnel has accepted the connection before it opens the tunnel.
// The cause is in the proxies' logs and metrics.
const (
	Reached    Kind = "reached"      // an echo server answered (whatever its status code)
	Status     Kind = "status"       // a proxy answered with an HTTP status of its own, no echo server did
	Refused    Kind = "refused"      // connection refused
	Reset      Kind = "reset"        // accepted, then closed or reset without an answer
	TimedOut   Kind = "timed out"    // no answer within the call's time
	NoSuchHost Kind = "no such host" // the name did not resolve
	TLSAlert   Kind = "TLS alert"    // the peer ended the TLS handshake or its first read with an alert
	// TunnelRefused: an HBONE CONNECT was answered with an HTTP status other than 200.
	TunnelRefused Kind = "tunnel refused"
	Other         Kind = "other" // none of these; see Detail
)

// Outcome is the outcome of one call.
type Outcome struct {
	Kind      Kind
	Cluster   string        // Istio cluster of the echo server that answered
	Workload  string        // its pod
	Port      string        // of the echo server, that is of its pod
	Code      int           // HTTP status
	Protocol  string        // HTTP/1.1, HTTP/2.0, TCP, ...
	Waypoints []string      // clusters of the waypoints the answer came through, in order; see WaypointHeader
	Detail    string        // the client's error text, or the answer's raw text
	Took      time.Duration // seen by the suite, port-forward included
	Request   http.Header   // request headers as the server saw them
}

// WaypointHeader is the response header to which an HTTPRoute in each cluster adds that cluster's
// name: one value for each waypoint that an answer came through.
const WaypointHeader = "X-Wp"

// String is short, for lists of mixed outcomes.
func (o Outcome) String() string {
	switch o.Kind {
	case Reached:
		s := o.Cluster
		if o.Code != 0 && o.Code != http.StatusOK {
			s += " " + strconv.Itoa(o.Code)
		}
		if len(o.Waypoints) > 0 {
			s += " via waypoint of " + strings.Join(o.Waypoints, "+")
		}
		return s
	case Status:
		return "status " + strconv.Itoa(o.Code)
	case TunnelRefused:
		return "tunnel refused with " + strconv.Itoa(o.Code)
	case TLSAlert, Other:
		return string(o.Kind) + " (" + o.Detail + ")"
	default:
		return string(o.Kind)
	}
}

// FirstLine is the first line of the detail, at most 300 bytes of it.
func (o Outcome) FirstLine() string {
	s, _, _ := strings.Cut(strings.TrimSpace(o.Detail), "\n")
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return strings.TrimSpace(s)
}

// FromPodOf reports whether a pod of the deployment answered.
func (o Outcome) FromPodOf(deployment string) bool {
	rest, ours := strings.CutPrefix(o.Workload, deployment+"-")
	return o.Kind == Reached && ours && strings.Count(rest, "-") <= 1 // else the rest begins with more of a longer name
}

// Path is a try to reach an address of another cluster directly.
type Path struct {
	To      string // pod or node
	Cluster string
	Node    bool
	Outcome Outcome
}

// Open says that the address was reached: a pod by the name of its cluster, since somebody of the
// client's own cluster may have its address, and a node by any answer.
func (p Path) Open() bool {
	if p.Node {
		return p.Outcome.Kind != TimedOut && p.Outcome.Kind != Refused && p.Outcome.Kind != Other
	}
	return p.Outcome.Kind == Reached && p.Outcome.Cluster == p.Cluster
}

// String is for messages.
func (p Path) String() string { return p.To + ": " + p.Outcome.String() }

// Outcomes are the outcomes of a number of calls to one target.
type Outcomes []Outcome

// Count returns the number of outcomes for which want holds.
func (os Outcomes) Count(want func(Outcome) bool) int {
	n := 0
	for _, o := range os {
		if want(o) {
			n++
		}
	}
	return n
}

// Clusters returns which clusters answered, and how often.
func (os Outcomes) Clusters() map[string]int {
	m := map[string]int{}
	for _, o := range os {
		if o.Kind == Reached {
			m[o.Cluster]++
		}
	}
	return m
}

// Workloads returns which pods answered, and how often.
func (os Outcomes) Workloads() map[string]int {
	m := map[string]int{}
	for _, o := range os {
		if o.Kind == Reached {
			m[o.Cluster+"/"+o.Workload]++
		}
	}
	return m
}

// String is a histogram, most frequent first: "21 x cluster1, 19 x cluster2".
func (os Outcomes) String() string {
	if len(os) == 0 {
		return "no calls"
	}
	n := map[string]int{}
	for _, o := range os {
		n[o.String()]++
	}
	keys := make([]string, 0, len(n))
	for k := range n {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if n[keys[i]] != n[keys[j]] {
			return n[keys[i]] > n[keys[j]]
		}
		return keys[i] < keys[j]
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%d x %s", n[k], k)
	}
	return strings.Join(keys, ", ")
}

// Answers that proxies give in their own name, by the words they put into the body.
var proxyWords = regexp.MustCompile(`upstream connect error|no healthy upstream|RBAC: access denied|no route|upstream request timeout`)

// parse reads the echo client's text of one answer.
func parse(url, output string, took time.Duration) Outcome {
	o := Outcome{Kind: Reached, Took: took, Detail: output}
	r := echo.ParseResponses(&proto.ForwardEchoRequest{Url: url}, &proto.ForwardEchoResponse{Output: []string{output}})[0]
	o.Cluster, o.Workload, o.Port, o.Protocol = r.Cluster, r.Hostname, r.Port, r.Protocol
	o.Code, _ = strconv.Atoi(r.Code)
	o.Request = r.RequestHeaders
	for _, v := range r.ResponseHeaders.Values(WaypointHeader) {
		o.Waypoints = append(o.Waypoints, strings.Split(strings.ReplaceAll(v, " ", ""), ",")...)
	}
	if o.Workload == "" { // an echo server always names itself
		o.Kind = Status
		if m := proxyWords.FindString(output); m != "" {
			o.Detail = m
		}
	}
	return o
}

// connectStatus finds the status that answered an HBONE CONNECT in the echo client's error.
var connectStatus = regexp.MustCompile(`round trip failed: (\d{3})`)

// causes maps words of the echo client's errors to outcomes; the first hit counts, so the specific
// come first.
var causes = []struct {
	kind  Kind
	words []string
}{
	{NoSuchHost, []string{"no such host", "server misbehaving", "lame referral", "Temporary failure in name resolution"}},
	{TLSAlert, []string{"remote error: tls:", "tls: alert"}},
	{Refused, []string{"connection refused"}},
	{TimedOut, []string{"i/o timeout", "timed out", "deadline exceeded", "Client.Timeout", "DeadlineExceeded"}},
	{Reset, []string{"connection reset", "EOF", "broken pipe", "server closed idle connection", "error reading server preface",
		"use of closed network connection", // the end came before the client wrote
		"connection closed", "http2: server sent GOAWAY", "client conn could not be established"}},
}

// fail reads the echo client's error of one call.
func fail(text string, took time.Duration) Outcome {
	o := Outcome{Kind: Other, Detail: text, Took: took}
	if m := connectStatus.FindStringSubmatch(text); m != nil {
		o.Kind = TunnelRefused
		o.Code, _ = strconv.Atoi(m[1])
		return o
	}
	for _, c := range causes {
		if slices.ContainsFunc(c.words, func(w string) bool { return strings.Contains(text, w) }) {
			o.Kind = c.kind
			return o
		}
	}
	return o
}
