package verify

import (
	"fmt"
	"slices"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/planned"
	"ambient.test/conformance/reports/text"
)

// asPlanned plans the run again. Ids that are missing, unknown or there twice are everyID's.
func (in *inspection) asPlanned() (wrong []string) {
	p, err := planned.Again(in.report)
	if err != nil {
		return []string{"no run could have been planned like this: " + err.Error()}
	}
	want := map[string]string{}
	for _, e := range p.Run {
		want[e.Behavior.ID] = "to run"
	}
	for _, e := range p.Skip {
		want[e.Behavior.ID] = skipOf(e.Class, e.Reason)
	}
	for _, e := range p.NotAutomated {
		want[e.Behavior.ID] = "not automated"
	}
	compare := func(id, said string) {
		if w, ok := want[id]; ok && w != said {
			wrong = append(wrong, fmt.Sprintf("%s is %s in the report, and planned again it is %s", id, text.Line(said, 90), w))
		}
	}
	for _, b := range in.report.Behaviors {
		if b.Skip != nil {
			compare(b.ID, skipOf(plan.Class(b.Skip.Class), b.Skip.Reason))
		} else {
			compare(b.ID, "to run")
		}
	}
	for _, id := range in.report.NotAutomated {
		compare(id, "not automated")
	}
	claims := p.Claims()
	for _, f := range in.report.Features {
		if shows, ok := claims[behaviors.Feature(f.Name)]; ok && !slices.Equal(shows, f.Behaviors) {
			wrong = append(wrong, fmt.Sprintf("the feature %s is shown by other behaviors than those that run for it", text.Line(f.Name, 40)))
		}
	}
	return wrong
}

func skipOf(class plan.Class, reason string) string {
	return fmt.Sprintf("skipped (%s: %s)", class, reason)
}
