package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// operands wants the arguments that a command's usage line names, one for each. The last one may be
// given several times if the line ends in "...".
func operands(c *cobra.Command, args []string) error {
	names, _, _ := strings.Cut(strings.TrimPrefix(c.Use, c.Name()+" "), " --")
	want := len(strings.Fields(names))
	if len(args) == want || len(args) > want && strings.HasSuffix(names, "...") {
		return nil
	}
	got := "nothing"
	if len(args) > 0 {
		got = strings.Join(args, " ")
	}
	return fmt.Errorf("%s wants %s and got %s: `%s --help` has examples", c.CommandPath(), names, got, c.CommandPath())
}
