package page

import (
	"fmt"
	"slices"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// strip shows what calls saw while something happened to the mesh: a row of columns for each kind
// of calls, by the time at which they began. All are in percent.
type (
	strip struct {
		What, Said   string
		Begin, Width float64 // of the event
		Undo         float64 // when its undoing began; 0 where it ends by itself
		Rows         []stripRow
	}
	stripRow struct {
		Calls, Said string
		Columns     []column
	}
	column struct {
		X, W         float64
		Made, Lost   float64 // heights
		MadeY, LostY float64 // where they begin, from above
		Title        string
	}
)

const (
	maxColumns = 120 // of a row; a longer event has several seconds in one
	highest    = 80  // percent; above the columns the event shows
	maxStrips  = 400 // rows of the whole page; in a report with more, none is drawn
)

// drawsStrips reports whether the events of a report are few enough to draw.
func drawsStrips(r *v1alpha2.ConformanceReport) bool {
	n := 0
	for _, b := range r.Behaviors {
		for _, e := range b.Events {
			n += len(e.Rows)
		}
	}
	return n <= maxStrips
}

func stripsOf(b *v1alpha2.BehaviorResult) (all []strip) {
	for _, e := range b.Events {
		seconds := 1
		for _, row := range e.Rows {
			seconds = max(seconds, len(row.Made))
		}
		x := func(at float64) float64 { return round(100 * min(max(at/float64(seconds), 0), 1)) }
		s := strip{
			What: capital(e.What), Begin: x(e.BeginSeconds), Width: max(x(e.EndSeconds)-x(e.BeginSeconds), 0),
			Said: fmt.Sprintf("from %s to %s", secs(e.BeginSeconds), secs(e.EndSeconds)),
		}
		if e.UndoSeconds > 0 {
			s.Undo = x(e.UndoSeconds)
			s.Said += ", undone from " + secs(e.UndoSeconds)
		}
		for _, row := range e.Rows {
			s.Rows = append(s.Rows, stripRowOf(row, seconds))
		}
		all = append(all, s)
	}
	return all
}

func stripRowOf(r v1alpha2.EventRow, seconds int) stripRow {
	each := (seconds + maxColumns - 1) / maxColumns
	made, lost := sums(r.Made, each), sums(r.Lost, each)
	s := stripRow{Calls: r.Calls}
	total, failed := 0, 0
	most := 1
	if len(made) > 0 {
		most = max(slices.Max(made), 1)
	}
	for i, n := range made {
		bad := 0
		if i < len(lost) {
			bad = min(lost[i], n)
		}
		total, failed = total+n, failed+bad
		w := 100 * float64(each) / float64(seconds)
		high, low := round(highest*float64(n)/float64(most)), round(highest*float64(bad)/float64(most))
		s.Columns = append(s.Columns, column{
			X: round(w * float64(i)), W: round(w * 0.8), Made: high, MadeY: round(100 - high), Lost: low, LostY: round(100 - low),
			Title: fmt.Sprintf("%d s: %d of %d calls failed", i*each, bad, n),
		})
	}
	s.Said = fmt.Sprintf("%d of %d calls failed", failed, total)
	switch {
	case failed == 0:
	case r.RecoverSeconds == nil:
		s.Said += ", to the end"
	default:
		s.Said += fmt.Sprintf(", none later than %s after the event began", secs(*r.RecoverSeconds))
	}
	return s
}

// sums adds up each so many numbers. Counts are not negative.
func sums(all []int, each int) (sum []int) {
	for part := range slices.Chunk(all, each) {
		n := 0
		for _, x := range part {
			n += max(x, 0)
		}
		sum = append(sum, n)
	}
	return sum
}
