package summary

import (
	"cmp"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Statement is a sentence of the page "Install Multicluster", with what a report says of each
// behavior that decides it.
type Statement struct {
	N     int    // from 1, in the page's order
	Says  string // the page's words until Istio 1.28
	Since string // what it says since 1.29; empty if that is the same
	Seen  []Seen
}

// Seen is what a report says of one behavior.
type Seen struct {
	ID string
	// Standing is empty for a behavior that is not in the report.
	Standing v1alpha2.Standing
	// Says completes the id: what was seen, or why nothing was.
	Says string
}

// Statements are the twelve statements of the page, in its order.
func Statements(r *v1alpha2.ConformanceReport) []Statement {
	var all []Statement
	for i, s := range behaviors.Statements {
		x := Statement{N: i + 1, Says: s.Says, Since: s.Changed()}
		for _, id := range s.Behaviors {
			x.Seen = append(x.Seen, seenOf(r, id))
		}
		all = append(all, x)
	}
	return all
}

func seenOf(r *v1alpha2.ConformanceReport, id string) Seen {
	i := slices.IndexFunc(r.Behaviors, func(b v1alpha2.BehaviorResult) bool { return b.ID == id })
	if i < 0 {
		says := "is not in this report"
		if slices.Contains(r.NotAutomated, id) {
			says = "has no spec yet"
		}
		return Seen{ID: id, Says: says}
	}
	b := &r.Behaviors[i]
	s := Seen{ID: id, Standing: b.Standing()}
	switch s.Standing {
	case v1alpha2.Standing(v1alpha2.Conformant):
		s.Says = "holds"
		if b.Level == string(behaviors.Limitation) {
			s.Says = strings.TrimSpace("recorded " + b.Outcome)
		}
	case v1alpha2.StandingKnown:
		s.Says = "is broken, known as " + b.Known
	case v1alpha2.Standing(v1alpha2.NonConformant):
		s.Says = "is broken"
	case v1alpha2.Standing(v1alpha2.Skipped):
		s.Says = "did not run"
		if b.Skip != nil {
			s.Says += ": " + cmp.Or(b.Skip.Reason, b.Skip.Class)
		}
	default:
		s.Says = "could not be judged"
	}
	return s
}

// Status is what the page says of ambient multicluster in the report's version of Istio; empty if
// the report names none.
func Status(r *v1alpha2.ConformanceReport) string {
	v, err := behaviors.ParseVersion(r.Environment.Istio)
	if err != nil {
		return ""
	}
	return behaviors.Status(v)
}
