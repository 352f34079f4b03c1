package expect

import (
	"math"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/traffic"
)

// name is a cluster.
type name string

func (n name) String() string { return string(n) }

func from(cluster string, waypoints ...string) traffic.Outcome {
	return traffic.Outcome{Kind: traffic.Reached, Cluster: cluster, Workload: "echo-1", Code: 200, Waypoints: waypoints}
}

// Every matcher must be able to fail, and an empty set of outcomes must satisfy none.
func TestMatchers(t *testing.T) {
	reset, denied := traffic.Outcome{Kind: traffic.Reset}, traffic.Outcome{Kind: traffic.Status, Code: 403}
	refused := traffic.Outcome{Kind: traffic.Refused}
	a, b := name("a"), name("b")
	second, third := from("a"), from("b")
	second.Workload, third.Workload = "echo-2", "echo-3"
	type sets []traffic.Outcomes
	for title, c := range map[string]struct {
		matcher   types.GomegaMatcher
		good, bad sets
	}{
		"answered by both": {AnsweredBy(a, b), sets{{from("a"), from("b")}},
			sets{{from("a")}, {from("a"), from("b"), from("c")}, {from("a"), from("b"), reset}, {from("a"), from("b"), denied}}},
		"answered by one": {AnsweredBy(a), sets{{from("a")}}, sets{{from("b")}, {from("a"), from("b")}, {reset}}},
		"answered only by one": {AnsweredOnlyBy(a), sets{{from("a")}, {from("a"), reset}},
			sets{{reset}, {from("a"), from("b")}, {from("b"), reset}}},
		"answered only by two": {AnsweredOnlyBy(a, b), sets{{from("a"), from("b"), reset}},
			sets{{from("a"), reset}, {from("a"), from("b"), from("c")}}},
		"answered unless, two": {AnsweredUnless([]traffic.Kind{traffic.Reset}, a, b), sets{{from("a"), from("b"), reset}},
			sets{{from("a"), reset}, {from("a"), from("b")}}},
		"answered unless, one": {AnsweredUnless([]traffic.Kind{traffic.Reset}, a), sets{{from("a"), reset}},
			sets{{from("a")}, {reset}, {from("a"), from("b"), reset}, {from("a"), denied, reset}}},
		"end as":          {EndAs(traffic.Reset), sets{{reset}}, sets{{reset, from("a")}, {refused}}},
		"status":          {HaveStatus(403), sets{{denied}}, sets{{denied, from("a")}, {reset}}},
		"one waypoint":    {ViaOneWaypoint(), sets{{from("a", "a")}}, sets{{from("a")}, {from("a", "a", "b")}}},
		"waypoint of one": {ViaWaypointOf(b), sets{{from("a", "b")}}, sets{{from("a", "a")}, {from("a", "b"), from("a", "a")}}},
		"waypoint of one of two": {ViaWaypointOf(a, b), sets{{from("a", "b"), from("a", "a")}, {from("a", "a")}, {from("b", "b")}},
			sets{{from("a", "a"), from("a", "b"), from("a", "c")}, {from("a", "a", "b"), from("a", "b")},
				{from("a", "a"), from("b", "b"), reset}, {from("a")}}},
		"without waypoint": {WithoutWaypoint(), sets{{from("a")}}, sets{{from("a"), from("a", "a")}}},
		"from one pod":     {FromOnePod(), sets{{from("a"), from("a")}}, sets{{from("a"), from("b")}, {from("a"), reset}}},
		"from two pods": {FromPods(name("echo-1"), name("echo-2")), sets{{from("a"), second}},
			sets{{from("a")}, {from("a"), second, reset}, {from("a"), second, third}}},
		"from one cluster": {FromOneCluster(), sets{{from("a"), from("a")}}, sets{{from("a"), from("b")}, {from("a"), reset}}},
		"from pods of": {FromPodsOf("echo"), sets{{from("a")}}, sets{{reset}, {{Kind: traffic.Reached, Workload: "echoes-1"}},
			{{Kind: traffic.Reached, Workload: "echo-b-75fd-x7k2p"}}}},
		"from a port": {FromPort(8080), sets{{{Kind: traffic.Reached, Port: "8080"}}}, sets{{reset}, {from("a")},
			{{Kind: traffic.Reached, Port: "8080"}, {Kind: traffic.Reached, Port: "9090"}}}},
		"both, joined by gomega": {gomega.SatisfyAll(AnsweredBy(a), WithoutWaypoint()), sets{{from("a")}}, sets{{from("a", "a")}, {from("b")}}},
	} {
		t.Run(title, func(t *testing.T) {
			for _, os := range c.good {
				if ok, err := c.matcher.Match(os); err != nil {
					t.Errorf("%s: got %v, want a match", os, err)
				} else if !ok {
					t.Errorf("%s does not match: %s", os, c.matcher.FailureMessage(os))
				}
			}
			for _, os := range append(c.bad, traffic.Outcomes{}) {
				if ok, _ := c.matcher.Match(os); ok {
					t.Errorf("%s matches", os)
					continue
				}
				message := c.matcher.FailureMessage(os)
				for _, word := range []string{"expected", "seen"} {
					if !strings.Contains(message, word) {
						t.Errorf("message without %q: %q", word, message)
					}
				}
			}
		})
	}
	if _, err := AnsweredBy(a).Match("no outcomes"); err == nil {
		t.Error("what is no outcomes was taken for some")
	}
}

func TestSamples(t *testing.T) {
	a, b, c := name("a"), name("b"), name("c")
	for title, x := range map[string]struct {
		matchers []types.GomegaMatcher
		want     int
	}{
		"none":          {nil, 1},
		"gomega's own":  {[]types.GomegaMatcher{gomega.BeTrue()}, 1},
		"refusal":       {[]types.GomegaMatcher{EndAs(traffic.Reset)}, 10},
		"one cluster":   {[]types.GomegaMatcher{AnsweredBy(a)}, 24},
		"two clusters":  {[]types.GomegaMatcher{AnsweredBy(a, b), ViaOneWaypoint()}, 24},
		"three":         {[]types.GomegaMatcher{AnsweredBy(a, b, c)}, 43},
		"inside gomega": {[]types.GomegaMatcher{gomega.SatisfyAll(gomega.BeTrue(), AnsweredBy(a))}, 24},
	} {
		t.Run(title, func(t *testing.T) {
			if got := Samples(x.matchers...); got != x.want {
				t.Errorf("got %d, want %d", got, x.want)
			}
		})
	}
	for k := 2; k <= 9; k++ {
		n := SpreadOver(k)
		if missed := float64(k) * math.Pow(1-1/float64(k), float64(n)); missed > math.Pow(2, -23)*1.0001 {
			t.Errorf("%d clusters, %d calls: one is missed with probability %g", k, n, missed)
		}
	}
}
