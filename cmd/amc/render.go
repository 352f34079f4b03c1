package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/verify"
)

func renderCommand() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "render BUNDLE|report.yaml",
		Short: "render JUnit, HTML and Markdown from report.yaml",
		Long: `Render writes ` + layout.JUnitFile + `, ` + layout.HTMLFile + ` and ` + layout.MarkdownFile + ` from report.yaml alone.

Without --to it writes them into the bundle and closes it: after a run that was killed, or after a secret was
removed from the evidence. It refuses a closed bundle whose files were changed. The signature stays only when
the sums come out the same.`,
		Example: `  amc render _artifacts/run
  amc render report.yaml --to public/`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := bundle.Read(args[0])
			if err != nil {
				return usage("%w", err)
			}
			if to != "" {
				if err := bundle.Render(to, r); err != nil {
					return unknown(err)
				}
				_, err := fmt.Fprintf(c.OutOrStdout(), "rendered into %s: %s, %s, %s\n", to, layout.JUnitFile, layout.HTMLFile, layout.MarkdownFile)
				return err
			}
			unsigned, err := verify.Rerender(c.Context(), args[0])
			if err != nil {
				return unknown(err)
			}
			if unsigned {
				fmt.Fprintln(c.OutOrStdout(), "the rendered files differ from the signed ones and the signature was removed: run `amc sign` again")
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "rendered and closed: %s\n", args[0])
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "write the files into this directory and leave the bundle as it is")
	return c
}
