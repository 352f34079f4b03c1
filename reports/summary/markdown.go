package summary

import (
	"fmt"
	"io"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

// Markdown renders a summary for a CI job's page.
func Markdown(w io.Writer, r *v1alpha2.ConformanceReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Istio ambient multicluster: %s\n\n", Headline(r))
	fmt.Fprintf(&b, "%s · profile %s, mode %s · Istio %s, Kubernetes %s · %d clusters · run %s of %s\n\n",
		text.Markdown(Implementation(r)), text.Markdown(r.Profile), text.Markdown(string(r.Mode)),
		text.Markdown(OrUnknown(r.Environment.Istio)), text.Markdown(OrUnknown(r.Environment.Kubernetes)),
		len(r.Environment.Clusters), text.Markdown(OrUnknown(r.RunID)), r.Date.Format("2006-01-02 15:04 MST"))
	for _, s := range r.Environment.StandIns {
		fmt.Fprintf(&b, "> Stand-in for **%s**: %s\n>\n", text.Markdown(s.Name), text.Markdown(s.What))
	}
	for _, s := range Shortfalls(r) {
		fmt.Fprintf(&b, "> Incomplete: %s.\n>\n", text.Markdown(s))
	}
	fmt.Fprintf(&b, "> %s.\n", Coverage(r))
	b.WriteString("\n| chapter | conformant | non-conformant | unknown | skipped |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, c := range r.Chapters {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", text.Markdown(Chapter(c.Name)), c.Conformant, c.NonConformant, c.Unknown, c.Skipped)
	}
	fmt.Fprintf(&b, "| **total** | **%d** | **%d** | **%d** | **%d** |\n",
		r.Summary.Conformant, r.Summary.NonConformant, r.Summary.Unknown, r.Summary.Skipped)
	for _, v := range []v1alpha2.Verdict{v1alpha2.NonConformant, v1alpha2.Unknown} {
		if r.Summary.Of(v) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", v)
		for _, x := range r.Behaviors {
			if x.Verdict == v {
				fmt.Fprintf(&b, "- **%s** %s<br>%s\n", text.Markdown(x.ID), text.Markdown(x.Promise), text.Markdown(text.Line(x.Message, 400)))
			}
		}
	}
	if skips := Skips(r); len(skips) > 0 {
		b.WriteString("\n<details><summary>skipped</summary>\n\n")
		for _, s := range skips {
			fmt.Fprintf(&b, "- %s: ", text.Markdown(s.Name))
			for i, x := range s.Behaviors {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(text.Markdown(x.ID))
			}
			b.WriteByte('\n')
		}
		b.WriteString("\n</details>\n")
	}
	if c := r.Convergence; c != nil {
		fmt.Fprintf(&b, "\nConvergence (%d samples): half within %.2f s, 90 %% within %.2f s, slowest %.2f s.\n", c.Samples, c.P50, c.P90, c.Max)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
