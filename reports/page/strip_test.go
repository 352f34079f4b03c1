package page

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/reports/api/v1alpha2"
)

func restart(rows ...v1alpha2.EventRow) v1alpha2.Event {
	return v1alpha2.Event{
		What: "the gateway of cluster2 restarts", At: time.Date(2026, 11, 27, 11, 0, 0, 0, time.UTC), BeginSeconds: 1, EndSeconds: 3, Rows: rows,
	}
}

func TestStrip(t *testing.T) {
	recovered := 2.0
	row := v1alpha2.EventRow{Calls: "client in cluster1", Made: []int{5, 5, 4, 5}, Lost: []int{0, 5, 1, 0}, RecoverSeconds: &recovered}
	got := stripsOf(&v1alpha2.BehaviorResult{Events: []v1alpha2.Event{restart(row)}})
	want := []strip{{
		What: "The gateway of cluster2 restarts", Said: "from 1 s to 3 s", Begin: 25, Width: 50,
		Rows: []stripRow{{
			Calls: "client in cluster1", Said: "6 of 19 calls failed, none later than 2 s after the event began",
			Columns: []column{
				{X: 0, W: 20, Made: 80, MadeY: 20, LostY: 100, Title: "0 s: 0 of 5 calls failed"},
				{X: 25, W: 20, Made: 80, MadeY: 20, Lost: 80, LostY: 20, Title: "1 s: 5 of 5 calls failed"},
				{X: 50, W: 20, Made: 64, MadeY: 36, Lost: 16, LostY: 84, Title: "2 s: 1 of 4 calls failed"},
				{X: 75, W: 20, Made: 80, MadeY: 20, LostY: 100, Title: "3 s: 0 of 5 calls failed"},
			},
		}},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(strip{}, stripRow{}, column{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An hour is drawn in as many columns as fit, and a report with too many events in none.
func TestStripsAreBounded(t *testing.T) {
	long := v1alpha2.EventRow{Calls: "a client", Made: make([]int, 3600), Lost: make([]int, 1)}
	if got := len(stripRowOf(long, 3600).Columns); got != maxColumns {
		t.Errorf("got %d columns, want %d", got, maxColumns)
	}
	r := &v1alpha2.ConformanceReport{Behaviors: make([]v1alpha2.BehaviorResult, 2)}
	r.Behaviors[0].Events = []v1alpha2.Event{restart(make([]v1alpha2.EventRow, maxStrips)...)}
	if !drawsStrips(r) {
		t.Errorf("%d rows are not drawn", maxStrips)
	}
	r.Behaviors[1].Events = []v1alpha2.Event{restart(long)}
	if drawsStrips(r) {
		t.Errorf("%d rows are drawn", maxStrips+1)
	}
}
