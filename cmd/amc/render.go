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
		Short: "make JUnit, HTML and Markdown again from report.yaml",
		Long: `Render makes ` + layout.JUnitFile + `, ` + layout.HTMLFile + ` and ` + layout.MarkdownFile + ` from report.yaml alone.

Without --to it does so inside the bundle and closes it again: after a run that was killed, or after a secret was taken out of the evidence. A closed bundle
whose files were changed is refused. A signature stays only when the sums come out the same.`,
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
				fmt.Fprintln(c.OutOrStdout(), "what was rendered differs from what was signed: the signature is gone, sign again")
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "rendered and closed: %s\n", args[0])
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "write the three files into this directory and leave the bundle alone")
	return c
}
