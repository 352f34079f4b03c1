package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Diff is what changed from one report to another.
type Diff struct {
	// Context are the things a reader must know before the verdicts can be compared: another catalog, version, mode.
	Context []Change `json:"context,omitempty"`
	// Behaviors whose verdict, outcome or reason to be skipped changed, in the catalog's order.
	Behaviors []BehaviorChange `json:"behaviors,omitempty"`
	// Worse says that something that was conformant no longer is, or that something new is violated.
	Worse bool `json:"worse"`
	// Same counts the behaviors of which nothing changed.
	Same int `json:"same"`
}

// Change is a value that differs.
type Change struct {
	What string `json:"what"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Kind of a change of a behavior.
type Kind string

// Kinds of changes, the worst first.
const (
	Broke   Kind = "broke"   // it is violated and was not
	Lost    Kind = "lost"    // it was conformant and is unknown, skipped or gone
	Other   Kind = "other"   // it was not conformant, and still is not, in another way; or a limitation had another outcome
	Fixed   Kind = "fixed"   // it was violated and is not any more
	Gained  Kind = "gained"  // it is conformant and was unknown, skipped or absent
	Changed Kind = "changed" // a new or lost entry that is not conformant
)

var kinds = []Kind{Broke, Lost, Other, Fixed, Gained, Changed}

// BehaviorChange is what changed of one behavior. From and To are verdicts with what belongs to them; "absent" where it is not in the report.
type BehaviorChange struct {
	ID      string `json:"id"`
	Kind    Kind   `json:"kind"`
	From    string `json:"from"`
	To      string `json:"to"`
	Message string `json:"message,omitempty"` // of the newer report
}

const absent = "absent"

// Compare says what changed from report a to report b.
func Compare(a, b *v1alpha2.ConformanceReport) *Diff {
	d := &Diff{}
	for _, c := range []Change{
		{"result", string(a.Result), string(b.Result)},
		{"catalog", a.Catalog.Digest, b.Catalog.Digest},
		{"suite", a.Suite.Version + " " + a.Suite.Commit, b.Suite.Version + " " + b.Suite.Commit},
		{"mode", string(a.Mode), string(b.Mode)},
		{"profile", a.Profile, b.Profile},
		{"filters", filters(a), filters(b)},
		{"implementation", implementation(a), implementation(b)},
		{"Istio", a.Environment.Istio, b.Environment.Istio},
		{"Kubernetes", a.Environment.Kubernetes, b.Environment.Kubernetes},
		{"Gateway API", a.Environment.GatewayAPI, b.Environment.GatewayAPI},
		{"clusters", fmt.Sprint(len(a.Environment.Clusters)), fmt.Sprint(len(b.Environment.Clusters))},
		{"stand-ins", standInNames(a), standInNames(b)},
		{"failure", a.Failure, b.Failure},
	} {
		if c.From != c.To {
			d.Context = append(d.Context, c)
		}
	}
	old, now := byID(a), byID(b)
	var ids []string
	for _, r := range []*v1alpha2.ConformanceReport{a, b} {
		for _, x := range r.Behaviors {
			ids = append(ids, x.ID)
		}
	}
	slices.SortFunc(ids, behaviors.CompareIDs)
	for _, id := range slices.Compact(ids) {
		x, y := old[id], now[id]
		c := BehaviorChange{ID: id, From: fate(x), To: fate(y)}
		if c.From == c.To {
			d.Same++
			continue
		}
		if y != nil {
			c.Message = y.Message
		}
		was, is := verdictOf(x), verdictOf(y)
		switch {
		case was != v1alpha2.NonConformant && is == v1alpha2.NonConformant:
			c.Kind = Broke
		case was == v1alpha2.Conformant && is != v1alpha2.Conformant:
			c.Kind = Lost
		case was == v1alpha2.NonConformant && is == v1alpha2.Conformant:
			c.Kind = Fixed
		case is == v1alpha2.Conformant && was != v1alpha2.Conformant:
			c.Kind = Gained
		case x == nil || y == nil:
			c.Kind = Changed
		default:
			c.Kind = Other
		}
		d.Worse = d.Worse || c.Kind == Broke || c.Kind == Lost
		d.Behaviors = append(d.Behaviors, c)
	}
	return d
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

// fate is a verdict with what belongs to it.
func fate(b *v1alpha2.BehaviorResult) string {
	switch {
	case b == nil:
		return absent
	case b.Skip != nil:
		return string(b.Verdict) + " (" + b.Skip.Class + ")"
	case b.Outcome != "":
		return string(b.Verdict) + " (" + b.Outcome + ")"
	}
	return string(b.Verdict)
}

func filters(r *v1alpha2.ConformanceReport) string {
	s := strings.Join(r.Filters.Include, " ")
	if len(r.Filters.Exclude) > 0 {
		s = strings.TrimSpace(s + " without " + strings.Join(r.Filters.Exclude, " "))
	}
	return s
}

func standInNames(r *v1alpha2.ConformanceReport) string {
	var names []string
	for _, s := range r.Environment.StandIns {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// sentence sums a diff up.
func (d *Diff) sentence() string {
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
		fmt.Fprintf(&b, "%s: %s -> %s\n", c.What, nothing(oneLine(c.From, 120)), nothing(oneLine(c.To, 120)))
	}
	for _, k := range kinds {
		for _, c := range d.Behaviors {
			if c.Kind != k {
				continue
			}
			fmt.Fprintf(&b, "%-8s %-9s %s -> %s\n", k, oneLine(c.ID, 40), oneLine(c.From, 80), oneLine(c.To, 80))
			if c.Message != "" && (k == Broke || k == Lost || k == Other) {
				fmt.Fprintf(&b, "         %9s %s\n", "", oneLine(c.Message, 240))
			}
		}
	}
	fmt.Fprintln(&b, d.sentence())
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown prints a diff for a review.
func (d *Diff) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n", md(d.sentence()))
	if len(d.Context) > 0 {
		b.WriteString("\n| | from | to |\n| --- | --- | --- |\n")
		for _, c := range d.Context {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", md(c.What), md(nothing(c.From)), md(nothing(c.To)))
		}
	}
	if len(d.Behaviors) > 0 {
		b.WriteString("\n| | behavior | from | to | |\n| --- | --- | --- | --- | --- |\n")
		for _, k := range kinds {
			for _, c := range d.Behaviors {
				if c.Kind == k {
					fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", k, md(c.ID), md(c.From), md(c.To), md(oneLine(c.Message, 240)))
				}
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func nothing(s string) string {
	if strings.TrimSpace(s) == "" {
		return "none"
	}
	return s
}
