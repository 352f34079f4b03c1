package kind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/framework/mesh"
)

func twoClusters() ([]*subject, []probe) {
	subjects := []*subject{
		{
			Cluster: onNetwork("cluster1", "network1"), token: "cluster1",
			nodePort: 30001,
			families: []addresses{{probe: "10.10.255.1", pod: "10.10.0.2", vip: "10.110.255.1", node: "10.89.1.2", transit: "10.89.0.11"}},
		},
		{
			Cluster: onNetwork("cluster2", "network2"), token: "cluster2",
			nodePort: 30002,
			families: []addresses{{probe: "10.10.255.2", pod: "10.10.0.2", vip: "10.110.255.2", node: "10.89.2.2", transit: "10.89.0.12"}},
		},
	}
	var probes []probe
	for _, s := range subjects {
		probes = append(probes, probesFrom(s, subjects)...)
	}
	return subjects, probes
}

func onNetwork(name, network string) *mesh.Cluster {
	return &mesh.Cluster{Name: name, Kind: &mesh.KindCluster{Network: network}}
}

// isolated is how a fleet answers that is as it should be. Both clusters have a pod at the same
// address: each finds its own.
func isolated(probes []probe) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, p := range probes {
		if all[p.from.Name] == nil {
			all[p.from.Name] = map[string]string{"outside-tcp": "", "counted-tcp": "1", "counted-udp": "1", "counted-icmp": "1"}
		}
		answer := ""
		switch {
		case p.control && p.banner:
			answer = "+" + p.to.token
		case p.control:
			answer = "+"
		case p.ip == p.from.families[0].pod && p.where == fromNode:
			answer = "+" + p.from.token
		}
		all[p.from.Name][p.id] = answer
	}
	return all
}

func find(t *testing.T, probes []probe, from, to, where, what string, port int) probe {
	t.Helper()
	for _, p := range probes {
		if p.from.Name == from && p.to.Name == to && p.where == where && p.what == what && (port == 0 || p.port == port) {
			return p
		}
	}
	t.Fatalf("no probe from %s %s to %s of %s", from, where, what, to)
	return probe{}
}

// On one network pods answer each other, and the API server answers nodes; all else is apart as ever.
func TestProbesBetweenRoutedClusters(t *testing.T) {
	subjects, _ := twoClusters()
	subjects[1].Kind.Network = subjects[0].Kind.Network
	var got []string
	for _, p := range probesFrom(subjects[0], subjects) {
		if p.to == subjects[1] && p.control {
			got = append(got, fmt.Sprintf("%s %s %s:%d", p.where, p.what, p.ip, p.port))
		}
	}
	want := []string{"pod node on transit 10.89.0.12:6443", "pod real pod 10.10.0.2:18080", "node node 10.89.2.2:6443",
		"node node on transit 10.89.0.12:6443", "node real pod 10.10.0.2:18080"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what must answer in the other cluster (-want +got):\n%s", d)
	}
}

func TestProbesCoverBothSidesAndHaveControls(t *testing.T) {
	_, probes := twoClusters()
	ids := map[string]bool{}
	for _, p := range probes {
		if id := p.from.Name + p.id; ids[id] {
			t.Fatalf("two probes are %s", id)
		} else {
			ids[id] = true
		}
		if p.control {
			continue
		}
		// The same probe, inside the cluster that must not answer outside, has to succeed. From a pod to
		// the real pod, which is itself, the node's is taken.
		where := p.where
		if p.what == "real pod" {
			where = fromNode
		}
		c := find(t, probes, p.to.Name, p.to.Name, where, p.what, p.port)
		if !c.control {
			t.Errorf("%s %s to %s %s has no control", p.from.Name, p.where, p.to.Name, p.what)
		}
		if c.ip != p.ip {
			t.Errorf("%s %s to %s %s: the control goes to %s, want %s", p.from.Name, p.where, p.to.Name, p.what, c.ip, p.ip)
		}
	}
	for _, what := range []string{"node", "node port", "pod", "service", "real pod"} {
		for _, where := range []string{fromPod, fromNode} {
			if find(t, probes, "cluster1", "cluster2", where, what, 0).control {
				t.Errorf("%s of another cluster must not answer", what)
			}
		}
	}
	if !find(t, probes, "cluster1", "cluster2", fromPod, "node on transit", apiServerPort).control {
		t.Error("on the transit network the API server answers")
	}
	if find(t, probes, "cluster1", "cluster2", fromPod, "node on transit", kubeletPort).control {
		t.Error("on the transit network the kubelet does not answer")
	}
}

// After nodes were restarted, a meshed pod of one cluster had the address of the other's pod of
// kube-dns, and its ztunnel took the connection.
func TestAPodOfItsOwnAtTheSameAddress(t *testing.T) {
	subjects, _ := twoClusters()
	subjects[1].families[0].pod = "10.10.0.47"
	var probes []probe
	for _, s := range subjects {
		probes = append(probes, probesFrom(s, subjects)...)
	}
	p := find(t, probes, "cluster1", "cluster2", fromPod, "real pod", 0)
	for _, c := range []struct {
		own    bool
		answer string
		proven bool
	}{{true, "+", true}, {false, "+", false}, {true, "+cluster2", false}, {true, "+hello", false}} {
		subjects[0].pods = map[string]bool{p.ip: c.own}
		answers := isolated(probes)
		answers["cluster1"][p.id] = c.answer
		if got := judge(probes, answers).Proven; got != c.proven {
			t.Errorf("answer %q, a pod of its own there %t: proven %t, want %t", c.answer, c.own, got, c.proven)
		}
	}
}

func TestJudge(t *testing.T) {
	_, probes := twoClusters()
	iso := judge(probes, isolated(probes))
	if err := verdict(iso); err != nil {
		t.Fatalf("an isolated fleet: %v", err)
	}
	if !iso.Proven {
		t.Fatal("an isolated fleet is not proven")
	}
	if got, want := len(iso.Probes), len(probes)+6; got != want {
		t.Fatalf("an isolated fleet: got %d probes, want %d", got, want)
	}
	for name, c := range map[string]struct {
		probe  probe
		key    string
		answer string
		says   string
	}{
		"a node answers": {
			probe: find(t, probes, "cluster1", "cluster2", fromNode, "node", kubeletPort), answer: "+",
			says: "cluster1 node reached cluster2 node at 10.89.2.2:10250",
		},
		"another cluster's pod answers": {
			probe: find(t, probes, "cluster1", "cluster2", fromPod, "pod", 0), answer: "+cluster2",
			says: "cluster1 pod reached cluster2 pod at 10.10.255.2:18080, where cluster2 answered",
		},
		"the same address, but the other cluster's pod": {
			probe: find(t, probes, "cluster2", "cluster1", fromPod, "real pod", 0), answer: "+cluster1",
			says: "where cluster1 answered",
		},
		"somebody without a token": {
			probe: find(t, probes, "cluster1", "cluster2", fromPod, "service", 0), answer: "+",
			says: "not isolated",
		},
		"a stranger": {
			probe: find(t, probes, "cluster1", "cluster2", fromPod, "service", 0), answer: "+hello",
			says: "where hello answered",
		},
		"control fails": {
			probe: find(t, probes, "cluster1", "cluster1", fromPod, "service", 0), answer: "",
			says: "control failed: cluster1 pod should reach cluster1 service",
		},
		"control answered by another": {
			probe: find(t, probes, "cluster1", "cluster1", fromPod, "service", 0), answer: "+cluster2",
			says: "control failed",
		},
		"outside answers": {
			key: "outside-tcp", answer: "+",
			says: "reached outside the fleet at 198.51.100.1:443/tcp",
		},
		"outside is not counted": {
			key: "counted-icmp", answer: "0",
			says: "reached outside the fleet at 198.51.100.1 icmp",
		},
		"counter cannot be read": {
			key: "counted-udp", answer: "",
			says: "198.51.100.1:53/udp",
		},
	} {
		t.Run(name, func(t *testing.T) {
			answers := isolated(probes)
			if c.key != "" {
				answers["cluster1"][c.key] = c.answer
			} else {
				answers[c.probe.from.Name][c.probe.id] = c.answer
			}
			iso := judge(probes, answers)
			if iso.Proven {
				t.Errorf("%s: proven", name)
			}
			if err := verdict(iso); !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%s: got %v, want %q", name, err, c.says)
			}
		})
	}
	answers := isolated(probes)
	p := find(t, probes, "cluster1", "cluster2", fromPod, "pod", 0)
	delete(answers["cluster1"], p.id)
	if judge(probes, answers).Proven {
		t.Error("a probe that was not carried out proves nothing")
	}
}

func TestUntilControlsPass(t *testing.T) {
	_, probes := twoClusters()
	control := find(t, probes, "cluster1", "cluster1", fromPod, "service", 0)
	leak := find(t, probes, "cluster1", "cluster2", fromPod, "service", 0)
	batch := func(change map[string]string) map[string]map[string]string {
		a := isolated(probes)
		maps.Copy(a["cluster1"], change)
		return a
	}
	asked := 0
	iso, err := untilControlsPass(t.Context(), func() (map[string]map[string]string, error) {
		if asked++; asked == 1 {
			return batch(map[string]string{control.id: ""}), nil // kube-proxy has not programmed the service yet
		}
		return batch(nil), nil
	}, probes)
	if err != nil {
		t.Fatal(err)
	}
	if !iso.Proven {
		t.Errorf("a control may take its time: %v", iso)
	}
	if asked != 2 {
		t.Errorf("a control may take its time: asked %d times, want 2", asked)
	}
	asked = 0
	iso, err = untilControlsPass(t.Context(), func() (map[string]map[string]string, error) {
		asked++
		return batch(map[string]string{control.id: "", leak.id: "+cluster2"}), nil
	}, probes)
	if err != nil {
		t.Fatal(err)
	}
	if iso.Proven {
		t.Error("a leak is proven isolation")
	}
	if asked != 1 {
		t.Errorf("a leak is final at once: asked %d times, want once", asked)
	}
	gone := func() (map[string]map[string]string, error) { return nil, errors.New("docker is gone") }
	if _, err := untilControlsPass(t.Context(), gone, probes); err == nil {
		t.Error("the error is lost")
	}
	// When time is up in the middle of a batch, the one before it says which control failed.
	late, cancel := context.WithCancel(t.Context())
	asked = 0
	iso, err = untilControlsPass(late, func() (map[string]map[string]string, error) {
		if asked++; asked == 2 {
			cancel()
			return nil, late.Err()
		}
		return batch(map[string]string{control.id: ""}), nil
	}, probes)
	if err != nil {
		t.Fatalf("out of time: %v", err)
	}
	if iso == nil {
		t.Fatal("out of time: nothing is reported")
	}
	if err := verdict(iso); !strings.Contains(fmt.Sprint(err), "control failed") {
		t.Errorf("out of time: got %v, want that a control failed", err)
	}
}

func TestParseCounters(t *testing.T) {
	listing := `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"name": "amc_fleet"}},
{"counter": {"name": "out", "packets": 22, "bytes": 1}},
{"counter": {"name": "gone", "packets": 7, "bytes": 1}},
{"counter": {"name": "resolver", "packets": 3, "bytes": 1}},
{"counter": {"name": "in", "packets": 5, "bytes": 1}},
{"counter": {"name": "tunnels", "packets": 9, "bytes": 1}},
{"chain": {"name": "forward"}}, {"rule": {"chain": "forward"}}, {"rule": {"chain": "from_pods"}},
{"rule": {"chain": "to_pods"}}, {"rule": {"chain": "input"}},
{"rule": {"chain": "leave"}}, {"rule": {"chain": "refuse"}}, {"rule": {"chain": "to_node"}}]}`
	c, err := parseCounters([]byte(listing))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(counters{Out: 22, Gone: 7, Resolver: 3, In: 5, Tunnels: 9}, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, gone := range []string{`{"counter": {"name": "resolver", "packets": 3, "bytes": 1}},`, `{"rule": {"chain": "from_pods"}},`} {
		_, err := parseCounters([]byte(strings.Replace(listing, gone, "", 1)))
		if want := "is missing"; !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("without %s: got %v, want %q", gone, err, want)
		}
	}
	if _, err := parseCounters([]byte("Error: No such file or directory")); err == nil {
		t.Error("nonsense is taken for counters")
	}
}

func TestParseCPU(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       time.Duration
		fails      bool
	}{
		{"cgroup v1", "104686672404\n", 104686672404 * time.Nanosecond, false},
		{"cgroup v2", "usage_usec 2500000\nuser_usec 2000000\n", 2500 * time.Millisecond, false},
		{"nothing", "", 0, true},
		{"no number", "cat: not found", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseCPU(c.text)
			if (err != nil) != c.fails {
				t.Errorf("got error %v, want one: %t", err, c.fails)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
