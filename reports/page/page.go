// Package page renders a report as one self-contained HTML page for people.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
)

//go:embed page.tmpl
var source string

//go:embed page.css
var css string

//go:embed page.js
var js string

// policy allows the page's own style and script and nothing else: no network, and no script that
// came with a value, even if escaping failed.
var policy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'",
	sourceHash(css), sourceHash(js))

func sourceHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var parsed = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"mark":  func(s v1alpha2.Standing) string { return marks[s] },
		"secs":  secs,
		"brief": func(s string) string { return text.Cut(s, 600) },
		"prose": prose,
	}).Parse(source))
})

// marks tell standings apart without color.
var marks = map[v1alpha2.Standing]string{
	v1alpha2.Standing(v1alpha2.Conformant): "✓", v1alpha2.Standing(v1alpha2.NonConformant): "✗", v1alpha2.StandingKnown: "≠",
	v1alpha2.Standing(v1alpha2.Unknown): "?", v1alpha2.Standing(v1alpha2.Skipped): "–", flaky: "≈",
}

// flaky is shown beside the standings: what is flaky is counted once more by how it stands.
const flaky v1alpha2.Standing = "flaky"

// Beside is what a page says that does not follow from its report.
type Beside struct {
	ReportSum string                      // sha256 of report.yaml, by which a reader finds the page's bundle
	Since     *v1alpha2.ConformanceReport // an earlier report, nil: the page says nothing of what changed
}

// Write renders the report as a page that loads nothing. Every value of the report is text in it,
// never markup.
func Write(w io.Writer, r *v1alpha2.ConformanceReport, b Beside) error {
	return parsed().Execute(w, pageOf(r, b))
}

// page is what the template shows, in the order of the page.
type page struct {
	R                *v1alpha2.ConformanceReport
	Policy           string
	CSS              template.CSS
	JS               template.JS
	Title, Sentence  string
	Kicker, Coverage string
	Tone             string
	Facts            []string
	Bar              []segment
	Counts           []count
	Notices          []notice
	Parts            []part
	Statements       []summary.Statement
	Attention        []card
	More             int // behaviors that need attention and are not in Attention
	TopologySentence string
	Wide, Narrow     drawing
	Traffic          trafficTable
	Plot             *plot
	Columns          []v1alpha2.Standing
	Chapters         []chapter
	Skips            []skipClass
	Since            *since
	NotAutomated     []openChapter
	Again            string // the command that runs this again
	Tables           []factTable
	Sum              string
	Many             bool // so many behaviors that the browser lays out those in sight only
	Known            bool // the report's catalog is this release's
}

type (
	count struct {
		Standing v1alpha2.Standing
		N        int
	}
	notice struct {
		Head, Text string
		Bad        bool
	}
	part struct{ ID, Name string }
)

// many is from how many behaviors on a page is laid out as it is scrolled. Up to there it is whole
// at once, as a picture of the whole page needs it.
const many = 400

func pageOf(r *v1alpha2.ConformanceReport, b Beside) *page {
	p := &page{
		R: r, Policy: policy, CSS: template.CSS(css), JS: template.JS(js),
		Sentence: capital(summary.Headline(r)), Tone: toneOf(r), Facts: factsOf(r),
		Known: r.Catalog.Digest == behaviors.Digest(),
		Bar:   verdictBar(r.Summary), Notices: noticesOf(r), Chapters: chaptersOf(r),
		Statements: summary.Statements(r), Traffic: trafficOf(r), Plot: plotOf(r), Skips: skipsOf(r), Tables: tablesOf(r),
		Kicker: "Conformance of Istio ambient multicluster", Coverage: capital(summary.Coverage(r)) + ".",
		Since: sinceOf(b.Since, r), NotAutomated: notAutomatedOf(r), Again: again(r), Sum: b.ReportSum, Many: len(r.Behaviors) > many,
	}
	if r.Mode == v1alpha2.ModeCertified {
		p.Kicker = "Certified run: conformance of Istio ambient multicluster"
	}
	p.Title = p.Sentence + " – " + summary.Implementation(r)
	for _, c := range summary.Columns {
		p.Columns = append(p.Columns, v1alpha2.Standing(c.Name))
		p.Counts = append(p.Counts, count{v1alpha2.Standing(c.Name), c.Of(r.Summary)})
	}
	p.Attention, p.More = attentionOf(r)
	p.Wide, p.Narrow, p.TopologySentence = topologyOf(r)
	p.Parts = p.parts()
	return p
}

// toneOf is the color of the page's head.
func toneOf(r *v1alpha2.ConformanceReport) string {
	switch r.Result {
	case v1alpha2.Success, v1alpha2.Recorded, v1alpha2.Failure:
		if r.Result != v1alpha2.Failure && len(r.Environment.StandIns) > 0 {
			break // what holds is the word of a stand-in
		}
		if r.Finished {
			return string(r.Result)
		}
	}
	return string(v1alpha2.Partial)
}

// factsOf is the line below the headline.
func factsOf(r *v1alpha2.ConformanceReport) []string {
	return []string{
		summary.Implementation(r),
		fmt.Sprintf("Istio %s on Kubernetes %s", istioName(r.Environment.Istio), summary.OrUnknown(r.Environment.Kubernetes)),
		"the documents call ambient multicluster " + summary.OrUnknown(summary.Status(r)),
		number(len(r.Environment.Clusters), "cluster", "clusters"),
		fmt.Sprintf("profile %s, mode %s", r.Profile, r.Mode),
		r.Date.UTC().Format("2 January 2006, 15:04 MST"),
		"took " + secs(r.WallSeconds),
		"run " + summary.OrUnknown(r.RunID),
	}
}

// parts are the sections that the navigation links to. Sections without content are left out.
func (p *page) parts() []part {
	all := []part{
		{"page", "The page"}, {"attention", "Attention"}, {"topology", "What was tested"}, {"traffic", "Traffic"}, {"convergence", "Convergence"},
		{"since", "What changed"}, {"chapters", "Chapters"}, {"behaviors", "Behaviors"}, {"skips", "Skips"},
		{"not-automated", "Not automated"}, {"environment", "Environment"}, {"again", "Run it again"},
	}
	empty := map[string]bool{
		"attention": len(p.Attention) == 0, "skips": len(p.Skips) == 0, "since": p.Since == nil, "not-automated": len(p.NotAutomated) == 0,
	}
	return slices.DeleteFunc(all, func(x part) bool { return empty[x.ID] })
}

// noticesOf are the sentences without which the headline would mislead.
func noticesOf(r *v1alpha2.ConformanceReport) (all []notice) {
	say := func(bad bool, head, text string) { all = append(all, notice{head, text, bad}) }
	for _, s := range summary.Shortfalls(r) {
		say(r.Failure != "" || !r.Finished, "Incomplete:", s+".")
	}
	if len(r.Environment.StandIns) > 0 {
		skipped := ""
		if slices.ContainsFunc(summary.Skips(r), func(g summary.SkipGroup) bool { return g.Name == string(plan.ClassStandIn) }) {
			skipped = " What a stand-in cannot show was skipped."
		}
		say(false, "Not a certificate:", "the run used stand-ins for "+summary.StandIns(r)+"."+skipped)
	}
	if r.Mode == v1alpha2.ModeCertified {
		say(false, "Certified:", "the bundle of this page claims that every core behavior with a spec holds, "+
			"with no filter, no retry and no stand-in. Check the claim with `amc verify --certified`; docs/verify-rules.md has the rules.")
	}
	if n := r.Summary.Flaky; n > 0 {
		say(false, "Flaky:", number(n, "behavior was", "behaviors were")+" settled only by another attempt, alone.")
	}
	for _, o := range r.Observations {
		say(false, "Seen:", text.Cut(o, 2000)+".")
	}
	if f := summary.Filters(r); f != "" {
		say(false, "The user chose what ran:", f)
	}
	if i := r.Isolation; i != nil && !i.Proven {
		say(true, "The networks are not proven isolated:", "a request may have taken another way than through a gateway.")
	}
	if l := r.Leaks; l != nil && !l.Clean {
		say(false, "Left behind:", text.Cut(strings.Join(l.Found, ", "), 2000))
	}
	return all
}
