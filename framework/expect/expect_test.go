package expect

import (
	"strings"
	"testing"

	"ambient.test/conformance/framework/traffic"
)

func from(cluster string, crossed ...string) traffic.Outcome {
	return traffic.Outcome{Kind: traffic.Reached, Cluster: cluster, Workload: "echo-1", Code: 200, Crossed: crossed}
}

// Every expectation must be able to fail, and an empty set of outcomes must satisfy none.
func TestExpectations(t *testing.T) {
	reset, denied := traffic.Outcome{Kind: traffic.Reset}, traffic.Outcome{Kind: traffic.Status, Code: 403}
	for name, c := range map[string]struct {
		e         Expectation
		good, bad []traffic.Outcomes
	}{
		"all":         {ReachAll("a", "b"), []traffic.Outcomes{{from("a"), from("b")}}, []traffic.Outcomes{{from("a")}, {from("a"), from("b"), from("c")}, {from("a"), from("b"), reset}, {from("a"), from("b"), denied}}},
		"only":        {ReachOnly("a"), []traffic.Outcomes{{from("a")}}, []traffic.Outcomes{{from("b")}, {from("a"), from("b")}, {reset}}},
		"answers":     {AnswersOnly("a"), []traffic.Outcomes{{from("a")}, {from("a"), reset}}, []traffic.Outcomes{{reset}, {from("a"), from("b")}, {from("b"), reset}}},
		"answers two": {AnswersOnly("a", "b"), []traffic.Outcomes{{from("a"), from("b"), reset}}, []traffic.Outcomes{{from("a"), reset}, {from("a"), from("b"), from("c")}}},
		"some of two": {ReachedOr([]string{"a", "b"}, traffic.Reset), []traffic.Outcomes{{from("a"), from("b"), reset}}, []traffic.Outcomes{{from("a"), reset}, {from("a"), from("b")}}},
		"some":        {ReachedOr([]string{"a"}, traffic.Reset), []traffic.Outcomes{{from("a"), reset}}, []traffic.Outcomes{{from("a")}, {reset}, {from("a"), from("b"), reset}, {from("a"), denied, reset}}},
		"fail":        {Fail(traffic.Reset), []traffic.Outcomes{{reset}}, []traffic.Outcomes{{reset, from("a")}, {{Kind: traffic.Refused}}}},
		"status":      {Answer(403), []traffic.Outcomes{{denied}}, []traffic.Outcomes{{denied, from("a")}, {reset}}},
		"once":        {CrossOnce(), []traffic.Outcomes{{from("a", "a")}}, []traffic.Outcomes{{from("a")}, {from("a", "a", "b")}}},
		"once, there": {CrossOnce("b"), []traffic.Outcomes{{from("a", "b")}}, []traffic.Outcomes{{from("a", "a")}}},
		"each once":   {CrossEach("a", "b"), []traffic.Outcomes{{from("a", "b"), from("a", "a")}}, []traffic.Outcomes{{from("a", "a")}, {from("b", "b")}, {from("a", "a"), from("a", "b"), from("a", "c")}, {from("a", "a", "b"), from("a", "b")}, {from("a", "a"), from("b", "b"), reset}}},
		"none":        {CrossNone(), []traffic.Outcomes{{from("a")}}, []traffic.Outcomes{{from("a"), from("a", "a")}}},
		"one pod":     {OnePod(), []traffic.Outcomes{{from("a"), from("a")}}, []traffic.Outcomes{{from("a"), from("b")}, {from("a"), reset}}},
		"both":        {And(ReachOnly("a"), CrossNone()), []traffic.Outcomes{{from("a")}}, []traffic.Outcomes{{from("a", "a")}, {from("b")}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, os := range c.good {
				if ok, err := c.e.Match(os); !ok || err != nil {
					t.Errorf("%s should do: %s", os, c.e.FailureMessage(os))
				}
			}
			for _, os := range append(c.bad, traffic.Outcomes{}) {
				if ok, _ := c.e.Match(os); ok {
					t.Errorf("%s should not do", os)
				} else if m := c.e.FailureMessage(os); !strings.Contains(m, "expected") || !strings.Contains(m, "seen") {
					t.Errorf("message %q", m)
				}
			}
		})
	}
	if _, err := ReachOnly("a").Match("no outcomes"); err == nil {
		t.Error("anything but outcomes is an authoring mistake")
	}
}
