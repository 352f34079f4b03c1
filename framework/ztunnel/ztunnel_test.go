package ztunnel

import (
	"strings"
	"testing"
)

func TestCounters(t *testing.T) {
	read := func(text string) Counters {
		t.Helper()
		c, err := parse(strings.NewReader(text), "istio_tcp_connections_opened_total")
		if err != nil {
			t.Fatal(err)
		}
		return Counters{c}
	}
	// As ztunnel writes it: OpenMetrics, which names the family without the suffix of its samples.
	const openMetrics = `# HELP istio_tcp_connections_opened The total number of TCP connections opened (unstable).
# TYPE istio_tcp_connections_opened counter
istio_tcp_connections_opened_total{reporter="source",connection_security_policy="mutual_tls"} 3
istio_tcp_connections_opened_total{reporter="source",connection_security_policy="unknown"} 2
istio_tcp_connections_opened_total{reporter="destination",connection_security_policy="mutual_tls"} 5
# TYPE istio_xds_connection_terminations counter
istio_xds_connection_terminations_total{reason="Complete"} 9
# EOF
`
	before := read(openMetrics)
	source := Query{"reporter": "source"}
	if n := before.Sum(source); n != 5 {
		t.Errorf("source: %v", n)
	}
	if n := before.Sum(source.With("connection_security_policy", "mutual_tls")); n != 3 {
		t.Errorf("source, mutual_tls: got %v, want 3", n)
	}
	if len(source) != 1 {
		t.Errorf("the query it was made from is changed: %v", source)
	}
	if n := before.Sum(Query{"reporter": "nobody"}); n != 0 {
		t.Errorf("nobody: %v", n)
	}
	after := read(strings.Replace(openMetrics, "} 3", "} 10", 1))
	if n := after.Since(before, source); n != 7 {
		t.Errorf("since: %v", n)
	}
	if _, err := parse(strings.NewReader("{"), "x"); err == nil {
		t.Error("what is no metric was taken")
	}
	if c := read("# EOF\n"); c.Sum(nil) != 0 {
		t.Error("nothing counted is not zero")
	}
}

func TestWorkloads(t *testing.T) {
	const dump = `{"services": [{"vips": ["n2/10.0.0.1"]}], "workloads": [
		{"uid": "a", "network": "n1"}, {"uid": "b", "network": "n2"}, {"uid": "c", "network": "n2"}, {"uid": "d"}]}`
	for network, want := range map[string]int64{"n1": 1, "n2": 2, "n3": 0} {
		t.Run(network, func(t *testing.T) {
			if got, err := workloads(strings.NewReader(dump), network); err != nil || got != want {
				t.Errorf("got %d and %v, want %d", got, err, want)
			}
		})
	}
	if _, err := workloads(strings.NewReader("{"), "n1"); err == nil {
		t.Error("what is no dump was taken")
	}
}
