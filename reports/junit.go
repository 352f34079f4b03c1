package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// The part of Jenkins' JUnit form that is used: a suite per chapter, a case per behavior.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		Time      string        `xml:"time,attr"`
		Skipped   *junitMessage `xml:"skipped"`
		Error     *junitMessage `xml:"error"`
		Failure   *junitMessage `xml:"failure"`
		Out       string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

const maxJUnitText = 4 << 10 // of one case; a CI system keeps every run's file

// JUnit renders a report for CI systems: non-conformant is a failure, unknown an error, skipped keeps class and reason. A case's name is id and promise.
func JUnit(w io.Writer, r *v1alpha2.ConformanceReport) error {
	doc := junitSuites{Name: "Istio ambient multicluster conformance", Tests: r.Summary.Total(), Failures: r.Summary.NonConformant, Errors: r.Summary.Unknown, Time: seconds(r.WallSeconds)}
	about := []junitProperty{
		{"runID", r.RunID}, {"mode", string(r.Mode)}, {"profile", r.Profile}, {"suite", r.Suite.Version}, {"catalog", r.Catalog.Digest}, {"istio", r.Environment.Istio},
	}
	for _, s := range r.Environment.StandIns {
		about = append(about, junitProperty{"stand-in for " + s.Name, s.What})
	}
	for _, chapter := range r.Chapters {
		s := junitSuite{
			Name: chapter.Name + " " + chapterName(chapter.Name), Tests: chapter.Total(), Failures: chapter.NonConformant, Errors: chapter.Unknown, Skipped: chapter.Skipped,
			Timestamp: r.Date.Format("2006-01-02T15:04:05"), Properties: about,
		}
		total := 0.0
		for i := range r.Behaviors {
			if b := &r.Behaviors[i]; b.Chapter == chapter.Name {
				total += b.Seconds
				s.Cases = append(s.Cases, junitOf(b))
			}
		}
		s.Time = seconds(total)
		doc.Suites = append(doc.Suites, s)
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

func junitOf(b *v1alpha2.BehaviorResult) junitCase {
	c := junitCase{Name: strings.TrimSpace(b.ID + " " + b.Promise), ClassName: "amc." + suiteOf(b.Chapter), Time: seconds(b.Seconds)}
	message := &junitMessage{Message: oneLine(b.Message, 300), Type: string(b.Verdict), Text: cut(b.Message, maxJUnitText)}
	switch b.Verdict {
	case v1alpha2.NonConformant:
		c.Failure = message
	case v1alpha2.Unknown:
		c.Error = message
	case v1alpha2.Skipped:
		c.Skipped = &junitMessage{}
		if b.Skip != nil {
			c.Skipped.Message = oneLine(b.Skip.Class+": "+b.Skip.Reason, 300)
		}
	}
	var out strings.Builder
	if b.Outcome != "" {
		fmt.Fprintf(&out, "outcome: %s\n", b.Outcome)
	}
	if b.Attempts > 1 {
		fmt.Fprintf(&out, "attempts: %d\n", b.Attempts)
	}
	if b.Claims+b.Twins > 0 {
		fmt.Fprintf(&out, "claims: %d, twins: %d\n", b.Claims, b.Twins)
	}
	for _, o := range b.Observations {
		fmt.Fprintln(&out, o)
	}
	for _, e := range b.Evidence {
		fmt.Fprintln(&out, "evidence:", e)
	}
	c.Out = cut(out.String(), maxJUnitText)
	return c
}

func suiteOf(chapter string) string {
	if c, ok := behaviors.ChapterOf(chapter); ok {
		return c.Suite
	}
	return strings.ToLower(chapter)
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

// cut shortens text at a character, and says so.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "\n… cut; the whole text is in report.yaml"
}
