package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestHelpHasFourGroups(t *testing.T) {
	got := map[string]string{}
	for _, c := range root().Commands() {
		group := c.GroupID
		if c.Hidden {
			group = "hidden"
		}
		got[group] = strings.TrimSpace(got[group] + " " + c.Name())
	}
	want := map[string]string{
		"fleet":   "clean down fleet images preflight rbac up",
		"catalog": "explain list plan",
		"run":     "mutate run",
		"report":  "diff render sign verify version",
		"hidden":  "bench matrix",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("groups of verbs (-want +got):\n%s", d)
	}
}

// pflag takes what stands between backquotes for the name of a flag's value.
func TestHelpNamesNoCommandAsAValue(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if name, _ := pflag.UnquoteUsage(f); strings.Contains(name, " ") {
				t.Errorf("%s --%s has a value %q", c.CommandPath(), f.Name, name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(command(io.Discard))
}

// TestOneMeaningPerFlag holds that a flag has one type and one shorthand in all verbs, and that no
// verb has a name of its own for what others call --artifacts, --output, --to or
// --allow-mesh-changes.
func TestOneMeaningPerFlag(t *testing.T) {
	type flag struct{ kind, short string }
	first := map[string]flag{}
	of := map[string]string{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			got := flag{f.Value.Type(), f.Shorthand}
			want, ok := first[f.Name]
			if !ok {
				first[f.Name], of[f.Name] = got, c.CommandPath()
			} else if got != want {
				t.Errorf("--%s is %+v in %s and %+v in %s", f.Name, want, of[f.Name], got, c.CommandPath())
			}
			switch f.Name {
			case "dir", "format", "dry-run", "allow-mesh-admin":
				t.Errorf("%s has --%s, which other verbs call otherwise", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root())
}
