package reports

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
)

//go:embed page/page.tmpl
var pageText string

//go:embed page/page.css
var pageCSS string

//go:embed page/page.js
var pageJS string

// policy lets the page's own style and script work and nothing else: no network, and no script that came in with a value, even if escaping failed.
var policy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'", sourceHash(pageCSS), sourceHash(pageJS))

func sourceHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"mark":  func(v v1alpha2.Verdict) string { return marks[v] },
		"secs":  secs,
		"brief": func(s string) string { return cut(s, 600) },
	}).Parse(pageText))
})

// marks tell verdicts apart without color.
var marks = map[v1alpha2.Verdict]string{v1alpha2.Conformant: "✓", v1alpha2.NonConformant: "✗", v1alpha2.Unknown: "?", v1alpha2.Skipped: "–"}

// HTML renders the report as one self-contained page: it loads nothing, and every value of the report is text in it, never markup.
func HTML(w io.Writer, r *v1alpha2.ConformanceReport) error {
	return pageTemplate().Execute(w, pageOf(r))
}

type (
	page struct {
		R                *v1alpha2.ConformanceReport
		Policy           string
		CSS              template.CSS
		JS               template.JS
		Title, Sentence  string
		Tone             string
		Facts            []string
		Bar              []segment
		Counts           []count
		Notices          []notice
		Parts            []part
		Attention        []card
		More             int // of Attention that are not shown there
		TopologySentence string
		Wide, Narrow     drawing
		Traffic          trafficTable
		Plot             *plot
		Verdicts         []v1alpha2.Verdict
		Chapters         []chapter
		Skips            []skipClass
		Tables           []factTable
		Known            bool // the report's catalog is this release's
	}
	segment struct { // of a bar, in percent
		X, W  float64
		Class string
	}
	count struct {
		Verdict v1alpha2.Verdict
		N       int
	}
	notice struct {
		Head, Text string
		Bad        bool
	}
	part struct{ ID, Name string }
	card struct { // a behavior
		R            *v1alpha2.BehaviorResult
		K            *behaviors.Behavior // nil when the catalog has it not, or has another promise
		OutcomeMeans string
		Times        string
		Evidence     []evidence
		Mutants      []behaviors.Mutant
		Open         bool
	}
	evidence struct{ Name, Link string }
	chapter  struct {
		Prefix, Name string
		Said         string
		Cells        []int
		Bar          []segment
		Cards        []card
	}
	trafficTable struct {
		Columns []string
		Rows    []trafficRow
	}
	trafficRow struct {
		From  string
		Cells []*trafficCell
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
	skipClass struct {
		Class, Means string
		Reasons      []skipReason
	}
	skipReason struct {
		Reason string
		IDs    []string
	}
	factTable struct {
		Name string
		Head []string
		Rows [][]fact
	}
	fact struct {
		Text string
		Code bool
	}
)

// Long says that a value is better scrolled in than read through.
func (f fact) Long() bool { return len(f.Text) > 300 }

const (
	maxAttention = 40
	hues         = 8
)

func pageOf(r *v1alpha2.ConformanceReport) *page {
	p := &page{
		R: r, Policy: policy, CSS: template.CSS(pageCSS), JS: template.JS(pageJS),
		Sentence: capital(sentence(r)), Tone: string(r.Result), Verdicts: v1alpha2.Verdicts, Known: r.Catalog.Digest == behaviors.Digest(),
		Bar: verdictBar(r.Summary), Traffic: trafficOf(r), Plot: plotOf(r), Skips: skipsOf(r), Tables: tablesOf(r),
	}
	if !slices.Contains([]v1alpha2.Result{v1alpha2.Success, v1alpha2.Failure}, r.Result) || !r.Finished {
		p.Tone = string(v1alpha2.Partial)
	}
	p.Title = p.Sentence + " – " + implementation(r)
	p.Facts = []string{
		implementation(r), fmt.Sprintf("Istio %s on Kubernetes %s", istioName(r.Environment.Istio), or(r.Environment.Kubernetes)), number(len(r.Environment.Clusters), "cluster", "clusters"),
		fmt.Sprintf("profile %s, mode %s", r.Profile, r.Mode), r.Date.UTC().Format("2 January 2006, 15:04 MST"), "took " + secs(r.WallSeconds), "run " + or(r.RunID),
	}
	for _, v := range v1alpha2.Verdicts {
		p.Counts = append(p.Counts, count{v, r.Summary.Of(v)})
	}
	p.notices()
	p.cards()
	p.Wide, p.Narrow, p.TopologySentence = topologyOf(r)
	if len(p.Attention) > 0 {
		p.Parts = append(p.Parts, part{"attention", "Attention"})
	}
	p.Parts = append(p.Parts, part{"topology", "What was tested"}, part{"traffic", "Traffic"}, part{"convergence", "Convergence"}, part{"chapters", "Chapters"}, part{"behaviors", "Behaviors"})
	if len(p.Skips) > 0 {
		p.Parts = append(p.Parts, part{"skips", "Skips"})
	}
	p.Parts = append(p.Parts, part{"environment", "Environment"})
	return p
}

func (p *page) notices() {
	r := p.R
	say := func(bad bool, head, text string) { p.Notices = append(p.Notices, notice{head, text, bad}) }
	if r.Failure != "" {
		say(true, "The run could not go on:", cut(r.Failure, 2000))
	}
	if !r.Finished {
		say(true, "The run was not finished.", "What never ran is unknown.")
	}
	if n := len(r.Environment.StandIns); n > 0 {
		say(false, "Not a certificate:", "the run used stand-ins for "+standInNames(r)+". What a stand-in cannot show was skipped.")
	}
	if f := filters(r); f != "" {
		say(false, "The user chose what ran:", f)
	}
	if i := r.Isolation; i != nil && !i.Proven {
		say(true, "The networks were not proven apart:", "a request may have gone another way than through a gateway.")
	}
	if l := r.Leaks; l != nil && !l.Clean {
		say(false, "The run left things behind:", cut(strings.Join(l.Found, ", "), 2000))
	}
}

func (p *page) cards() {
	at := map[string]int{}
	for i := range p.R.Behaviors {
		b := &p.R.Behaviors[i]
		c := cardOf(b)
		if b.Verdict == v1alpha2.NonConformant || b.Verdict == v1alpha2.Unknown {
			p.Attention = append(p.Attention, c)
		}
		n, ok := at[b.Chapter]
		if !ok {
			n = len(p.Chapters)
			at[b.Chapter] = n
			p.Chapters = append(p.Chapters, chapter{Prefix: b.Chapter, Name: capital(chapterName(b.Chapter))})
		}
		p.Chapters[n].Cards = append(p.Chapters[n].Cards, c)
	}
	slices.SortStableFunc(p.Attention, func(a, b card) int { return cmp.Compare(worst(a.R.Verdict), worst(b.R.Verdict)) })
	if n := len(p.Attention) - maxAttention; n > 0 {
		p.Attention, p.More = p.Attention[:maxAttention], n
	}
	for i := range p.Chapters {
		ch := &p.Chapters[i]
		var c v1alpha2.Counts
		for _, k := range ch.Cards {
			c.Add(k.R.Verdict)
		}
		var said []string
		for _, v := range v1alpha2.Verdicts {
			ch.Cells = append(ch.Cells, c.Of(v))
			if n := c.Of(v); n > 0 {
				said = append(said, fmt.Sprintf("%d %s", n, v))
			}
		}
		ch.Said, ch.Bar = strings.Join(said, ", "), verdictBar(c)
	}
}

func worst(v v1alpha2.Verdict) int {
	return map[v1alpha2.Verdict]int{v1alpha2.NonConformant: 0, v1alpha2.Unknown: 1}[v]
}

func cardOf(b *v1alpha2.BehaviorResult) card {
	c := card{R: b, Open: b.Verdict == v1alpha2.NonConformant}
	if k := behaviors.ByID(b.ID); k != nil && k.Promise == b.Promise {
		c.K = k
		if o, _, ok := k.Outcome(b.Outcome); ok {
			c.OutcomeMeans = o.Meaning
		}
		for _, m := range k.Mutants {
			c.Mutants = append(c.Mutants, *behaviors.MutantByID(m))
		}
	}
	var times []string
	if b.Attempts > 0 {
		times = append(times, "took "+secs(b.Seconds))
	}
	if b.Claims+b.Twins > 0 {
		times = append(times, number(b.Claims, "claim", "claims")+" and "+number(b.Twins, "twin or control", "twins or controls"))
	}
	if b.Attempts > 1 {
		times = append(times, fmt.Sprintf("%d attempts, the last counts", b.Attempts))
	}
	if n := len(b.ConvergeSeconds); n > 0 {
		var s []string
		for _, t := range b.ConvergeSeconds[:min(n, 12)] {
			s = append(s, secs(t))
		}
		if n > 12 {
			s = append(s, fmt.Sprintf("and %d more", n-12))
		}
		times = append(times, "changes showed after "+strings.Join(s, ", "))
	}
	c.Times = strings.Join(times, "; ")
	for _, e := range b.Evidence {
		x := evidence{Name: strings.TrimPrefix(e, EvidenceDir+"/"+b.ID+"/")}
		if plainName(e) && strings.HasPrefix(e, EvidenceDir+"/") { // a link must not lead out of the bundle
			x.Link = "./" + e
		}
		c.Evidence = append(c.Evidence, x)
	}
	return c
}

// verdictBar is a bar of verdicts, in percent.
func verdictBar(c v1alpha2.Counts) []segment {
	var parts []segment
	x := 0.0
	for _, v := range v1alpha2.Verdicts {
		if n := c.Of(v); n > 0 {
			w := 100 * float64(n) / float64(c.Total())
			parts = append(parts, segment{round(x), round(w), "fill-" + string(v)})
			x += w
		}
	}
	return parts
}

func trafficOf(r *v1alpha2.ConformanceReport) (t trafficTable) {
	hue := map[string]int{}
	for i, c := range r.Environment.Clusters {
		hue[c.Name] = i % hues
	}
	row := map[string]int{}
	column := map[string]int{}
	head := func(x v1alpha2.Traffic) string {
		if x.Service == "" {
			return x.Scope
		}
		return x.Scope + ": " + x.Service
	}
	for _, x := range r.Traffic {
		if !slices.Contains(t.Columns, head(x)) {
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
		cell := &trafficCell{}
		total := max(x.Failed, 0)
		for _, a := range x.Answered {
			total += max(a.Calls, 0)
		}
		at := 0.0
		add := func(n int, class string) {
			if n > 0 {
				w := 100 * float64(n) / float64(total)
				cell.Bar = append(cell.Bar, segment{round(at), round(w), class})
				at += w
			}
		}
		for _, a := range x.Answered {
			h, ok := hue[a.Cluster]
			if !ok {
				h = hues - 1
			}
			cell.Answers = append(cell.Answers, answer{Who: a.Cluster, Calls: a.Calls, Hue: h})
			add(a.Calls, fmt.Sprintf("k%d", h))
		}
		if x.Failed > 0 {
			cell.Answers = append(cell.Answers, answer{Calls: x.Failed, Failed: true})
			add(x.Failed, "fill-skipped")
		}
		t.Rows[row[x.From]].Cells[column[head(x)]] = cell
	}
	return t
}

// classMeans says what a class of skips is.
var classMeans = map[plan.Class]string{
	plan.ClassVersion:  "the promise does not hold for this Istio version",
	plan.ClassTopology: "the fleet has not the shape, or was not the suite's to change",
	plan.ClassFeature:  "an optional capability that is not there or was not claimed",
	plan.ClassStandIn:  "a stand-in cannot show it",
	plan.ClassProfile:  "not part of the chosen profile",
	plan.ClassUser:     "taken out by the user",
}

func skipsOf(r *v1alpha2.ConformanceReport) []skipClass {
	var all []skipClass
	for _, g := range skipsByClass(r) {
		c := skipClass{Class: g.Class, Means: classMeans[plan.Class(g.Class)]}
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

func tablesOf(r *v1alpha2.ConformanceReport) []factTable {
	var all []factTable
	add := func(name string, head []string, rows [][]fact) {
		if len(rows) > 0 {
			all = append(all, factTable{name, head, rows})
		}
	}
	text := func(s ...string) (row []fact) {
		for _, x := range s {
			row = append(row, fact{Text: x})
		}
		return row
	}
	e := r.Environment
	var rows [][]fact
	for _, f := range [][2]string{
		{"Istio", e.Istio}, {"Kubernetes", e.Kubernetes}, {"Gateway API", e.GatewayAPI}, {"CNI", e.CNI}, {"kernel", e.Kernel}, {"architecture", e.Arch}, {"clusters made by", e.Provider},
		{"implementation", implementation(r)}, {"its address", r.Implementation.URL}, {"contact", strings.Join(r.Implementation.Contact, ", ")},
	} {
		if f[1] != "" {
			rows = append(rows, text(f[0], f[1]))
		}
	}
	if h := e.Host; h != nil {
		rows = append(rows, text("driven from", fmt.Sprintf("%d CPUs, %d MiB, %s", h.CPUs, h.MemoryMB, or(h.Engine))))
	}
	for _, f := range e.Facts {
		row := text(f.Name, f.Value)
		row[1].Code = row[1].Long()
		rows = append(rows, row)
	}
	add("Versions and facts", nil, rows)

	rows = nil
	for _, c := range e.Clusters {
		rows = append(rows, text(c.Name, c.Network, strings.Trim(c.Region+"/"+c.Zone, "/"), fmt.Sprint(c.Nodes), strings.Join([]string{c.PodCIDR, c.ServiceCIDR}, " "), strings.Join(c.Gateways, " ")))
	}
	add("Clusters", []string{"name", "network", "locality", "nodes", "pods, services", "gateways"}, rows)

	rows = nil
	for _, i := range e.Images {
		rows = append(rows, []fact{{Text: i.Name}, {Text: i.Source}, {Text: strings.TrimSpace(i.Ref + " " + i.Digest), Code: true}})
	}
	add("Images", []string{"name", "from", "reference and digest"}, rows)

	rows = nil
	for _, f := range e.IstiodFlags {
		rows = append(rows, []fact{{Text: f.Name}, {Text: f.Value, Code: true}, {Text: cmp.Or(f.Cluster, "all")}})
	}
	add("Flags of istiod", []string{"name", "value", "cluster"}, rows)

	rows = nil
	for _, f := range r.Features {
		stands := "stands"
		if !f.Supported {
			stands = "does not stand"
		}
		rows = append(rows, text(f.Name, stands, strings.Join(f.Behaviors, " ")))
	}
	add("Claimed features", []string{"feature", "the claim", "shown by"}, rows)

	rows = nil
	for _, c := range r.Preflight {
		rows = append(rows, text(c.Name, string(c.Status), c.Detail))
	}
	add("Preflight", []string{"check", "found", "detail"}, rows)

	rows = nil
	if i := r.Isolation; i != nil {
		proven := "yes"
		if !i.Proven {
			proven = "no"
		}
		rows = append(rows, text("proven apart", proven+", at "+i.At.UTC().Format(time.DateTime)))
		for _, x := range i.Probes {
			what := "did not answer"
			if x.Reached {
				what = "answered"
			}
			if x.Answered != "" {
				what += ": " + x.Answered
			}
			if x.Control {
				what += " (control)"
			}
			ok := ", as it must"
			if !x.OK {
				ok = ", which it must not"
			}
			rows = append(rows, text(x.From+" to "+x.To, x.Address+" "+what+ok))
		}
		for _, x := range i.Rejected {
			rows = append(rows, text(x.Cluster, number(int(x.Packets), "packet that tried to leave the fleet was rejected", "packets that tried to leave the fleet were rejected")))
		}
	}
	add("Isolation of the networks", nil, rows)

	rows = nil
	for _, x := range r.Phases {
		rows = append(rows, text(x.Name, secs(x.Seconds)))
	}
	add("Where the time went", nil, rows)

	rows = nil
	for _, x := range r.Timeouts {
		rows = append(rows, text(x.Name, secs(x.Seconds)))
	}
	if len(rows) > 0 || r.Seed != 0 {
		rows = append(rows, text("seed of the order", fmt.Sprint(r.Seed)))
	}
	add("Limits in force", nil, rows)

	rows = nil
	if l := r.Leaks; l != nil {
		found := "nothing was left behind"
		if !l.Clean {
			found = strings.Join(l.Found, ", ")
		}
		rows = append(rows, text("after clean-up", found))
	}
	add("Leftovers", nil, rows)
	return all
}

// plot is the plot of convergence times: a row of dots per chapter on one logarithmic scale, in percent.
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

const maxDots = 3000

func plotOf(r *v1alpha2.ConformanceReport) *plot {
	if r.Convergence == nil || r.Convergence.Samples == 0 {
		return nil
	}
	low, high, samples := math.Inf(1), math.Inf(-1), 0
	for _, b := range r.Behaviors {
		for _, s := range b.ConvergeSeconds {
			s = max(s, minShown)
			low, high, samples = min(low, s), max(high, s), samples+1
		}
	}
	if samples == 0 {
		return nil
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
	if high <= low {
		high = low * 10
	}
	const margin = 3 // percent on both sides, so that no dot is cut
	x := func(s float64) float64 {
		return round(margin + (100-2*margin)*(math.Log10(max(s, minShown))-math.Log10(low))/(math.Log10(high)-math.Log10(low)))
	}
	p := &plot{Convergence: *r.Convergence}
	every := samples/maxDots + 1
	at := map[string]int{}
	n := 0
	for _, b := range r.Behaviors {
		for _, s := range b.ConvergeSeconds {
			i, ok := at[b.Chapter]
			if !ok {
				i = len(p.Rows)
				at[b.Chapter] = i
				p.Rows = append(p.Rows, plotRow{Name: capital(chapterName(b.Chapter))})
			}
			if n++; n%every == 0 {
				p.Rows[i].Dots = append(p.Rows[i].Dots, dot{x(s), float64(30 + 13*(len(p.Rows[i].Dots)%4)), b.ID + ": " + secs(s)})
			}
		}
	}
	decades := math.Round(math.Log10(high / low))
	for i := 0.0; i <= decades; i++ {
		s := low * math.Pow(10, i)
		anchor := "middle"
		if i == 0 {
			anchor = "start"
		} else if i == decades {
			anchor = "end"
		}
		p.Ticks = append(p.Ticks, tick{x(s), strconv.FormatFloat(s, 'g', 3, 64) + " s", anchor})
	}
	for _, q := range []struct {
		name string
		s    float64
	}{{"half", r.Convergence.P50}, {"90 %", r.Convergence.P90}, {"99 %", r.Convergence.P99}} {
		t := tick{x(q.s), q.name, "middle"}
		if n := len(p.Quantiles); n > 0 && t.X-p.Quantiles[n-1].X < 7 { // names would lie over each other
			t.Label = ""
		}
		p.Quantiles = append(p.Quantiles, t)
	}
	p.Alt = fmt.Sprintf("Dots on a time scale from %s to %s, a row for each of %s.", secs(low), secs(high), number(len(p.Rows), "chapter", "chapters"))
	return p
}

const minShown = 0.001 // seconds; a logarithm has no zero

func round(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Round(x*100) / 100
}

// secs is a duration for people.
func secs(s float64) string {
	switch {
	case s == 0:
		return "0 s"
	case s < 0.0995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 9.95:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", s), "0"), ".") + " s"
	case s < 90:
		return fmt.Sprintf("%.0f s", s)
	case s < 5400:
		return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
	}
	return fmt.Sprintf("%d h %02d min", int(s)/3600, int(s)/60%60)
}

// istioName says which release a build on the way to one belongs to.
func istioName(s string) string {
	if v, err := behaviors.ParseVersion(s); err == nil && strings.HasPrefix(s, "v0.0.0-") {
		return fmt.Sprintf("%d.%d in development (%s)", v.Major, v.Minor, s)
	}
	return or(s)
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
