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
	fmt.Fprintf(&b, "**%s.**\n\n", Coverage(r))
	if len(r.Environment.StandIns) > 0 {
		b.WriteString("> Not a certificate: stand-ins ran in place of components of Istio.\n>\n")
	}
	for _, s := range r.Environment.StandIns {
		fmt.Fprintf(&b, "> Stand-in for **%s**: %s\n>\n", text.Markdown(s.Name), text.Markdown(s.What))
	}
	for _, s := range Shortfalls(r) {
		fmt.Fprintf(&b, "> Incomplete: %s.\n>\n", text.Markdown(s))
	}
	b.WriteString("\n| the page | says | seen |\n| ---: | --- | --- |\n")
	for _, s := range Statements(r) {
		says := text.Markdown(s.Says)
		if s.Since != "" {
			says += "<br>since 1.29: " + text.Markdown(s.Since)
		}
		var seen []string
		for _, x := range s.Seen {
			seen = append(seen, fmt.Sprintf("**%s** %s", x.ID, text.Markdown(x.Says)))
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", s.N, says, strings.Join(seen, "<br>"))
	}
	row := func(name string, cell func(Column) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range Columns {
			fmt.Fprintf(&b, " %s |", cell(c))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	row("chapter", func(c Column) string { return c.Name })
	b.WriteString("| --- |" + strings.Repeat(" ---: |", len(Columns)) + "\n")
	for _, g := range r.Chapters {
		row(text.Markdown(Chapter(g.Name)), func(c Column) string { return fmt.Sprint(c.Of(g.Counts)) })
	}
	row("**total**", func(c Column) string { return fmt.Sprintf("**%d**", c.Of(r.Summary)) })
	for _, s := range attention {
		if r.Summary.Of(s) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", s)
		for _, x := range r.Behaviors {
			if x.Standing() == s {
				fmt.Fprintf(&b, "- **%s** %s<br>%s\n", text.Markdown(strings.TrimSpace(x.ID+" "+x.Known)), text.Markdown(x.Promise),
					text.Markdown(text.Line(x.Message, 400)))
			}
		}
	}
	for _, x := range Fixed(r) {
		fmt.Fprintf(&b, "\nFixed: %s holds, which finding %s says that this version breaks.\n", text.Markdown(x.ID), text.Markdown(x.Fixed))
	}
	if f := Flaky(r); len(f) > 0 {
		fmt.Fprintf(&b, "\nFlaky, settled by another attempt alone: %s.\n\n", text.Markdown(ids(f)))
		for _, x := range f {
			for _, m := range x.Uncounted {
				fmt.Fprintf(&b, "- **%s** %s\n", text.Markdown(x.ID), text.Markdown(text.Line(m, 400)))
			}
		}
	}
	for _, o := range r.Observations {
		fmt.Fprintf(&b, "\n%s.\n", text.Markdown(text.Line(o, 400)))
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
