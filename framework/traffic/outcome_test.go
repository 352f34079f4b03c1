package traffic

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const answer = `[0] Url=http://echo:80/
[0] SourceIP=10.10.0.5
[0] Latency=4ms
[0] StatusCode=200
[0] ResponseHeader=Content-Type:application/text
[0] ResponseHeader=X-Wp:cluster1
[0] ResponseHeader=X-Wp:cluster2
[0 body] ServiceVersion=v1
[0 body] ServicePort=8080
[0 body] Host=echo
[0 body] URL=/
[0 body] Cluster=cluster2
[0 body] Namespace=amc-mesh
[0 body] Method=GET
[0 body] Proto=HTTP/1.1
[0 body] IP=10.10.0.9
[0 body] RequestHeader=X-Big:hhh
[0 body] Hostname=echo-5d5b-abcde
`

func TestParse(t *testing.T) {
	o := parse("http://echo:80/", answer, time.Millisecond)
	want := Outcome{Kind: Reached, Cluster: "cluster2", Workload: "echo-5d5b-abcde", Code: 200, Protocol: "HTTP/1.1"}
	got := Outcome{Kind: o.Kind, Cluster: o.Cluster, Workload: o.Workload, Code: o.Code, Protocol: o.Protocol}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"cluster1", "cluster2"}, o.Waypoints); diff != "" {
		t.Errorf("waypoints, of which two must show as two (-want +got):\n%s", diff)
	}
	if o.Request.Get("X-Big") != "hhh" {
		t.Errorf("request headers %v", o.Request)
	}
	proxy := parse("u", "[0] StatusCode=503\n[0 body] no healthy upstream\n", 0)
	got = Outcome{Kind: proxy.Kind, Code: proxy.Code, Detail: proxy.Detail}
	if diff := cmp.Diff(Outcome{Kind: Status, Code: 503, Detail: "no healthy upstream"}, got); diff != "" {
		t.Errorf("a proxy's own answer is not the application's (-want +got):\n%s", diff)
	}
}

func TestFail(t *testing.T) {
	for text, want := range map[string]Kind{
		`Get "http:/": EOF`: Reset,
		`Get "http:/version": round trip: http2: client conn could not be established`: Reset,
		`read tcp 10.10.0.5:1->10.110.0.7:80: read: connection reset by peer`:          Reset,
		`write tcp 10.10.0.5:1->10.110.0.7:80: use of closed network connection`:       Reset,
		`dial tcp 10.110.0.7:80: connect: connection refused`:                          Refused,
		`lookup nobody on 10.110.0.10:53: no such host`:                                NoSuchHost,
		`dial tcp: lookup echo on 10.110.0.10:53: lame referral`:                       NoSuchHost,
		`lookup echo on 10.110.0.10:53: read udp: i/o timeout`:                         TimedOut,
		`context deadline exceeded (Client.Timeout exceeded)`:                          TimedOut,
		`remote error: tls: certificate required`:                                      TLSAlert,
		`Get "http://echo:80/": round trip failed: 503 Service Unavailable`:            TunnelRefused,
		`something new`: Other,
	} {
		t.Run(text, func(t *testing.T) {
			if got := fail(text, 0).Kind; got != want {
				t.Errorf("%q is %q, want %q", text, got, want)
			}
		})
	}
}

func TestOutcomesString(t *testing.T) {
	os := Outcomes{{Kind: Reached, Cluster: "cluster1", Code: 200}, {Kind: Reset}, {Kind: Reset}, {Kind: Status, Code: 503}}
	if got, want := os.String(), "2 x reset, 1 x cluster1, 1 x status 503"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
