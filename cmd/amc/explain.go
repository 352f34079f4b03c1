package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
)

func explainCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:               "explain ID...",
		Short:             "say all that is known of a behavior: promise, quote, proof, hazards, how to see it by hand",
		Args:              operands,
		ValidArgsFunction: completeIDs,
		RunE: func(c *cobra.Command, args []string) error {
			var found []*behaviors.Behavior
			for _, id := range args {
				b := behaviors.ByID(strings.ToUpper(id))
				if b == nil {
					if err := plan.Known(id); err != nil {
						return usage("%w", err)
					}
					return usage("%q is a pattern, explain wants ids: `amc list %s` names them", id, id)
				}
				found = append(found, b)
			}
			if format == formatJSON {
				var all []entry
				for _, b := range found {
					all = append(all, entryOf(b))
				}
				return writeJSON(c.OutOrStdout(), all)
			}
			for i, b := range found {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				if err := explain(c.OutOrStdout(), b); err != nil {
					return err
				}
			}
			return nil
		},
	}
	outputFlag(c, &format, "text", formatJSON)
	return c
}

// textWidth is the width of prose, unless the terminal is narrower.
const textWidth = 100

func explain(out io.Writer, b *behaviors.Behavior) error {
	var w strings.Builder
	width := textWidth
	if terminal := widthOf(out); terminal > 0 {
		width = min(width, terminal)
	}
	fmt.Fprintf(&w, "%s\n\n", wrap(b.ID+": "+b.Promise, "", width))
	part := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&w, "%-12s%s\n", name, strings.TrimLeft(wrap(text, strings.Repeat(" ", 12), width), " "))
		}
	}
	ch := b.Chapter()
	part("level", string(b.Level))
	part("chapter", ch.Prefix+", "+ch.Name)
	part("Istio", string(b.Istio))
	part("profiles", strings.Join(profilesOf(b), ", "))
	if b.Feature != "" {
		part("feature", string(b.Feature)+", which an implementation claims")
	}
	for i, n := range b.Needs {
		part(first(i, "needs"), string(n)+": "+n.Info().Meaning)
	}
	if b.State.Automated {
		part("state", "proven by a spec in suites/"+ch.Suite)
	} else {
		part("state", "no spec: "+b.State.Why)
	}
	for i, s := range b.Sources {
		part(first(i, "source"), s.String())
		if l := s.Link(); l != "" {
			fmt.Fprintf(&w, "%12s%s\n", "", l)
		}
	}
	part("proof", b.Proof)
	part("by hand", b.Provoke)
	part("hazards", b.Hazards)
	if o := b.Outcomes; o != nil {
		for i, x := range o.Acceptable {
			part(first(i, "acceptable"), x.Name+": "+x.Meaning)
		}
		for i, x := range o.Unsafe {
			part(first(i, "unsafe"), x.Name+": "+x.Meaning)
		}
	}
	for i, k := range behaviors.KnownFaults[b.ID] {
		part(first(i, "known"), fmt.Sprintf("broken in %s, finding %s of docs/findings.md %s", k.In(), k.Finding, k.Issue))
	}
	for i, m := range b.Mutants {
		part(first(i, "red when"), behaviors.MutantByID(m).Break+" ("+m+")")
	}
	_, err := io.WriteString(out, w.String())
	return err
}

func first(i int, name string) string {
	if i == 0 {
		return name
	}
	return ""
}

// wrap breaks text at blanks; lines begin with the indent.
func wrap(text, indent string, width int) string {
	var lines []string
	line := indent
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+len([]rune(word))+1 > width && strings.TrimSpace(line) != "" {
			lines = append(lines, line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}
