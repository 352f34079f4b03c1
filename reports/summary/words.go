package summary

import (
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Headline is the report's result in a few words.
func Headline(r *v1alpha2.ConformanceReport) string {
	ran := r.Summary.Ran()
	switch {
	case !r.Finished:
		return fmt.Sprintf("not finished, %d of %s known", ran-r.Summary.Unknown, number(ran, "behavior"))
	case r.Result == v1alpha2.Success && r.Summary.Known > 0:
		return fmt.Sprintf("conformant%s but for %s of this version of Istio, %s ran",
			withStandIns(r), number(r.Summary.Known, "known fault"), number(ran, "behavior"))
	case r.Result == v1alpha2.Success:
		return fmt.Sprintf("conformant%s, %s ran and %s", withStandIns(r), number(ran, "behavior"), hold(ran))
	case r.Result == v1alpha2.Recorded:
		return fmt.Sprintf("recorded, %s ran and none had an unsafe outcome", number(ran, "probe"))
	case r.Result == v1alpha2.Failure:
		return fmt.Sprintf("not conformant, %d of %s violated", r.Summary.NonConformant, number(ran, "behavior"))
	case r.Summary.Unknown > 0:
		return fmt.Sprintf("unknown, %d of %s could not be judged", r.Summary.Unknown, number(ran, "behavior"))
	case ran == 0:
		return "unknown, nothing ran"
	}
	missing := ""
	if n := len(Uncovered(r)); n > 0 {
		missing = fmt.Sprintf(", %s did not run", number(n, levelNoun[mustCover(r)]))
	}
	known := ""
	if r.Summary.Known > 0 {
		known = fmt.Sprintf(" but for %s of this version of Istio", number(r.Summary.Known, "known fault"))
	}
	return fmt.Sprintf("partial, %s ran and %s%s%s", number(ran, "behavior"), hold(ran), known, missing)
}

// withStandIns keeps a run with stand-ins from looking like one of Istio.
func withStandIns(r *v1alpha2.ConformanceReport) string {
	if len(r.Environment.StandIns) == 0 {
		return ""
	}
	return " with stand-ins"
}

func hold(n int) string {
	if n == 1 {
		return "holds"
	}
	return "hold"
}

// Implementation names whose mesh was tested.
func Implementation(r *v1alpha2.ConformanceReport) string {
	i := r.Implementation
	name := strings.Join(strings.Fields(i.Organization+" "+i.Project+" "+i.Version), " ")
	if name == "" {
		return "implementation not named"
	}
	return name
}

// Filters says which behaviors the user chose or took out; it is empty when all were left in.
func Filters(r *v1alpha2.ConformanceReport) string {
	s := strings.Join(r.Filters.Include, " ")
	if len(r.Filters.Exclude) > 0 {
		s = strings.TrimSpace(s + " without " + strings.Join(r.Filters.Exclude, " "))
	}
	return s
}

// StandIns names the components that something stood in for.
func StandIns(r *v1alpha2.ConformanceReport) string {
	var names []string
	for _, s := range r.Environment.StandIns {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// Chapter is the name of a chapter for people.
func Chapter(prefix string) string {
	if c, ok := behaviors.ChapterOf(prefix); ok {
		return c.Name
	}
	return prefix
}

// OrUnknown is s, or says that it is not known.
func OrUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

// Flaky are the behaviors that were settled only by another attempt.
func Flaky(r *v1alpha2.ConformanceReport) []v1alpha2.BehaviorResult {
	return slices.DeleteFunc(slices.Clone(r.Behaviors), func(b v1alpha2.BehaviorResult) bool { return !b.Flaky })
}

// Fixed are the behaviors that this version was known to break and that hold.
func Fixed(r *v1alpha2.ConformanceReport) []v1alpha2.BehaviorResult {
	return slices.DeleteFunc(slices.Clone(r.Behaviors), func(b v1alpha2.BehaviorResult) bool { return b.Fixed == "" })
}

// SkipGroup is the behaviors that one thing kept from running.
type SkipGroup struct {
	Name      string
	Behaviors []v1alpha2.BehaviorResult
}

// Skips groups the skipped behaviors by class, in the order of their first behaviors.
func Skips(r *v1alpha2.ConformanceReport) []SkipGroup {
	return skipsBy(r.Behaviors, func(s v1alpha2.Skip) string { return s.Class })
}

// skipsBy groups the skipped ones of behaviors by a name, in the order of their first behaviors.
func skipsBy(all []v1alpha2.BehaviorResult, name func(v1alpha2.Skip) string) []SkipGroup {
	var groups []SkipGroup
	at := map[string]int{}
	for _, b := range all {
		if b.Verdict != v1alpha2.Skipped || b.Skip == nil {
			continue
		}
		n := name(*b.Skip)
		i, ok := at[n]
		if !ok {
			i = len(groups)
			at[n] = i
			groups = append(groups, SkipGroup{Name: n})
		}
		groups[i].Behaviors = append(groups[i].Behaviors, b)
	}
	return groups
}
