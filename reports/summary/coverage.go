package summary

import (
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/planned"
	"ambient.test/conformance/reports/text"
)

// mustCover is the level of which a run leaves nothing out if it is more than partial.
func mustCover(r *v1alpha2.ConformanceReport) behaviors.Level {
	if r.Profile == string(behaviors.ProfileLimits) {
		return behaviors.Limitation
	}
	return behaviors.Core
}

// levelNoun is what behaviors of a level are called.
var levelNoun = map[behaviors.Level]string{behaviors.Core: "core behavior", behaviors.Limitation: "limitation"}

// Uncovered are the behaviors that the profile promises and that were skipped for another reason
// than the version of Istio. A limitation of another topology, of one network, of several or of a
// remote cluster, does not count: no fleet has them all.
func Uncovered(r *v1alpha2.ConformanceReport) (all []v1alpha2.BehaviorResult) {
	other, env := slices.Clone(behaviors.OtherTopologies), planned.Environment(&r.Environment)
	if slices.ContainsFunc(other, env.Meets) {
		other = slices.DeleteFunc(append(other, behaviors.TwoNetworks), env.Meets)
	}
	for _, b := range r.Behaviors {
		if b.Skip == nil || b.Skip.Class == string(plan.ClassVersion) || b.Level != string(mustCover(r)) {
			continue
		}
		k := behaviors.ByID(b.ID)
		switch {
		case k == nil: // of another catalog
		case !k.InProfile(behaviors.Profile(r.Profile)):
			continue
		case k.Level == behaviors.Limitation && meet(other, k.AllNeeds()):
			continue
		}
		all = append(all, b)
	}
	return all
}

// meet reports whether two lists of needs have one in common.
func meet(a, b []behaviors.Need) bool {
	return slices.ContainsFunc(a, func(n behaviors.Need) bool { return slices.Contains(b, n) })
}

// Shortfalls say what keeps a run without violations from success, a clause each; a run that has
// none is a success.
func Shortfalls(r *v1alpha2.ConformanceReport) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if r.Failure != "" {
		say("the run could not go on: %s", text.Line(r.Failure, 400))
	}
	if !r.Finished {
		say("the run was not finished")
	}
	if n := r.Summary.Unknown; n > 0 {
		say("of %s nothing was learned", number(n, "behavior"))
	}
	uncovered := Uncovered(r)
	for _, c := range plan.Classes {
		for _, g := range skipsBy(uncovered, func(s v1alpha2.Skip) string { return s.Class + ": " + s.Reason }) {
			if g.Behaviors[0].Skip.Class == string(c) {
				say("%s did not run (%s): %s", number(len(g.Behaviors), levelNoun[mustCover(r)]), text.Line(g.Name, 200), ids(g.Behaviors))
			}
		}
	}
	if r.Summary.Ran() == 0 && len(uncovered) == 0 {
		say("nothing ran")
	}
	if l := r.Leaks; l != nil && (!l.Clean || len(l.Found) > 0) {
		say("%s left behind", number(len(l.Found), "object"))
	}
	return all
}

// Coverage says how much of what is promised the suite can prove at all, and how much of that
// holds.
func Coverage(r *v1alpha2.ConformanceReport) string {
	level := mustCover(r)
	proven, holds := 0, 0
	for _, b := range r.Behaviors {
		if b.Level == string(level) {
			proven++
			if b.Verdict == v1alpha2.Conformant {
				holds++
			}
		}
	}
	open := 0
	for _, id := range r.NotAutomated {
		if b := behaviors.ByID(id); b != nil && b.Level == level {
			open++
		}
	}
	says := fmt.Sprintf("%d of %s of the catalog have a spec", proven, number(proven+open, levelNoun[level]))
	switch { // nobody promises limitations
	case level != behaviors.Core || proven == 0:
		return says
	case holds == proven:
		return fmt.Sprintf("%s; all %d hold", says, proven)
	}
	return fmt.Sprintf("%s; %d of these %d hold", says, holds, proven)
}

// ids names behaviors, the first ones if there are many.
func ids(all []v1alpha2.BehaviorResult) string {
	const most = 8
	var names []string
	for _, b := range all[:min(most, len(all))] {
		names = append(names, b.ID)
	}
	s := strings.Join(names, ", ")
	if n := len(all) - most; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
