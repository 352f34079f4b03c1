package reports

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Exit codes of a run.
const (
	ExitConformant    = 0
	ExitNonConformant = 1
	ExitUnknown       = 2
	ExitUsage         = 3
)

// ExitCode is the exit code of a run that found this.
func ExitCode(r *v1alpha2.ConformanceReport) int {
	switch {
	case r.Summary.NonConformant > 0:
		return ExitNonConformant
	case r.Summary.Unknown > 0, r.Summary.Conformant == 0, r.Failure != "":
		return ExitUnknown
	}
	return ExitConformant
}

// Summarize fills in everything of a report that follows from its other fields: counts, features, percentiles, result. Verify compares with it.
func Summarize(r *v1alpha2.ConformanceReport) {
	r.Summary, r.Levels, r.Chapters, r.Convergence = v1alpha2.Counts{}, nil, nil, nil
	levels, chapters := map[string]*v1alpha2.Counts{}, map[string]*v1alpha2.Counts{}
	count := func(m map[string]*v1alpha2.Counts, name string, v v1alpha2.Verdict) {
		if m[name] == nil {
			m[name] = &v1alpha2.Counts{}
		}
		m[name].Add(v)
	}
	verdicts := make(map[string]v1alpha2.Verdict, len(r.Behaviors))
	var times []float64
	userTookCore := false
	for i := range r.Behaviors {
		b := &r.Behaviors[i]
		verdicts[b.ID] = b.Verdict
		r.Summary.Add(b.Verdict)
		count(levels, b.Level, b.Verdict)
		count(chapters, b.Chapter, b.Verdict)
		times = append(times, b.ConvergeSeconds...)
		if b.Skip != nil && b.Skip.Class == "user" && b.Level == string(behaviors.Core) {
			userTookCore = true
		}
	}
	for _, l := range behaviors.Levels {
		if c := levels[string(l)]; c != nil {
			r.Levels = append(r.Levels, v1alpha2.Group{Name: string(l), Counts: *c})
		}
	}
	for _, c := range behaviors.Chapters {
		if n := chapters[c.Prefix]; n != nil {
			r.Chapters = append(r.Chapters, v1alpha2.Group{Name: c.Prefix, Counts: *n})
		}
	}
	for i := range r.Features {
		f := &r.Features[i]
		f.Supported = len(f.Behaviors) > 0
		for _, id := range f.Behaviors {
			f.Supported = f.Supported && verdicts[id] == v1alpha2.Conformant
		}
	}
	if len(times) > 0 {
		slices.Sort(times)
		at := func(p float64) float64 { return times[int(math.Ceil(p*float64(len(times))))-1] }
		r.Convergence = &v1alpha2.Convergence{Samples: len(times), P50: at(.50), P90: at(.90), P99: at(.99), Max: times[len(times)-1]}
	}
	switch {
	case r.Summary.NonConformant > 0:
		r.Result = v1alpha2.Failure
	case r.Summary.Unknown > 0 || r.Summary.Conformant == 0 || userTookCore || r.Failure != "":
		r.Result = v1alpha2.Partial
	default:
		r.Result = v1alpha2.Success
	}
}

// chapterName is a chapter's name for people.
func chapterName(prefix string) string {
	if c, ok := behaviors.ChapterOf(prefix); ok {
		return c.Name
	}
	return prefix
}

// Table prints chapter by verdict, and below it what is not as promised, one line each.
func Table(w io.Writer, r *v1alpha2.ConformanceReport) error {
	var b strings.Builder
	width := len("total")
	for _, c := range r.Chapters {
		width = max(width, len(chapterName(c.Name)))
	}
	row := func(name string, cells ...string) {
		fmt.Fprintf(&b, "%-*s", width, name)
		for i, c := range cells {
			fmt.Fprintf(&b, "  %*s", len(v1alpha2.Verdicts[i]), c)
		}
		b.WriteByte('\n')
	}
	var head []string
	for _, v := range v1alpha2.Verdicts {
		head = append(head, string(v))
	}
	row("chapter", head...)
	counts := func(name string, c v1alpha2.Counts) {
		var cells []string
		for _, v := range v1alpha2.Verdicts {
			if n := c.Of(v); n > 0 {
				cells = append(cells, fmt.Sprint(n))
			} else {
				cells = append(cells, ".")
			}
		}
		row(name, cells...)
	}
	for _, c := range r.Chapters {
		counts(chapterName(c.Name), c.Counts)
	}
	counts("total", r.Summary)
	for _, v := range []v1alpha2.Verdict{v1alpha2.NonConformant, v1alpha2.Unknown} {
		const most = 12 // a failed set-up leaves everything unknown: the first lines say enough
		shown := 0
		for _, x := range r.Behaviors {
			if x.Verdict != v {
				continue
			}
			if shown == 0 {
				fmt.Fprintf(&b, "\n%s:\n", v)
			}
			if shown++; shown <= most {
				fmt.Fprintf(&b, "  %-8s %s\n", x.ID, oneLine(x.Promise, 140))
				if x.Message != "" && (r.Failure == "" || !strings.HasPrefix(x.Message, neverRan)) { // why the run ended stands below, once
					fmt.Fprintf(&b, "           %s\n", oneLine(x.Message, 240))
				}
			}
		}
		if shown > most {
			fmt.Fprintf(&b, "  ... and %d more\n", shown-most)
		}
	}
	if r.Failure != "" {
		fmt.Fprintf(&b, "\nthe run could not go on: %s\n", oneLine(r.Failure, 400))
	}
	if c := r.Convergence; c != nil {
		fmt.Fprintf(&b, "\nconvergence: %d samples, half within %.2f s, 90%% within %.2f s, slowest %.2f s\n", c.Samples, c.P50, c.P90, c.Max)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
