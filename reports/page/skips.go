package page

import (
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
)

type (
	skipClass struct {
		Class, Means string
		Reasons      []skipReason
	}
	skipReason struct {
		Reason string
		IDs    []string
	}
)

// classMeans says what each class of skips is.
var classMeans = map[plan.Class]string{
	plan.ClassVersion:  "the promise does not hold for this Istio version",
	plan.ClassTopology: "the fleet does not have the shape, or the suite may not change it",
	plan.ClassFeature:  "an optional capability that is missing or was not claimed",
	plan.ClassStandIn:  "only the component itself can show it",
	plan.ClassProfile:  "not part of the chosen profile",
	plan.ClassUser:     "taken out by the user",
}

// skipsOf groups skipped behaviors by class and, within a class, by reason.
func skipsOf(r *v1alpha2.ConformanceReport) (all []skipClass) {
	for _, g := range summary.Skips(r) {
		c := skipClass{Class: g.Name, Means: classMeans[plan.Class(g.Name)]}
		at := map[string]int{}
		for _, b := range g.Behaviors {
			i, ok := at[b.Skip.Reason]
			if !ok {
				i = len(c.Reasons)
				at[b.Skip.Reason] = i
				c.Reasons = append(c.Reasons, skipReason{Reason: b.Skip.Reason})
			}
			c.Reasons[i].IDs = append(c.Reasons[i].IDs, b.ID)
		}
		all = append(all, c)
	}
	return all
}
