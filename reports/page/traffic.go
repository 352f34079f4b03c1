package page

import (
	"fmt"
	"slices"

	"ambient.test/conformance/reports/api/v1alpha2"
)

type (
	trafficTable struct {
		Columns []string
		Rows    []trafficRow
	}
	trafficRow struct {
		From  string
		Cells []*trafficCell // one per column; nil where nothing was called
	}
	trafficCell struct {
		Bar     []segment
		Answers []answer
	}
	answer struct {
		Who    string
		Calls  int
		Hue    int
		Failed bool
	}
)

// hues is how many colors tell clusters apart.
const hues = 8

// trafficOf is a table with a row per client cluster and a column per kind of service.
func trafficOf(r *v1alpha2.ConformanceReport) (t trafficTable) {
	hue := map[string]int{}
	for i, c := range r.Environment.Clusters {
		hue[c.Name] = i % hues
	}
	head := func(x v1alpha2.Traffic) string {
		if x.Service == "" {
			return x.Scope
		}
		return x.Scope + ": " + x.Service
	}
	row, column := map[string]int{}, map[string]int{}
	for _, x := range r.Traffic {
		if _, ok := column[head(x)]; !ok {
			column[head(x)] = 0
			t.Columns = append(t.Columns, head(x))
		}
		if _, ok := row[x.From]; !ok {
			row[x.From] = len(t.Rows)
			t.Rows = append(t.Rows, trafficRow{From: x.From})
		}
	}
	slices.Sort(t.Columns)
	for i, h := range t.Columns {
		column[h] = i
	}
	for i := range t.Rows {
		t.Rows[i].Cells = make([]*trafficCell, len(t.Columns))
	}
	for _, x := range r.Traffic {
		t.Rows[row[x.From]].Cells[column[head(x)]] = cellOf(x, hue)
	}
	return t
}

func cellOf(x v1alpha2.Traffic, hue map[string]int) *trafficCell {
	total := max(x.Failed, 0)
	for _, a := range x.Answered {
		total += max(a.Calls, 0)
	}
	cell := &trafficCell{}
	var b bar
	for _, a := range x.Answered {
		h, ok := hue[a.Cluster]
		if !ok {
			h = hues - 1
		}
		cell.Answers = append(cell.Answers, answer{Who: a.Cluster, Calls: a.Calls, Hue: h})
		b.add(a.Calls, total, fmt.Sprintf("k%d", h))
	}
	if x.Failed > 0 {
		cell.Answers = append(cell.Answers, answer{Calls: x.Failed, Failed: true})
		b.add(x.Failed, total, "fill-skipped")
	}
	cell.Bar = b.segments
	return cell
}
