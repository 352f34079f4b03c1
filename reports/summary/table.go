package summary

import (
	"fmt"
	"io"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

// Column is a count of a table.
type Column struct {
	Name string
	Of   func(v1alpha2.Counts) int
}

// Columns are the counts of every table, in their order.
var Columns = func() (all []Column) {
	for _, s := range v1alpha2.Standings {
		all = append(all, Column{string(s), func(c v1alpha2.Counts) int { return c.Of(s) }})
	}
	return append(all, Column{"flaky", func(c v1alpha2.Counts) int { return c.Flaky }})
}()

// attention are the standings whose behaviors are listed below a table.
var attention = []v1alpha2.Standing{v1alpha2.Standing(v1alpha2.NonConformant), v1alpha2.StandingKnown, v1alpha2.Standing(v1alpha2.Unknown)}

// maxMessage is how many characters of a message a terminal gets: enough for what was seen, since a
// CI may keep nothing else.
const maxMessage = 800

// Table prints counts by chapter for a terminal, and below them each behavior that did not hold and
// what the run left open.
func Table(w io.Writer, r *v1alpha2.ConformanceReport) error {
	var b strings.Builder
	writeChapters(&b, r)
	for _, s := range attention {
		writeBehaviors(&b, r, s)
	}
	for _, x := range Fixed(r) {
		fmt.Fprintf(&b, "\nfixed: %s holds, which finding %s says that this version breaks\n", x.ID, text.Line(x.Fixed, 40))
	}
	if f := Flaky(r); len(f) > 0 {
		fmt.Fprintf(&b, "\nflaky, settled by another attempt alone: %s\n", ids(f))
	}
	for _, x := range Flaky(r) {
		for _, m := range x.Uncounted {
			fmt.Fprintf(&b, "  %-8s %s\n", x.ID, text.Line(m, maxMessage))
		}
	}
	for _, o := range r.Observations {
		fmt.Fprintf(&b, "%s\n", text.Line(o, 400))
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
	row := func(name string, cell func(c Column) string) {
		fmt.Fprintf(b, "%-*s", width, name)
		for _, c := range Columns {
			fmt.Fprintf(b, "  %*s", len(c.Name), cell(c))
		}
		b.WriteByte('\n')
	}
	counts := func(name string, n v1alpha2.Counts) {
		row(name, func(c Column) string {
			if n := c.Of(n); n > 0 {
				return fmt.Sprint(n)
			}
			return "."
		})
	}
	row("chapter", func(c Column) string { return c.Name })
	for _, c := range r.Chapters {
		counts(Chapter(c.Name), c.Counts)
	}
	counts("total", r.Summary)
}

func writeBehaviors(b *strings.Builder, r *v1alpha2.ConformanceReport, s v1alpha2.Standing) {
	const most = 12 // a failed set-up leaves everything unknown: the first lines say enough
	shown := 0
	for _, x := range r.Behaviors {
		if x.Standing() != s {
			continue
		}
		if shown == 0 {
			fmt.Fprintf(b, "\n%s:\n", s)
		}
		if shown++; shown > most {
			continue
		}
		fmt.Fprintf(b, "  %-8s %s\n", x.ID, text.Line(x.Promise, 140))
		if x.Known != "" {
			fmt.Fprintf(b, "           known: %s of docs/findings.md\n", text.Line(x.Known, 40))
		}
		// Why the run ended is printed once, below.
		if x.Message != "" && (r.Failure == "" || !strings.HasPrefix(x.Message, NeverRan)) {
			fmt.Fprintf(b, "           %s\n", text.Line(x.Message, maxMessage))
		}
	}
	if shown > most {
		fmt.Fprintf(b, "  ... and %d more\n", shown-most)
	}
}
