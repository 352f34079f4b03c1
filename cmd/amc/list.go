package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
)

// selection says which behaviors `amc list` shows. An empty field selects all.
type selection struct {
	patterns []string // ids, globs, chapters
	chapters []string // prefixes or suite names
	levels   []string
	profile  string
	istio    string
	needs    []string
	features []string
	state    string
}

// States of behaviors, as `amc list --state` and its outputs name them.
const (
	stateProven  = "proven"
	stateNotYet  = "not-automated"
	stateOpen    = "provisional"
	formatTable  = "table"
	formatJSON   = "json"
	formatMarkup = "markdown"
)

func listCommand() *cobra.Command {
	var s selection
	var format string
	var features bool
	c := &cobra.Command{
		Use:   "list [ID|GLOB|CHAPTER]...",
		Short: "list the behaviors of the catalog",
		Example: `  amc list GW ID                           # two chapters
  amc list --level limitation --state proven
  amc list --need waypoints --istio 1.29 -o markdown
  amc list --features                      # what an implementation can claim`,
		ValidArgsFunction: completeIDs,
		RunE: func(c *cobra.Command, args []string) error {
			s.patterns = patterns(args)
			s.chapters, s.levels = folded(s.chapters, chapterWords()), folded(s.levels, strs(behaviors.Levels))
			out := c.OutOrStdout()
			if features {
				return listFeatures(out, format)
			}
			found, err := s.find()
			if err != nil {
				return err
			}
			warnBeyond(c, format, s.istio)
			return writeList(out, found, format)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&s.chapters, "chapter", nil, "only of these chapters: a prefix (GW) or the name of its suite (gateway)")
	f.StringSliceVar(&s.levels, "level", nil, fmt.Sprintf("only of these levels: %s", words(behaviors.Levels)))
	f.StringVar(&s.profile, "profile", "", fmt.Sprintf("only what this profile runs: %s", words(behaviors.Profiles)))
	f.StringVar(&s.istio, "istio", "", "only what is promised for this Istio version, for example 1.31")
	f.StringSliceVar(&s.needs, "need", nil, fmt.Sprintf("only what has one of these needs: %s", words(behaviors.Needs())))
	f.StringSliceVar(&s.features, "feature", nil, "only what belongs to one of these features (see --features)")
	f.StringVar(&s.state, "state", "",
		fmt.Sprintf("only these: %s (a spec proves it), %s (its spec is disputed and does not run) or %s", stateProven, stateOpen, stateNotYet))
	f.BoolVar(&features, "features", false, "list the features that can be claimed instead")
	outputFlag(c, &format, formatTable, formatJSON, formatMarkup)
	complete(c, "chapter", chapterWords())
	complete(c, "level", strs(behaviors.Levels))
	complete(c, "profile", strs(behaviors.Profiles))
	complete(c, "need", strs(behaviors.Needs()))
	complete(c, "state", states)
	complete(c, "feature", featureWords())
	return c
}

// warnBeyond says beside a table, on the error stream, that a version is outside of the support
// window.
func warnBeyond(c *cobra.Command, format, istio string) {
	if says := plan.Beyond(istio); says != "" && format == formatTable {
		fmt.Fprintln(c.ErrOrStderr(), says)
	}
}

// patterns are ids, globs and chapters as the catalog writes them.
func patterns(given []string) (all []string) {
	for _, p := range given {
		all = append(all, strings.ToUpper(p))
	}
	return all
}

// folded are words as they are known, in whatever case they were given.
func folded(given, known []string) (all []string) {
	for _, g := range given {
		if i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, g) }); i >= 0 {
			g = known[i]
		}
		all = append(all, g)
	}
	return all
}

func (s selection) find() ([]*behaviors.Behavior, error) {
	all := behaviors.All()
	for _, p := range s.patterns {
		if err := plan.Known(p); err != nil {
			return nil, usage("%w", err)
		}
	}
	for _, set := range []struct {
		flag  string
		got   []string
		known []string
	}{
		{"chapter", s.chapters, chapterWords()}, {"level", s.levels, strs(behaviors.Levels)}, {"need", s.needs, strs(behaviors.Needs())},
		{"profile", nonEmpty(s.profile), strs(behaviors.Profiles)}, {"state", nonEmpty(s.state), states}, {"feature", s.features, featureWords()},
	} {
		for _, g := range set.got {
			if !slices.Contains(set.known, g) {
				return nil, usage("--%s %q must be one of: %s", set.flag, g, strings.Join(set.known, ", "))
			}
		}
	}
	var version *behaviors.Version
	if s.istio != "" {
		v, err := behaviors.ParseVersion(s.istio)
		if err != nil {
			return nil, usage("--istio: %w", err)
		}
		version = &v
	}
	filters := s.filters(version)
	return slices.DeleteFunc(all, func(b *behaviors.Behavior) bool {
		return slices.ContainsFunc(filters, func(keeps filter) bool { return !keeps(b) })
	}), nil
}

// filter reports whether a behavior belongs to a selection.
type filter func(*behaviors.Behavior) bool

// filters returns one filter for each criterion that the user gave; a behavior must pass all.
func (s selection) filters(version *behaviors.Version) []filter {
	var all []filter
	add := func(given bool, f filter) {
		if given {
			all = append(all, f)
		}
	}
	add(version != nil, func(b *behaviors.Behavior) bool {
		in, _ := b.Istio.Contains(*version) // the catalog's tests check the ranges
		return in
	})
	add(len(s.patterns) > 0, func(b *behaviors.Behavior) bool {
		return slices.ContainsFunc(s.patterns, func(p string) bool { return plan.Matches(p, b.ID) })
	})
	add(len(s.chapters) > 0, func(b *behaviors.Behavior) bool {
		ch := b.Chapter()
		return slices.Contains(s.chapters, ch.Prefix) || slices.Contains(s.chapters, ch.Suite)
	})
	add(len(s.levels) > 0, func(b *behaviors.Behavior) bool { return slices.Contains(s.levels, string(b.Level)) })
	add(s.profile != "", func(b *behaviors.Behavior) bool { return b.InProfile(behaviors.Profile(s.profile)) })
	add(len(s.needs) > 0, func(b *behaviors.Behavior) bool {
		return slices.ContainsFunc(b.AllNeeds(), func(n behaviors.Need) bool { return slices.Contains(s.needs, string(n)) })
	})
	add(len(s.features) > 0, func(b *behaviors.Behavior) bool { return slices.Contains(s.features, string(b.Feature)) })
	add(s.state != "", func(b *behaviors.Behavior) bool { return stateOf(b) == s.state })
	return all
}

var states = []string{stateProven, stateOpen, stateNotYet}

func stateOf(b *behaviors.Behavior) string {
	switch {
	case b.State.Automated:
		return stateProven
	case b.State.Provisional:
		return stateOpen
	}
	return stateNotYet
}

// entry is a behavior as JSON.
type entry struct {
	ID       string             `json:"id"`
	Chapter  string             `json:"chapter"`
	Level    behaviors.Level    `json:"level"`
	Promise  string             `json:"promise"`
	Istio    behaviors.Range    `json:"istio"`
	Feature  behaviors.Feature  `json:"feature,omitempty"`
	Needs    []behaviors.Need   `json:"needs,omitempty"`
	Profiles []string           `json:"profiles"`
	State    string             `json:"state"`
	Why      string             `json:"why,omitempty"` // no spec proves it
	Sources  []source           `json:"sources"`
	Proof    string             `json:"proof"`
	Provoke  string             `json:"provoke"`
	Hazards  string             `json:"hazards,omitempty"`
	Mutants  []behaviors.Mutant `json:"mutants,omitempty"`
	Outcomes *outcomes          `json:"outcomes,omitempty"`
}

type source struct {
	Kind  behaviors.Kind  `json:"kind"`
	Ref   string          `json:"ref"`
	Quote string          `json:"quote,omitempty"`
	Istio behaviors.Range `json:"istio,omitempty"`
	Link  string          `json:"link,omitempty"`
}

type outcomes struct {
	Acceptable map[string]string `json:"acceptable"`
	Unsafe     map[string]string `json:"unsafe,omitempty"`
}

func entryOf(b *behaviors.Behavior) entry {
	e := entry{
		ID: b.ID, Chapter: b.Chapter().Name, Level: b.Level, Promise: b.Promise, Istio: b.Istio,
		Feature: b.Feature, Needs: b.Needs, Profiles: profilesOf(b),
		State: stateOf(b), Why: b.State.Why, Proof: b.Proof, Provoke: b.Provoke, Hazards: b.Hazards,
	}
	for _, s := range b.Sources {
		e.Sources = append(e.Sources, source{s.Kind, s.Ref, s.Quote, s.Istio, s.Link()})
	}
	for _, m := range b.Mutants {
		e.Mutants = append(e.Mutants, *behaviors.MutantByID(m))
	}
	if o := b.Outcomes; o != nil {
		e.Outcomes = &outcomes{Acceptable: named(o.Acceptable), Unsafe: named(o.Unsafe)}
	}
	return e
}

func named(all []behaviors.Outcome) map[string]string {
	m := map[string]string{}
	for _, o := range all {
		m[o.Name] = o.Meaning
	}
	return m
}

func profilesOf(b *behaviors.Behavior) []string {
	var in []string
	for _, p := range behaviors.Profiles {
		if b.InProfile(p) {
			in = append(in, string(p))
		}
	}
	return in
}

func writeList(out io.Writer, found []*behaviors.Behavior, format string) error {
	switch format {
	case formatJSON:
		all := []entry{}
		for _, b := range found {
			all = append(all, entryOf(b))
		}
		return writeJSON(out, all)
	case formatMarkup:
		fmt.Fprint(out, "| id | level | Istio | state | promise |\n| --- | --- | --- | --- | --- |\n")
		for _, b := range found {
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", b.ID, b.Level, cell(string(b.Istio)), stateOf(b), cell(b.Promise))
		}
		return nil
	}
	rows := [][]string{{"ID", "LEVEL", "ISTIO", "STATE", "PROMISE"}}
	for _, b := range found {
		rows = append(rows, []string{b.ID, string(b.Level), string(b.Istio), stateOf(b), b.Promise})
	}
	if err := table(out, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d of %d behaviors; catalog %s\n", len(found), len(behaviors.All()), behaviors.Digest())
	return err
}

func listFeatures(out io.Writer, format string) error {
	type feature struct {
		Feature   behaviors.Feature `json:"feature"`
		Meaning   string            `json:"meaning"`
		Claimable bool              `json:"claimable"` // a spec shows it
		Behaviors []string          `json:"behaviors"`
	}
	var all []feature
	for _, i := range behaviors.Features() {
		f := feature{Feature: i.Feature, Meaning: i.Meaning}
		for _, b := range i.Behaviors {
			f.Behaviors = append(f.Behaviors, b.ID)
			f.Claimable = f.Claimable || b.State.Automated
		}
		all = append(all, f)
	}
	if format == formatJSON {
		return writeJSON(out, all)
	}
	claimable := map[bool]string{true: "yes", false: "not yet"}
	if format == formatMarkup {
		fmt.Fprint(out, "| feature | meaning | behaviors | can be claimed |\n| --- | --- | --- | --- |\n")
		for _, f := range all {
			fmt.Fprintf(out, "| %s | %s | %s | %s |\n", f.Feature, cell(f.Meaning), strings.Join(f.Behaviors, " "), claimable[f.Claimable])
		}
		return nil
	}
	rows := [][]string{{"FEATURE", "CLAIMABLE", "BEHAVIORS", "MEANING"}}
	for _, f := range all {
		rows = append(rows, []string{string(f.Feature), claimable[f.Claimable], strings.Join(f.Behaviors, " "), f.Meaning})
	}
	return table(out, rows)
}

// table aligns rows. On a terminal it wraps the last column at the width: the end of a reason is
// what to do.
func table(out io.Writer, rows [][]string) error {
	if width := widthOf(out); width > 0 {
		before := 0
		for i := range len(rows[0]) - 1 {
			widest := 0
			for _, r := range rows {
				widest = max(widest, len([]rune(r[i])))
			}
			before += widest + 2
		}
		rows = wrapLast(rows, max(width-before, 20))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// widthOf is the width of the terminal that out is; 0 if it is none.
func widthOf(out io.Writer) int {
	if f, ok := out.(interface{ Fd() uintptr }); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
	}
	return 0
}

// sentences writes each as one line below an empty one, on a terminal as many as its width asks for.
func sentences(out io.Writer, all ...string) error {
	for i, says := range all {
		if width := widthOf(out); width > 0 {
			all[i] = wrap(says, "", width)
		}
	}
	_, err := fmt.Fprintf(out, "\n%s\n", strings.Join(all, "\n"))
	return err
}

// wrapLast wraps the last column of rows. What goes on stands in rows that are empty before it.
func wrapLast(rows [][]string, width int) (wrapped [][]string) {
	for _, r := range rows {
		last := len(r) - 1
		for i, line := range strings.Split(wrap(r[last], "", width), "\n") {
			row := make([]string, len(r))
			if i == 0 {
				copy(row, r)
			}
			row[last] = line
			wrapped = append(wrapped, row)
		}
	}
	return wrapped
}

func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "\\<", "*", "\\*", "\n", " ").Replace(s)
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// outputFlag adds --output with the formats that a command knows. The first one is the default.
func outputFlag(c *cobra.Command, format *string, known ...string) {
	c.Flags().StringVarP(format, "output", "o", known[0], "format: "+strings.Join(known, ", "))
	complete(c, "output", known)
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains(known, *format) {
			return usage("--output %q must be one of: %s", *format, strings.Join(known, ", "))
		}
		return run(c, args)
	}
}

func complete(c *cobra.Command, flag string, known []string) {
	// This fails only for a flag that does not exist, which every test of the command would show.
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// completeIDs offers ids with their promises to the shell.
func completeIDs(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	for _, b := range behaviors.All() {
		if strings.HasPrefix(b.ID, strings.ToUpper(begun)) && !slices.Contains(args, b.ID) {
			ids = append(ids, b.ID+"\t"+b.Promise)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func chapterWords() []string {
	var all []string
	for _, c := range behaviors.Chapters {
		all = append(all, c.Prefix, c.Suite)
	}
	return all
}

func featureWords() []string {
	var all []string
	for _, f := range behaviors.Features() {
		all = append(all, string(f.Feature))
	}
	return all
}

func strs[S ~string](all []S) []string {
	var s []string
	for _, x := range all {
		s = append(s, string(x))
	}
	return s
}

func words[S ~string](all []S) string { return strings.Join(strs(all), ", ") }

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
