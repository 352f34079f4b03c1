package page

import (
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/diff"
	"ambient.test/conformance/reports/summary"
)

// since is what changed from an earlier report to the page's.
type since struct {
	Run   string // the earlier one
	Says  string
	Diff  *diff.Diff
	Known map[string]bool // ids that the page has
}

// sinceOf is nil when there is no earlier report.
func sinceOf(old, now *v1alpha2.ConformanceReport) *since {
	if old == nil {
		return nil
	}
	d := diff.Compare(old, now)
	s := &since{
		Run:  summary.OrUnknown(old.RunID) + " of " + old.Date.UTC().Format("2 January 2006, 15:04 MST"),
		Says: capital(d.Summary()) + ".", Diff: d, Known: map[string]bool{},
	}
	for _, b := range now.Behaviors {
		s.Known[b.ID] = true
	}
	return s
}
