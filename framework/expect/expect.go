// Package expect holds gomega matchers over the outcomes of calls. Each says in words what it expects, what it saw, and a hint.
package expect

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/traffic"
)

// Expectation is a matcher over traffic.Outcomes that can say itself.
type Expectation struct {
	Says string // what must hold, as the end of "expected ..."
	Hint string // where to look when it does not; may be empty
	// Fault finds what is wrong; empty when all is well.
	Fault func(traffic.Outcomes) string
}

var _ types.GomegaMatcher = Expectation{}

// Match implements gomega's matcher. No calls at all never match.
func (e Expectation) Match(actual any) (bool, error) {
	os, ok := actual.(traffic.Outcomes)
	if !ok {
		return false, fmt.Errorf("expect: want traffic.Outcomes, got %T", actual)
	}
	return len(os) > 0 && e.Fault(os) == "", nil
}

// FailureMessage implements gomega's matcher.
func (e Expectation) FailureMessage(actual any) string {
	os, _ := actual.(traffic.Outcomes)
	var why string
	if len(os) > 0 {
		why = e.Fault(os)
	}
	s := fmt.Sprintf("expected %s\nseen     %s\nwrong    %s", e.Says, os, why)
	for _, o := range os {
		if o.Kind != traffic.Reached && o.Detail != "" {
			s += "\nfor one  " + strings.TrimSpace(firstLine(o.Detail))
			break
		}
	}
	if e.Hint != "" {
		s += "\nhint     " + e.Hint
	}
	return s
}

// NegatedFailureMessage implements gomega's matcher.
func (e Expectation) NegatedFailureMessage(actual any) string {
	return fmt.Sprintf("expected not: %s\nseen     %v", e.Says, actual)
}

// And holds when all hold.
func And(es ...Expectation) Expectation {
	var says []string
	for _, e := range es {
		says = append(says, e.Says)
	}
	return Expectation{Says: strings.Join(says, ", and "), Hint: es[0].Hint, Fault: func(os traffic.Outcomes) string {
		for _, e := range es {
			if f := e.Fault(os); f != "" {
				return f
			}
		}
		return ""
	}}
}

// ReachAll: every call succeeds, every one of the clusters answers at least once, and no other does.
// With equal weights, k clusters and n calls one is missed by chance with a probability below k*(1-1/k)^n: two clusters need n >= 40.
func ReachAll(clusters ...string) Expectation {
	want := slices.Clone(clusters)
	sort.Strings(want)
	return Expectation{
		Says: fmt.Sprintf("every call to succeed, answered by each of %s and nobody else", strings.Join(want, ", ")),
		Hint: "who answers is in the echo's Cluster field; a share of resets points at a gateway, only local answers at scope, remote secret or network label",
		Fault: func(os traffic.Outcomes) string {
			if f := allOK(os); f != "" {
				return f
			}
			return answered(os, want)
		},
	}
}

// answered says what is wrong when not each of these clusters answers, or another does.
func answered(os traffic.Outcomes, want []string) string {
	got := os.Clusters()
	for _, c := range want {
		if got[c] == 0 {
			return fmt.Sprintf("%s answered none of %d calls", c, len(os))
		}
	}
	for c, n := range got {
		if !slices.Contains(want, c) {
			return fmt.Sprintf("%s answered %d calls", c, n)
		}
	}
	return ""
}

// ReachOnly: every call succeeds and all are answered in one cluster.
func ReachOnly(cluster string) Expectation {
	e := ReachAll(cluster)
	e.Says = fmt.Sprintf("every call to succeed, answered in %s", cluster)
	return e
}

// AnswersOnly: each of the clusters answers, and no other does; calls may also fail.
func AnswersOnly(clusters ...string) Expectation {
	return Expectation{
		Says:  fmt.Sprintf("answers from %s and from nobody else", strings.Join(clusters, ", ")),
		Fault: func(os traffic.Outcomes) string { return answered(os, clusters) },
	}
}

// ReachedOr: every call is either answered by one of the clusters or ends in one of the kinds; each cluster answers, and there are such ends.
func ReachedOr(clusters []string, kinds ...traffic.Kind) Expectation {
	return Expectation{
		Says: fmt.Sprintf("answers from %s only, and the other calls to end as %s", strings.Join(clusters, ", "), words(kinds)),
		Fault: func(os traffic.Outcomes) string {
			ended := 0
			for _, o := range os {
				switch {
				case o.Kind == traffic.Reached && slices.Contains(clusters, o.Cluster):
				case slices.Contains(kinds, o.Kind):
					ended++
				default:
					return fmt.Sprintf("one call ended as %q", o)
				}
			}
			if ended == 0 {
				return fmt.Sprintf("no call ended as %s", words(kinds))
			}
			return answered(os, clusters)
		},
	}
}

// Fail: every call ends as one of the kinds. Name the refusal that is expected: "any error" would also hold with a dead gateway.
func Fail(kinds ...traffic.Kind) Expectation {
	return Expectation{
		Says: "every call to end as " + words(kinds),
		Fault: func(os traffic.Outcomes) string {
			for _, o := range os {
				if !slices.Contains(kinds, o.Kind) {
					return fmt.Sprintf("one call ended as %q", o)
				}
			}
			return ""
		},
	}
}

// Answer: every call gets this HTTP status, from the application or from a proxy.
func Answer(code int) Expectation {
	return Expectation{
		Says: fmt.Sprintf("every call to be answered with status %d", code),
		Fault: func(os traffic.Outcomes) string {
			for _, o := range os {
				if (o.Kind != traffic.Reached && o.Kind != traffic.Status) || o.Code != code {
					return fmt.Sprintf("one call ended as %q", o)
				}
			}
			return ""
		},
	}
}

// CrossOnce: every answer crossed exactly one waypoint. With clusters given, it was a waypoint of one of them.
func CrossOnce(clusters ...string) Expectation {
	says := "every answer to have crossed exactly one waypoint"
	if len(clusters) > 0 {
		says += " of " + strings.Join(clusters, " or ")
	}
	return Expectation{
		Says: says,
		Hint: "the fingerprint is the response header " + traffic.WaypointHeader + ", added by an HTTPRoute in each cluster; none = the waypoint was bypassed, two = crossed twice",
		Fault: func(os traffic.Outcomes) string {
			for _, o := range os {
				if len(o.Crossed) != 1 {
					return fmt.Sprintf("one answer (%s) crossed %d waypoints", o, len(o.Crossed))
				}
				if len(clusters) > 0 && !slices.Contains(clusters, o.Crossed[0]) {
					return fmt.Sprintf("one answer crossed the waypoint of %s", o.Crossed[0])
				}
			}
			return ""
		},
	}
}

// CrossEach: every answer crossed exactly one waypoint, of one of the clusters, and the waypoint of each of them was crossed.
func CrossEach(clusters ...string) Expectation {
	e := CrossOnce(clusters...)
	once := e.Fault
	e.Says = "every answer to have crossed exactly one waypoint, and between them those of " + strings.Join(clusters, " and ")
	e.Fault = func(os traffic.Outcomes) string {
		if f := once(os); f != "" {
			return f
		}
		for _, c := range clusters {
			if os.Count(func(o traffic.Outcome) bool { return o.Crossed[0] == c }) == 0 {
				return "no answer crossed the waypoint of " + c
			}
		}
		return ""
	}
	return e
}

// CrossNone: no answer carries a waypoint's fingerprint.
func CrossNone() Expectation {
	return Expectation{Says: "no answer to have crossed a waypoint", Fault: func(os traffic.Outcomes) string {
		for _, o := range os {
			if len(o.Crossed) > 0 {
				return fmt.Sprintf("one answer (%s) crossed %d", o, len(o.Crossed))
			}
		}
		return ""
	}}
}

// Each: every outcome satisfies ok; says completes "every answer ...".
func Each(says string, ok func(traffic.Outcome) bool) Expectation {
	return Expectation{Says: "every answer " + says, Fault: func(os traffic.Outcomes) string {
		for _, o := range os {
			if !ok(o) {
				return fmt.Sprintf("one was %q", o)
			}
		}
		return ""
	}}
}

// OnePod: every call succeeds and one pod answers them all.
func OnePod() Expectation {
	return Expectation{Says: "every call to succeed, answered by one pod", Fault: func(os traffic.Outcomes) string {
		if f := allOK(os); f != "" {
			return f
		}
		if pods := os.Workloads(); len(pods) != 1 {
			return fmt.Sprintf("%d pods answered: %v", len(pods), pods)
		}
		return ""
	}}
}

func allOK(os traffic.Outcomes) string {
	bad := os.Count(func(o traffic.Outcome) bool { return o.Kind != traffic.Reached || (o.Code != 0 && o.Code != 200) })
	if bad > 0 {
		return fmt.Sprintf("%d of %d calls failed", bad, len(os))
	}
	return ""
}

func words(kinds []traffic.Kind) string {
	var s []string
	for _, k := range kinds {
		s = append(s, string(k))
	}
	return strings.Join(s, " or ")
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}
