package behaviors

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the catalog as docs/catalog.md.
func WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	all := All()
	count := map[Level]int{}
	proven := 0
	for _, x := range all {
		count[x.Level]++
		if x.State.Automated {
			proven++
		}
	}
	fmt.Fprintf(&b, `# Catalog of behaviors

Generated from package behaviors by `+"`go test ./behaviors -update`"+`; do not edit.

%d behaviors: %d core, %d extended, %d limitations. %d are proven by specs; the others say why not.
Digest: `+"`%s`"+`, over ids, levels, ranges, promises, features, needs, profiles, outcomes and known faults. It stands in every report.

- **core** behaviors are documented and must hold on every supported version in their range.
- **extended** behaviors belong to a feature; they run when the feature is claimed and only then can fail.
- **limitation** behaviors are documented as unsupported or not respected. A probe records which of the named outcomes
  happened, and fails only on another or an unsafe one.

“Implied” marks a promise that no sentence states, but without which the named page makes no sense. “Code” marks what we
read in the source and no document states.

## What the page says and where it is shown

The statements of “Install Multicluster”, as they stood in 1.27 and 1.28 and as they stand since.

| until 1.28 | since 1.29 | behaviors |
| --- | --- | --- |
`, len(all), count[Core], count[Extended], count[Limitation], proven, Digest())
	for _, s := range Statements {
		var links []string
		for _, id := range s.Behaviors {
			links = append(links, fmt.Sprintf("[%s](#%s)", id, strings.ToLower(id)))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(s.Says), cell(s.Since1_29), strings.Join(links, " "))
	}
	b.WriteString("\n## Features that can be claimed\n\n" +
		"A claim needs a passing spec. A feature cannot be claimed yet if none of its behaviors has a spec.\n\n" +
		"| feature | meaning | behaviors | can be claimed |\n| --- | --- | --- | --- |\n")
	for _, f := range Features() {
		var links []string
		can := "not yet"
		for _, x := range f.Behaviors {
			links = append(links, fmt.Sprintf("[%s](#%s)", x.ID, strings.ToLower(x.ID)))
			if x.State.Automated {
				can = "yes"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Feature, cell(f.Meaning), strings.Join(links, " "), can)
	}
	chapter := ""
	for _, x := range all {
		if c := x.Chapter(); c.Prefix != chapter {
			chapter = c.Prefix
			fmt.Fprintf(&b, "\n## %s: %s\n", c.Prefix, c.Name)
		}
		b.WriteString("\n")
		writeBehavior(&b, x)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WritePage writes the page "Install Multicluster", statement by statement, as docs/page.md.
func WritePage(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# The page “Install Multicluster”, statement by statement\n\n" +
		"Generated from package behaviors by `go test ./behaviors -update`; do not edit.\n\n" +
		"What the page for ambient says of its status, topologies and limitations, in its words until Istio 1.28; which behaviors of the\n" +
		"[catalog](catalog.md) decide each statement; and what a real mesh did when it was tried by hand. [Findings](findings.md) says on\n" +
		"which mesh. A spec decides only what could have come out otherwise.\n")
	for i, s := range Statements {
		fmt.Fprintf(&b, "\n## %d. %s\n\n", i+1, plain(s.Says))
		fmt.Fprintf(&b, "- since 1.29: %s\n", plain(s.Since1_29))
		seen := plain(s.Seen)
		if seen == "" {
			seen = "not tried by hand"
		}
		fmt.Fprintf(&b, "- a real mesh: %s\n\n| behavior | promise | decided by |\n| --- | --- | --- |\n", seen)
		for _, id := range s.Behaviors {
			x := ByID(id)
			by := "no spec yet: " + x.State.Why
			if x.State.Automated {
				by = "a spec: " + x.Proof
			}
			fmt.Fprintf(&b, "| [%s](catalog.md#%s) | %s | %s |\n", id, strings.ToLower(id), cell(x.Promise), cell(by))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteFaults writes the faults that people have met as docs/faults.md.
func WriteFaults(w io.Writer) error {
	var b strings.Builder
	shown := 0
	for _, f := range Faults {
		if f.ShownBy != "" {
			shown++
		}
	}
	fmt.Fprintf(&b, `# What people have met

Generated from package behaviors by `+"`go test ./behaviors -update`"+`; do not edit.

%d faults of ambient multicluster that public threads and release notes tell of. %d of them would turn a spec red, or are an
outcome that a spec records; the others say why not. A row counts only if something has turned its spec red: a version of Istio
that has the fault, or a mutant that breaks the mesh in a like way. Nobody ran the old versions that had the fixed ones.

State is what threads and source say of the version that is installed by default: *fixed* (a regression to keep out), *present*,
*open* (nobody has tried), *unclear*.

| fault | threads | state | behaviors | shown by |
| --- | --- | --- | --- | --- |
`, len(Faults), shown)
	for _, f := range Faults {
		var threads, ids []string
		for _, t := range f.Threads {
			threads = append(threads, fmt.Sprintf("[%s](%s)", t, thread(t).Link()))
		}
		for _, id := range f.Behaviors {
			ids = append(ids, fmt.Sprintf("[%s](catalog.md#%s)", id, strings.ToLower(id)))
		}
		state := string(f.State)
		if f.Since != "" {
			state += " in " + f.Since
		}
		by := "not yet: " + f.WhyNot
		if b := ByID(f.ShownBy); b != nil {
			by = fmt.Sprintf("**%s**, red by %s", b.ID, b.RedBy())
			if b.Level == Limitation {
				by = fmt.Sprintf("**%s** records it; red by %s", b.ID, b.RedBy())
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(f.Says), strings.Join(threads, " "), state, strings.Join(ids, " "), by)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// thread is the source that a thread's name means.
func thread(name string) Source {
	if strings.Contains(name, "#") {
		return issue(name, "")
	}
	return note(name, "")
}

func writeBehavior(b *strings.Builder, x *Behavior) {
	fmt.Fprintf(b, "### %s\n\n**%s**\n\n", x.ID, plain(x.Promise))
	state := "proven by a spec"
	if !x.State.Automated {
		state = "no spec: " + x.State.Why
	}
	fmt.Fprintf(b, "%s · Istio %s · %s\n\n", x.Level, x.Istio, plain(state))
	for _, s := range x.Sources {
		text := plain(s.String())
		if l := s.Link(); l != "" {
			text = "[" + text + "](" + l + ")"
		}
		fmt.Fprintf(b, "- source: %s\n", text)
	}
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "- %s: %s\n", name, plain(text))
		}
	}
	line("feature", string(x.Feature))
	var needs []string
	for _, n := range x.Needs {
		needs = append(needs, n.Info().Meaning)
	}
	line("needs", strings.Join(needs, "; "))
	line("proof", x.Proof)
	line("by hand", x.Provoke)
	line("hazards", x.Hazards)
	if o := x.Outcomes; o != nil {
		for _, y := range o.Acceptable {
			line("acceptable outcome "+y.Name, y.Meaning)
		}
		for _, y := range o.Unsafe {
			line("unsafe outcome "+y.Name, y.Meaning)
		}
	}
	for _, k := range KnownFaults[x.ID] {
		fmt.Fprintf(b, "- known to be broken in %s: [finding %s](findings.md)\n", plain(k.In()), k.Finding)
	}
	for _, m := range x.Mutants {
		line("must turn red on "+m, MutantByID(m).Break)
	}
}

// plain keeps literal text from being read as Markdown where the catalog's text has such
// characters.
func plain(s string) string {
	return strings.NewReplacer("<", "\\<", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]").Replace(s)
}

func cell(s string) string { return strings.ReplaceAll(plain(s), "|", "\\|") }
