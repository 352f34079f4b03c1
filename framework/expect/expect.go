// Package expect holds gomega matchers over what clients and gateways see. Each says in words what
// it expects, what it saw, and where to look; each knows how many calls it needs to be sure.
//
// They are combined by gomega: the verbs of a spec take several, and [gomega.SatisfyAll] works.
package expect

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/onsi/gomega/matchers"
	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/traffic"
)

// Matcher judges the outcomes of calls. It implements gomega's GomegaMatcher.
type Matcher struct {
	says    string // completes "expected ..."
	hint    string // where to look when it does not hold; may be empty
	samples int    // calls that one judgment needs; 0 = any number
	fault   func(traffic.Outcomes) string
}

var _ types.GomegaMatcher = Matcher{}

// Match implements gomega's matcher. No calls at all never match.
func (m Matcher) Match(actual any) (bool, error) {
	os, ok := actual.(traffic.Outcomes)
	if !ok {
		return false, fmt.Errorf("expected %s: want traffic.Outcomes, got %T", m.says, actual)
	}
	return len(os) > 0 && m.fault(os) == "", nil
}

// FailureMessage implements gomega's matcher.
func (m Matcher) FailureMessage(actual any) string {
	os, _ := actual.(traffic.Outcomes)
	var why string
	if len(os) > 0 {
		why = m.fault(os)
	}
	s := fmt.Sprintf("expected %s\nseen     %s\nwrong    %s", m.says, os, why)
	for _, o := range os {
		if o.Kind != traffic.Reached && o.Detail != "" {
			s += "\nfor one  " + o.FirstLine()
			break
		}
	}
	if m.hint != "" {
		s += "\nhint     " + m.hint
	}
	return s
}

// NegatedFailureMessage implements gomega's matcher.
func (m Matcher) NegatedFailureMessage(actual any) string {
	return fmt.Sprintf("expected not %s\nseen     %v", m.says, actual)
}

// Samples is how many calls one judgment needs.
func (m Matcher) Samples() int { return m.samples }

// Samples is the largest number of calls that one of the matchers needs, at least 1. It looks into
// gomega's SatisfyAll and SatisfyAny.
func Samples(ms ...types.GomegaMatcher) int {
	n := 1
	for _, m := range ms {
		switch m := m.(type) {
		case interface{ Samples() int }:
			n = max(n, m.Samples())
		case *matchers.AndMatcher:
			n = max(n, Samples(m.Matchers...))
		case *matchers.OrMatcher:
			n = max(n, Samples(m.Matchers...))
		}
	}
	return n
}

// Sample sizes. With 24 calls the chance to miss one of two clusters of equal weight is 2^-23: one
// run in ten thousand, at some hundred samples each.
const (
	spread  = 24 // who answers: each of two clusters, or only one of them
	refusal = 10 // every call ends in the same way
)

// SpreadOver is the sample size for k clusters of equal weight: the smallest n with the same chance
// to miss one of them as 24 calls have with two, k*(1-1/k)^n <= 2^-23.
func SpreadOver(k int) int {
	if k <= 2 {
		return spread
	}
	f := float64(k)
	return int(math.Ceil(((spread-1)*math.Ln2 + math.Log(f)) / -math.Log1p(-1/f)))
}

// AnsweredBy expects that every call succeeds, that each of the clusters answers, and nobody else.
func AnsweredBy[C fmt.Stringer](clusters ...C) Matcher {
	want := names(clusters)
	says := "every call to succeed, answered by each of " + strings.Join(want, ", ") + " and nobody else"
	if len(want) == 1 {
		says = "every call to succeed, answered in " + want[0]
	}
	return Matcher{
		says: says,
		hint: "the echo's Cluster field says who answers; a share of resets points at a gateway, only local answers" +
			" point at scope, remote secret or network label",
		samples: SpreadOver(len(want)),
		fault: func(os traffic.Outcomes) string {
			if f := allOK(os); f != "" {
				return f
			}
			return answered(os, want)
		},
	}
}

// AnsweredOnlyBy expects that each of the clusters answers and nobody else; calls may also fail.
func AnsweredOnlyBy[C fmt.Stringer](clusters ...C) Matcher {
	want := names(clusters)
	return Matcher{
		says:    "answers from " + strings.Join(want, ", ") + " and from nobody else",
		samples: SpreadOver(len(want)),
		fault:   func(os traffic.Outcomes) string { return answered(os, want) },
	}
}

// AnsweredUnless expects that the clusters answer, each of them, and that the other calls end as
// one of the kinds; there must be such ends.
func AnsweredUnless[C fmt.Stringer](kinds []traffic.Kind, clusters ...C) Matcher {
	want := names(clusters)
	return Matcher{
		says:    fmt.Sprintf("answers from %s only, and the other calls to end as %s", strings.Join(want, ", "), words(kinds)),
		samples: SpreadOver(len(want) + 1),
		fault: func(os traffic.Outcomes) string {
			ended := 0
			for _, o := range os {
				switch {
				case o.Kind == traffic.Reached && slices.Contains(want, o.Cluster):
				case slices.Contains(kinds, o.Kind):
					ended++
				default:
					return fmt.Sprintf("one call ended as %q", o)
				}
			}
			if ended == 0 {
				return "no call ended as " + words(kinds)
			}
			return answered(os, want)
		},
	}
}

// EndAs expects that every call ends as one of the kinds. Name the refusal: "any error" also holds
// with a dead gateway.
func EndAs(kinds ...traffic.Kind) Matcher {
	return every("call to end as "+words(kinds), "ended", func(o traffic.Outcome) bool { return slices.Contains(kinds, o.Kind) })
}

// HaveStatus expects that every call gets this HTTP status, from the application or from a proxy.
func HaveStatus(code int) Matcher {
	return every(fmt.Sprintf("call to be answered with status %d", code), "ended", func(o traffic.Outcome) bool {
		return (o.Kind == traffic.Reached || o.Kind == traffic.Status) && o.Code == code
	})
}

// EachAnswer expects ok of every outcome; says completes "every answer ...".
func EachAnswer(says string, ok func(traffic.Outcome) bool) Matcher {
	return every("answer "+says, "was", ok)
}

func every(says, verb string, ok func(traffic.Outcome) bool) Matcher {
	return Matcher{says: "every " + says, samples: refusal, fault: func(os traffic.Outcomes) string {
		for _, o := range os {
			if !ok(o) {
				return fmt.Sprintf("one call %s %q", verb, o)
			}
		}
		return ""
	}}
}

// FromPort expects that every answer comes from this port of a pod.
func FromPort(port int) Matcher {
	return EachAnswer(fmt.Sprintf("to come from port %d of a pod", port), func(o traffic.Outcome) bool {
		return o.Kind == traffic.Reached && o.Port == strconv.Itoa(port)
	})
}

// FromOneOf expects that every answer comes from one of the clusters, whichever.
func FromOneOf[C fmt.Stringer](clusters ...C) Matcher {
	want := names(clusters)
	return EachAnswer("to come from one of "+strings.Join(want, ", "), func(o traffic.Outcome) bool {
		return o.Kind == traffic.Reached && slices.Contains(want, o.Cluster)
	})
}

// FromPodsOf expects that every answer comes from a pod of the deployment.
func FromPodsOf(deployment string) Matcher {
	return EachAnswer("to come from a pod of "+deployment, func(o traffic.Outcome) bool { return o.FromPodOf(deployment) })
}

// FromPods expects that every call succeeds, that each of the pods answers, and nobody else.
func FromPods[P fmt.Stringer](pods ...P) Matcher {
	want := names(pods)
	return Matcher{
		says:    "every call to succeed, answered by each of the pods " + strings.Join(want, ", ") + " and nobody else",
		samples: SpreadOver(len(want)),
		fault: func(os traffic.Outcomes) string {
			if f := allOK(os); f != "" {
				return f
			}
			got := map[string]int{}
			for _, o := range os {
				got[o.Workload]++
			}
			return counted(got, want, len(os))
		},
	}
}

// FromOnePod expects that every call succeeds and that one pod answers them all.
func FromOnePod() Matcher {
	return Matcher{says: "every call to succeed, answered by one pod", fault: func(os traffic.Outcomes) string {
		if f := allOK(os); f != "" {
			return f
		}
		if pods := os.Workloads(); len(pods) != 1 {
			return fmt.Sprintf("%d pods answered: %v", len(pods), pods)
		}
		return ""
	}}
}

// FromOneCluster expects that every call succeeds and that one cluster answers them all.
func FromOneCluster() Matcher {
	return Matcher{says: "every call to succeed, answered in one cluster", samples: spread, fault: func(os traffic.Outcomes) string {
		if f := allOK(os); f != "" {
			return f
		}
		if n := len(os.Clusters()); n != 1 {
			return fmt.Sprintf("%d clusters answered", n)
		}
		return ""
	}}
}

const traceHint = "each waypoint adds its cluster to the response header " + traffic.WaypointHeader +
	" by an HTTPRoute: no value means that the waypoint was bypassed, two that two were traversed"

// ViaOneWaypoint expects that every answer came through exactly one waypoint, of any cluster.
func ViaOneWaypoint() Matcher {
	return Matcher{says: "every answer to come through exactly one waypoint", hint: traceHint, samples: spread, fault: traversed}
}

// ViaWaypointOf expects that every answer came through exactly one waypoint, of one of the clusters,
// whichever.
func ViaWaypointOf[C fmt.Stringer](clusters ...C) Matcher {
	want := names(clusters)
	return Matcher{
		says:    "every answer to come through exactly one waypoint, of one of " + strings.Join(want, ", "),
		hint:    traceHint,
		samples: spread,
		fault: func(os traffic.Outcomes) string {
			if f := traversed(os); f != "" {
				return f
			}
			for _, o := range os {
				if !slices.Contains(want, o.Waypoints[0]) {
					return "one answer came through the waypoint of " + o.Waypoints[0]
				}
			}
			return ""
		},
	}
}

// WithoutWaypoint expects that no answer came through a waypoint.
func WithoutWaypoint() Matcher {
	return Matcher{says: "no answer to come through a waypoint", samples: spread, fault: func(os traffic.Outcomes) string {
		for _, o := range os {
			if len(o.Waypoints) > 0 {
				return fmt.Sprintf("one answer (%s) came through %d", o, len(o.Waypoints))
			}
		}
		return ""
	}}
}

func traversed(os traffic.Outcomes) string {
	for _, o := range os {
		if len(o.Waypoints) != 1 {
			return fmt.Sprintf("one answer (%s) came through %d waypoints", o, len(o.Waypoints))
		}
	}
	return ""
}

// answered says what is wrong when not each of these clusters answers, or another does.
func answered(os traffic.Outcomes, want []string) string {
	return counted(os.Clusters(), want, len(os))
}

// counted says what is wrong when not each of those who should has answered, or another has.
func counted(got map[string]int, want []string, calls int) string {
	for _, w := range want {
		if got[w] == 0 {
			return fmt.Sprintf("%s answered none of %d calls", w, calls)
		}
	}
	for w, n := range got {
		if !slices.Contains(want, w) {
			return fmt.Sprintf("%s answered %d calls", w, n)
		}
	}
	return ""
}

func allOK(os traffic.Outcomes) string {
	bad := os.Count(func(o traffic.Outcome) bool { return o.Kind != traffic.Reached || (o.Code != 0 && o.Code != 200) })
	if bad > 0 {
		return fmt.Sprintf("%d of %d calls failed", bad, len(os))
	}
	return ""
}

func names[X fmt.Stringer](those []X) []string {
	var all []string
	for _, x := range those {
		all = append(all, x.String())
	}
	slices.Sort(all)
	return all
}

func words(kinds []traffic.Kind) string {
	var s []string
	for _, k := range kinds {
		s = append(s, string(k))
	}
	return strings.Join(s, " or ")
}

// NoPath expects that no address of another cluster is reached directly.
func NoPath() types.GomegaMatcher {
	return Value("no direct path, so that the networks are apart", func(all []traffic.Path) string {
		for _, p := range all {
			if p.Open() {
				return "the networks are not apart: " + p.String()
			}
		}
		if len(all) == 0 {
			return "there was no address to try"
		}
		return ""
	})
}
