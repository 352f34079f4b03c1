package page

import (
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
)

type (
	// openChapter is the behaviors of a chapter that have no spec.
	openChapter struct {
		Name, Said string
		Behaviors  []openBehavior
	}
	openBehavior struct{ ID, Level, Promise string }
)

func notAutomatedOf(r *v1alpha2.ConformanceReport) (all []openChapter) {
	at := map[string]int{}
	for _, id := range r.NotAutomated {
		prefix, _, _ := strings.Cut(id, "-")
		i, ok := at[prefix]
		if !ok {
			i = len(all)
			at[prefix] = i
			all = append(all, openChapter{Name: capital(summary.Chapter(prefix))})
		}
		b := openBehavior{ID: id}
		if k := behaviors.ByID(id); k != nil {
			b.Level, b.Promise = string(k.Level), k.Promise
		}
		all[i].Behaviors = append(all[i].Behaviors, b)
	}
	for i := range all {
		all[i].Said = levelsOf(all[i].Behaviors)
	}
	return all
}

// levelsOf counts behaviors by level.
func levelsOf(all []openBehavior) string {
	var said []string
	for _, l := range behaviors.Levels {
		n := len(slices.DeleteFunc(slices.Clone(all), func(b openBehavior) bool { return b.Level != string(l) }))
		if n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, l))
		}
	}
	if len(said) == 0 {
		return fmt.Sprint(len(all))
	}
	return strings.Join(said, ", ")
}
