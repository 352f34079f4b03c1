package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// command is the whole command, which writes to out.
func command(out io.Writer) *cobra.Command {
	c := root()
	c.SetOut(out) // first: cobra's completion keeps it
	refuseUnknown(c)
	return c
}

// refuseUnknown makes words that are no verb an error everywhere, with the verbs and flags that are
// meant. Cobra prints help for them, and succeeds, where a verb only groups others.
func refuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if short, unknown := strings.CutPrefix(err.Error(), "unknown shorthand flag: "); unknown {
			return usage("unknown flag of %s: %s: `%s --help` names the flags", c.CommandPath(), short, c.CommandPath())
		}
		word, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
		if !unknown {
			return err
		}
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if meant := near(word, names); meant != "" {
			return usage("unknown flag --%s of %s: did you mean --%s?", word, c.CommandPath(), meant)
		}
		return usage("unknown flag --%s: `%s --help` names the flags", word, c.CommandPath())
	})
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "'") }) // pflag takes it for the name of a value
		var names []string
		for _, sub := range c.Commands() {
			names = append(names, sub.Name())
			walk(sub)
		}
		switch {
		case c.Name() == "help":
			printHelp := c.Run
			c.Run, c.RunE = nil, func(c *cobra.Command, args []string) error {
				if found, rest, err := root.Find(args); err != nil || found == nil || len(rest) > 0 {
					return usage("there is no help for %q: `amc --help` names the verbs", strings.Join(args, " "))
				}
				printHelp(c, args)
				return nil
			}
		case c == root:
			c.Args = func(c *cobra.Command, args []string) error {
				switch {
				case len(args) == 0:
					return nil
				case near(args[0], names) != "":
					return usage("%s has no verb %q: did you mean %s?", c.CommandPath(), args[0], near(args[0], names))
				}
				return usage("%s has no verb %q: `%s --help` names the verbs", c.CommandPath(), args[0], c.CommandPath())
			}
		case len(names) > 0:
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) == 0 {
					return usage("a verb is missing: try `%[1]s %[2]s`; `%[1]s --help` says more",
						c.CommandPath(), strings.Join(names, fmt.Sprintf("` or `%s ", c.CommandPath())))
				}
				if meant := near(args[0], names); meant != "" {
					return usage("%s has no verb %q: did you mean %s?", c.CommandPath(), args[0], meant)
				}
				return usage("%s has no verb %q: one of %s", c.CommandPath(), args[0], strings.Join(names, ", "))
			}
		}
	}
	walk(root)
}

// near is the known word that was most likely meant; it is empty when none is near.
func near(word string, known []string) (meant string) {
	least := 3
	for _, k := range known {
		if d := distance(word, k); d < least {
			meant, least = k, d
		}
	}
	return meant
}

// distance is how many letters must be added, left out, changed or swapped with the next to make
// one word of another.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

// output is standard output that remembers that it could not be written: half a table is no
// success, whatever the verb makes of the error.
type output struct {
	// File is what terminals are asked of. Nothing writes to it past Write.
	File interface {
		io.Writer
		Fd() uintptr
	}
	failed error
}

// Fd is the file that a terminal is asked of.
func (o *output) Fd() uintptr { return o.File.Fd() }

func (o *output) Write(p []byte) (int, error) {
	n, err := o.File.Write(p)
	if err != nil && o.failed == nil {
		o.failed = err
	}
	return n, err
}
