package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
)

type (
	chapter struct {
		Prefix, Name string
		Said         string
		Cells        []int
		Bar          []segment
		Cards        []card
	}
	card struct { // a behavior
		R            *v1alpha2.BehaviorResult
		K            *behaviors.Behavior // nil when the catalog does not have it, or has another promise
		OutcomeMeans string
		Times        string
		Strips       []strip
		Evidence     []evidence
		Mutants      []behaviors.Mutant
		Open         bool
	}
	evidence struct{ Name, Link string }
	segment  struct { // of a bar, in percent
		X, W  float64
		Class string
	}
)

// maxAttention is how many behaviors are listed at the top of the page.
const maxAttention = 40

// attentionOf lists violations first, then what is unknown, and counts those that are too many to
// list.
func attentionOf(r *v1alpha2.ConformanceReport) (cards []card, more int) {
	const draw = false // its section does
	for i := range r.Behaviors {
		if b := &r.Behaviors[i]; b.Verdict == v1alpha2.NonConformant || b.Verdict == v1alpha2.Unknown {
			cards = append(cards, cardOf(b, draw))
		}
	}
	rank := func(c card) int { return slices.Index(v1alpha2.Standings, c.R.Standing()) }
	slices.SortStableFunc(cards, func(a, b card) int { return cmp.Compare(rank(a), rank(b)) })
	if len(cards) > maxAttention {
		return cards[:maxAttention], len(cards) - maxAttention
	}
	return cards, 0
}

func chaptersOf(r *v1alpha2.ConformanceReport) (all []chapter) {
	draw := drawsStrips(r)
	at := map[string]int{}
	for i := range r.Behaviors {
		b := &r.Behaviors[i]
		n, ok := at[b.Chapter]
		if !ok {
			n = len(all)
			at[b.Chapter] = n
			all = append(all, chapter{Prefix: b.Chapter, Name: capital(summary.Chapter(b.Chapter))})
		}
		all[n].Cards = append(all[n].Cards, cardOf(b, draw))
	}
	for i := range all {
		all[i].count()
	}
	return all
}

// count sets what follows from the chapter's cards.
func (c *chapter) count() {
	var counts v1alpha2.Counts
	for _, k := range c.Cards {
		counts.Add(k.R)
	}
	var said []string
	for _, x := range summary.Columns {
		n := x.Of(counts)
		c.Cells = append(c.Cells, n)
		if n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, x.Name))
		}
	}
	c.Said, c.Bar = strings.Join(said, ", "), verdictBar(counts)
}

// cardOf tells a behavior, and if draw is set draws its events.
func cardOf(b *v1alpha2.BehaviorResult, draw bool) card {
	c := card{R: b, Open: b.Verdict == v1alpha2.NonConformant || b.Verdict == v1alpha2.Unknown, Times: timesOf(b)}
	if k := behaviors.ByID(b.ID); k != nil && k.Promise == b.Promise {
		c.K = k
		if o, _, ok := k.Outcome(b.Outcome); ok {
			c.OutcomeMeans = o.Meaning
		}
		for _, m := range k.Mutants {
			c.Mutants = append(c.Mutants, *behaviors.MutantByID(m))
		}
	}
	if draw {
		c.Strips = stripsOf(b)
	}
	folder := layout.EvidenceOf(b.ID) + "/"
	for _, e := range b.Evidence {
		x := evidence{Name: strings.TrimPrefix(e, folder)}
		if layout.PlainName(e) && strings.HasPrefix(e, layout.EvidenceDir+"/") { // a link must not lead out of the bundle
			x.Link = "./" + e
		}
		c.Evidence = append(c.Evidence, x)
	}
	return c
}

// timesOf says how long the behavior took, how much was checked, and when changes showed.
func timesOf(b *v1alpha2.BehaviorResult) string {
	var times []string
	if b.Attempts > 0 {
		times = append(times, "took "+secs(b.Seconds))
	}
	if b.Expectations+b.Controls > 0 {
		times = append(times, number(b.Expectations, "expectation", "expectations")+" and "+number(b.Controls, "control", "controls"))
	}
	if b.Attempts > 1 {
		times = append(times, fmt.Sprintf("%d attempts, the last counts", b.Attempts))
	}
	const most = 12
	if n := len(b.ConvergeSeconds); n > 0 {
		var s []string
		for _, t := range b.ConvergeSeconds[:min(n, most)] {
			s = append(s, secs(t))
		}
		if n > most {
			s = append(s, fmt.Sprintf("and %d more", n-most))
		}
		times = append(times, "changes showed after "+strings.Join(s, ", "))
	}
	return strings.Join(times, "; ")
}

// verdictBar is a bar of standings, in percent.
func verdictBar(c v1alpha2.Counts) []segment {
	var b bar
	for _, s := range v1alpha2.Standings {
		b.add(c.Of(s), c.Total(), "fill-"+string(s))
	}
	return b.segments
}

// bar puts segments side by side.
type bar struct {
	segments []segment
	end      float64 // of the last segment, in percent
}

func (b *bar) add(n, of int, class string) {
	if n > 0 {
		w := 100 * float64(n) / float64(of)
		b.segments = append(b.segments, segment{round(b.end), round(w), class})
		b.end += w
	}
}
