package page

import (
	"fmt"
	"math"
	"strconv"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
)

// plot shows convergence times: a row of dots per chapter on one logarithmic scale, in percent.
type (
	plot struct {
		v1alpha2.Convergence
		Alt              string
		Rows             []plotRow
		Ticks, Quantiles []tick
	}
	plotRow struct {
		Name string
		Dots []dot
	}
	dot struct {
		X, Y  float64
		Title string
	}
	tick struct {
		X             float64
		Label, Anchor string
	}
)

const (
	maxDots  = 3000
	minShown = 0.001 // seconds; zero has no logarithm
)

// plotOf is nil when no change was timed.
func plotOf(r *v1alpha2.ConformanceReport) *plot {
	s := scaleOf(r)
	if r.Convergence == nil || r.Convergence.Samples == 0 || s.samples == 0 {
		return nil
	}
	p := &plot{Convergence: *r.Convergence, Rows: dotsOf(r, s), Ticks: s.ticks()}
	for _, q := range []struct {
		name    string
		seconds float64
	}{{"half", r.Convergence.P50}, {"90 %", r.Convergence.P90}, {"99 %", r.Convergence.P99}} {
		t := tick{s.x(q.seconds), q.name, "middle"}
		if n := len(p.Quantiles); n > 0 && t.X-p.Quantiles[n-1].X < 7 { // the labels would overlap
			t.Label = ""
		}
		p.Quantiles = append(p.Quantiles, t)
	}
	p.Alt = fmt.Sprintf("Dots on a time scale from %s to %s, a row for each of %s.",
		secs(s.low), secs(s.high), number(len(p.Rows), "chapter", "chapters"))
	return p
}

// scale is logarithmic, from one power of ten to another.
type scale struct {
	low, high float64 // seconds
	samples   int
}

func scaleOf(r *v1alpha2.ConformanceReport) scale {
	low, high, samples := math.Inf(1), math.Inf(-1), 0
	for _, b := range r.Behaviors {
		for _, s := range b.ConvergeSeconds {
			s = max(s, minShown)
			low, high, samples = min(low, s), max(high, s), samples+1
		}
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
	if high <= low {
		high = low * 10
	}
	return scale{low, high, samples}
}

// x is where a time is on the scale, in percent.
func (s scale) x(seconds float64) float64 {
	const margin = 3 // percent on both sides, so that no dot is cut
	share := (math.Log10(max(seconds, minShown)) - math.Log10(s.low)) / (math.Log10(s.high) - math.Log10(s.low))
	return round(margin + (100-2*margin)*share)
}

// ticks are the powers of ten.
func (s scale) ticks() (all []tick) {
	decades := math.Round(math.Log10(s.high / s.low))
	for i := 0.0; i <= decades; i++ {
		seconds := s.low * math.Pow(10, i)
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case decades:
			anchor = "end"
		}
		all = append(all, tick{s.x(seconds), strconv.FormatFloat(seconds, 'g', 3, 64) + " s", anchor})
	}
	return all
}

// dotsOf shows every sample, or every so many when there are more than maxDots.
func dotsOf(r *v1alpha2.ConformanceReport, s scale) (rows []plotRow) {
	every := s.samples/maxDots + 1
	at := map[string]int{}
	n := 0
	for _, b := range r.Behaviors {
		for _, seconds := range b.ConvergeSeconds {
			i, ok := at[b.Chapter]
			if !ok {
				i = len(rows)
				at[b.Chapter] = i
				rows = append(rows, plotRow{Name: capital(summary.Chapter(b.Chapter))})
			}
			if n++; n%every != 0 {
				continue
			}
			y := float64(30 + 13*(len(rows[i].Dots)%4)) // dots of equal times would cover one another
			rows[i].Dots = append(rows[i].Dots, dot{s.x(seconds), y, b.ID + ": " + secs(seconds)})
		}
	}
	return rows
}
