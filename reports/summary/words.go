package summary

import (
	"fmt"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Headline is the report's result in a few words.
func Headline(r *v1alpha2.ConformanceReport) string {
	ran := r.Summary.Total() - r.Summary.Skipped
	switch {
	case !r.Finished:
		return fmt.Sprintf("not finished, %d of %d behaviors known", ran-r.Summary.Unknown, ran)
	case r.Result == v1alpha2.Success:
		return fmt.Sprintf("conformant, all %d behaviors that ran hold", ran)
	case r.Result == v1alpha2.Failure:
		return fmt.Sprintf("not conformant, %d of %d behaviors are violated", r.Summary.NonConformant, ran)
	case r.Summary.Unknown > 0:
		return fmt.Sprintf("unknown, %d of %d behaviors could not be judged", r.Summary.Unknown, ran)
	case ran == 0:
		return "unknown, nothing ran"
	}
	return fmt.Sprintf("partial, the %d behaviors that ran hold and others were taken out", ran)
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

// SkipClass is one class of skips and the behaviors that it kept from running.
type SkipClass struct {
	Class     string
	Behaviors []v1alpha2.BehaviorResult
}

// Skips groups the skipped behaviors by class, in the order of their first behaviors.
func Skips(r *v1alpha2.ConformanceReport) []SkipClass {
	var groups []SkipClass
	at := map[string]int{}
	for _, b := range r.Behaviors {
		if b.Verdict != v1alpha2.Skipped || b.Skip == nil {
			continue
		}
		i, ok := at[b.Skip.Class]
		if !ok {
			i = len(groups)
			at[b.Skip.Class] = i
			groups = append(groups, SkipClass{Class: b.Skip.Class})
		}
		groups[i].Behaviors = append(groups[i].Behaviors, b)
	}
	return groups
}
