package summary

import (
	"fmt"
	"io"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

// Table prints verdicts by chapter for a terminal, and below them each behavior that did not hold and
// what the run left open.
func Table(w io.Writer, r *v1alpha2.ConformanceReport) error {
	var b strings.Builder
	writeChapters(&b, r)
	for _, v := range []v1alpha2.Verdict{v1alpha2.NonConformant, v1alpha2.Unknown} {
		writeBehaviors(&b, r, v)
	}
	if c := r.Convergence; c != nil {
		fmt.Fprintf(&b, "\nconvergence: %d samples, half within %.2f s, 90%% within %.2f s, slowest %.2f s\n",
			c.Samples, c.P50, c.P90, c.Max)
	}
	fmt.Fprintf(&b, "\n%s\n", text.Line(Headline(r), 240))
	for _, s := range Shortfalls(r) {
		fmt.Fprintf(&b, "incomplete: %s\n", s)
	}
	fmt.Fprintf(&b, "%s\n", Coverage(r))
	_, err := io.WriteString(w, b.String())
	return err
}

func writeChapters(b *strings.Builder, r *v1alpha2.ConformanceReport) {
	width := len("total")
	for _, c := range r.Chapters {
		width = max(width, len(Chapter(c.Name)))
	}
	row := func(name string, cell func(v v1alpha2.Verdict) string) {
		fmt.Fprintf(b, "%-*s", width, name)
		for _, v := range v1alpha2.Verdicts {
			fmt.Fprintf(b, "  %*s", len(v), cell(v))
		}
		b.WriteByte('\n')
	}
	counts := func(name string, c v1alpha2.Counts) {
		row(name, func(v v1alpha2.Verdict) string {
			if n := c.Of(v); n > 0 {
				return fmt.Sprint(n)
			}
			return "."
		})
	}
	row("chapter", func(v v1alpha2.Verdict) string { return string(v) })
	for _, c := range r.Chapters {
		counts(Chapter(c.Name), c.Counts)
	}
	counts("total", r.Summary)
}

func writeBehaviors(b *strings.Builder, r *v1alpha2.ConformanceReport, v v1alpha2.Verdict) {
	const most = 12 // a failed set-up leaves everything unknown: the first lines say enough
	shown := 0
	for _, x := range r.Behaviors {
		if x.Verdict != v {
			continue
		}
		if shown == 0 {
			fmt.Fprintf(b, "\n%s:\n", v)
		}
		if shown++; shown > most {
			continue
		}
		fmt.Fprintf(b, "  %-8s %s\n", x.ID, text.Line(x.Promise, 140))
		// Why the run ended is printed once, below.
		if x.Message != "" && (r.Failure == "" || !strings.HasPrefix(x.Message, NeverRan)) {
			fmt.Fprintf(b, "           %s\n", text.Line(x.Message, 240))
		}
	}
	if shown > most {
		fmt.Fprintf(b, "  ... and %d more\n", shown-most)
	}
}
