// Package junit writes a report in the form that CI systems read.
package junit

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
)

// The part of Jenkins' JUnit form that is used: a suite per chapter, a case per behavior.
type (
	suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Time     string   `xml:"time,attr"`
		Suites   []suite  `xml:"testsuite"`
	}
	suite struct {
		Name       string     `xml:"name,attr"`
		Tests      int        `xml:"tests,attr"`
		Failures   int        `xml:"failures,attr"`
		Errors     int        `xml:"errors,attr"`
		Skipped    int        `xml:"skipped,attr"`
		Time       string     `xml:"time,attr"`
		Timestamp  string     `xml:"timestamp,attr"`
		Properties []property `xml:"properties>property"`
		Cases      []testCase `xml:"testcase"`
	}
	property struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	testCase struct {
		Name      string   `xml:"name,attr"`
		ClassName string   `xml:"classname,attr"`
		Time      string   `xml:"time,attr"`
		Skipped   *message `xml:"skipped"`
		Error     *message `xml:"error"`
		Failure   *message `xml:"failure"`
		Out       string   `xml:"system-out,omitempty"`
	}
	message struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

const maxText = 4 << 10 // of one case; a CI system keeps every run's file

// known is the type of a skip that is none: the violation is known, and must not fail a CI job.
const known = "known"

// Write renders a report. Non-conformant is a failure, unknown an error, and a skip keeps its class
// and reason. A violation that is known of this version of Istio ran and is broken, but is written
// as a skip of the type known. A case is named by id and promise.
func Write(w io.Writer, r *v1alpha2.ConformanceReport) error {
	doc := suites{
		Name:  "Istio ambient multicluster conformance",
		Tests: r.Summary.Total(), Failures: r.Summary.NonConformant, Errors: r.Summary.Unknown, Time: seconds(r.WallSeconds),
	}
	about := append(propertiesOf(r), property{"flaky in the run", strconv.Itoa(r.Summary.Flaky)})
	for _, chapter := range r.Chapters {
		doc.Suites = append(doc.Suites, suiteOf(r, chapter, about))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func propertiesOf(r *v1alpha2.ConformanceReport) []property {
	all := []property{
		{"runID", r.RunID}, {"result", string(r.Result)}, {"mode", string(r.Mode)}, {"profile", r.Profile}, {"suite", r.Suite.Version},
		{"catalog", r.Catalog.Digest}, {"istio", r.Environment.Istio},
		{"coverage", summary.Coverage(r)},
	}
	for _, s := range r.Environment.StandIns {
		all = append(all, property{"stand-in for " + s.Name, s.What})
	}
	return all
}

func suiteOf(r *v1alpha2.ConformanceReport, chapter v1alpha2.Group, about []property) suite {
	s := suite{
		Name:  chapter.Name + " " + summary.Chapter(chapter.Name),
		Tests: chapter.Total(), Failures: chapter.NonConformant, Errors: chapter.Unknown, Skipped: chapter.Skipped + chapter.Known,
		Timestamp: r.Date.Format("2006-01-02T15:04:05"), Properties: slices.Clone(about),
	}
	total := 0.0
	for i := range r.Behaviors {
		if b := &r.Behaviors[i]; b.Chapter == chapter.Name {
			total += b.Seconds
			s.Cases = append(s.Cases, caseOf(b))
			if b.Flaky { // the form has no properties of a case
				s.Properties = append(s.Properties, property{"flaky", b.ID})
			}
			if b.Fixed != "" {
				s.Properties = append(s.Properties, property{"fixed", b.ID + " (" + b.Fixed + ")"})
			}
		}
	}
	s.Time = seconds(total)
	return s
}

func caseOf(b *v1alpha2.BehaviorResult) testCase {
	c := testCase{Name: strings.TrimSpace(b.ID + " " + b.Promise), ClassName: "amc." + packageOf(b.Chapter), Time: seconds(b.Seconds)}
	why := &message{Message: text.Line(b.Message, 300), Type: string(b.Verdict), Text: text.Cut(b.Message, maxText)}
	switch b.Standing() {
	case v1alpha2.Standing(v1alpha2.NonConformant):
		c.Failure = why
	case v1alpha2.StandingKnown:
		c.Skipped = &message{Message: text.Line(known+": finding "+b.Known+": "+b.Message, 300), Type: known, Text: why.Text}
	case v1alpha2.Standing(v1alpha2.Unknown):
		c.Error = why
	case v1alpha2.Standing(v1alpha2.Skipped):
		c.Skipped = &message{}
		if b.Skip != nil {
			c.Skipped.Message = text.Line(b.Skip.Class+": "+b.Skip.Reason, 300)
		}
	}
	var out strings.Builder
	if b.Outcome != "" {
		fmt.Fprintf(&out, "outcome: %s\n", b.Outcome)
	}
	if b.Flaky {
		fmt.Fprintf(&out, "flaky: %d attempts, the last counts\n", b.Attempts)
		for _, m := range b.Uncounted {
			fmt.Fprintln(&out, "did not count:", m)
		}
	}
	if b.Expectations+b.Controls > 0 {
		fmt.Fprintf(&out, "expectations: %d, controls: %d\n", b.Expectations, b.Controls)
	}
	for _, o := range b.Observations {
		fmt.Fprintln(&out, o)
	}
	for _, e := range b.Evidence {
		fmt.Fprintln(&out, "evidence:", e)
	}
	c.Out = text.Cut(out.String(), maxText)
	return c
}

// packageOf is the suite package of a chapter.
func packageOf(chapter string) string {
	if c, ok := behaviors.ChapterOf(chapter); ok {
		return c.Suite
	}
	return strings.ToLower(chapter)
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }
