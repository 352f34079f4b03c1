// Package diff says what changed from one report to another.
package diff

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
)

// Diff is what changed from one report to another.
type Diff struct {
	// Context are the differences that a reader must know before comparing verdicts: catalog,
	// version, mode.
	Context []Change `json:"context,omitempty"`
	// Behaviors are those whose verdict, outcome or skip class changed, in the order of the
	// catalog.
	Behaviors []BehaviorChange `json:"behaviors,omitempty"`
	// Worse reports whether a behavior was conformant and no longer is, or is newly violated.
	Worse bool `json:"worse"`
	// Same counts the behaviors that did not change.
	Same int `json:"same"`
}

// Change is a value that differs.
type Change struct {
	What string `json:"what"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Kind is how a behavior changed.
type Kind string

// Kinds of changes, worst first.
const (
	Broke   Kind = "broke"   // violated now, and not before
	Lost    Kind = "lost"    // conformant before, and unknown, skipped or absent now
	Other   Kind = "other"   // not conformant as before, but in another way; or a limitation had another outcome
	Fixed   Kind = "fixed"   // violated before, and conformant now
	Gained  Kind = "gained"  // conformant now, and unknown, skipped or absent before
	Changed Kind = "changed" // absent before or now, and not conformant
)

var kinds = []Kind{Broke, Lost, Other, Fixed, Gained, Changed}

// BehaviorChange is the change of one behavior. From and To are its status: the verdict with the
// skip class or the outcome, or "absent" where the report does not have it.
type BehaviorChange struct {
	ID      string `json:"id"`
	Kind    Kind   `json:"kind"`
	From    string `json:"from"`
	To      string `json:"to"`
	Message string `json:"message,omitempty"` // of the second report
}

const absent = "absent"

// Compare says what changed from report a to report b.
func Compare(a, b *v1alpha2.ConformanceReport) *Diff {
	d := &Diff{Context: contextOf(a, b)}
	old, now := byID(a), byID(b)
	ids := slices.Collect(maps.Keys(old))
	for id := range now {
		if old[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, behaviors.CompareIDs)
	for _, id := range ids {
		x, y := old[id], now[id]
		c := BehaviorChange{ID: id, Kind: kindOf(x, y), From: status(x), To: status(y)}
		if c.From == c.To {
			d.Same++
			continue
		}
		if y != nil {
			c.Message = y.Message
		}
		d.Worse = d.Worse || c.Kind == Broke || c.Kind == Lost
		d.Behaviors = append(d.Behaviors, c)
	}
	return d
}

func contextOf(a, b *v1alpha2.ConformanceReport) (changes []Change) {
	for _, c := range []Change{
		{"result", string(a.Result), string(b.Result)},
		{"catalog", a.Catalog.Digest, b.Catalog.Digest},
		{"suite", a.Suite.Version + " " + a.Suite.Commit, b.Suite.Version + " " + b.Suite.Commit},
		{"mode", string(a.Mode), string(b.Mode)},
		{"profile", a.Profile, b.Profile},
		{"filters", summary.Filters(a), summary.Filters(b)},
		{"implementation", summary.Implementation(a), summary.Implementation(b)},
		{"Istio", a.Environment.Istio, b.Environment.Istio},
		{"Kubernetes", a.Environment.Kubernetes, b.Environment.Kubernetes},
		{"Gateway API", a.Environment.GatewayAPI, b.Environment.GatewayAPI},
		{"clusters", fmt.Sprint(len(a.Environment.Clusters)), fmt.Sprint(len(b.Environment.Clusters))},
		{"stand-ins", summary.StandIns(a), summary.StandIns(b)},
		{"failure", a.Failure, b.Failure},
	} {
		if c.From != c.To {
			changes = append(changes, c)
		}
	}
	return changes
}

// kindOf is the kind of a change; a nil result is not in its report.
func kindOf(old, now *v1alpha2.BehaviorResult) Kind {
	was, is := verdictOf(old), verdictOf(now)
	switch {
	case was != v1alpha2.NonConformant && is == v1alpha2.NonConformant:
		return Broke
	case was == v1alpha2.Conformant && is != v1alpha2.Conformant:
		return Lost
	case was == v1alpha2.NonConformant && is == v1alpha2.Conformant:
		return Fixed
	case is == v1alpha2.Conformant && was != v1alpha2.Conformant:
		return Gained
	case old == nil || now == nil:
		return Changed
	}
	return Other
}

func byID(r *v1alpha2.ConformanceReport) map[string]*v1alpha2.BehaviorResult {
	m := map[string]*v1alpha2.BehaviorResult{}
	for i := range r.Behaviors {
		m[r.Behaviors[i].ID] = &r.Behaviors[i]
	}
	return m
}

func verdictOf(b *v1alpha2.BehaviorResult) v1alpha2.Verdict {
	if b == nil {
		return absent
	}
	return b.Verdict
}

// status is a verdict with its skip class or outcome.
func status(b *v1alpha2.BehaviorResult) string {
	switch {
	case b == nil:
		return absent
	case b.Skip != nil:
		return string(b.Verdict) + " (" + b.Skip.Class + ")"
	case b.Known != "":
		return string(b.Verdict) + " (known: " + b.Known + ")"
	case b.Outcome != "":
		return string(b.Verdict) + " (" + b.Outcome + ")"
	}
	return string(b.Verdict)
}

// Summary counts the changes by kind.
func (d *Diff) Summary() string {
	if len(d.Behaviors) == 0 {
		return fmt.Sprintf("the verdicts of all %d behaviors are the same", d.Same)
	}
	count := map[Kind]int{}
	for _, c := range d.Behaviors {
		count[c.Kind]++
	}
	var parts []string
	for _, k := range kinds {
		if count[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[k], k))
		}
	}
	return strings.Join(parts, ", ") + fmt.Sprintf(", %d as before", d.Same)
}

// Text prints a diff for a terminal.
func (d *Diff) Text(w io.Writer) error {
	var b strings.Builder
	for _, c := range d.Context {
		fmt.Fprintf(&b, "%s: %s -> %s\n", c.What, orNone(text.Line(c.From, 120)), orNone(text.Line(c.To, 120)))
	}
	for _, k := range kinds {
		for _, c := range d.Behaviors {
			if c.Kind != k {
				continue
			}
			fmt.Fprintf(&b, "%-8s %-9s %s -> %s\n", k, text.Line(c.ID, 40), text.Line(c.From, 80), text.Line(c.To, 80))
			if c.Message != "" && (k == Broke || k == Lost || k == Other) {
				fmt.Fprintf(&b, "         %9s %s\n", "", text.Line(c.Message, 240))
			}
		}
	}
	fmt.Fprintln(&b, d.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown prints a diff for a review.
func (d *Diff) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n", text.Markdown(d.Summary()))
	if len(d.Context) > 0 {
		b.WriteString("\n| | from | to |\n| --- | --- | --- |\n")
		for _, c := range d.Context {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", text.Markdown(c.What), text.Markdown(orNone(c.From)), text.Markdown(orNone(c.To)))
		}
	}
	if len(d.Behaviors) > 0 {
		b.WriteString("\n| | behavior | from | to | |\n| --- | --- | --- | --- | --- |\n")
		for _, k := range kinds {
			for _, c := range d.Behaviors {
				if c.Kind == k {
					fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", k, text.Markdown(c.ID), text.Markdown(c.From), text.Markdown(c.To),
						text.Markdown(text.Line(c.Message, 240)))
				}
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orNone(s string) string {
	if strings.TrimSpace(s) == "" {
		return "none"
	}
	return s
}
