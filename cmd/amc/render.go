package main

import (
	"context"
	"fmt"
	"os"

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
		Args: operands,
		RunE: func(c *cobra.Command, args []string) error {
			says, err := within(c.Context(), patience, "render", func(ctx context.Context) (string, error) { return render(ctx, args[0], to) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), says)
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "write the files into this directory and leave the bundle as it is")
	return c
}

// render renders a bundle, or a report into a directory, and says what it did.
func render(ctx context.Context, name, to string) (string, error) {
	r, err := bundle.Read(name)
	if err != nil {
		return "", usage("%w", err)
	}
	if st, err := os.Stat(name); to == "" && (err != nil || !st.IsDir()) {
		return "", usage("%s is a report without its bundle: name a directory for the rendered files with --to, or name the bundle", name)
	}
	if to != "" {
		if err := bundle.Render(to, r); err != nil {
			return "", unknown(err)
		}
		return fmt.Sprintf("rendered into %s: %s, %s, %s\n", to, layout.JUnitFile, layout.HTMLFile, layout.MarkdownFile), nil
	}
	unsigned, err := verify.Rerender(ctx, name)
	if err != nil {
		return "", unknown(err)
	}
	says := fmt.Sprintf("rendered and closed: %s\n", name)
	if unsigned {
		says = "the rendered files differ from the signed ones and the signature was removed: run `amc sign` again\n" + says
	}
	return says, nil
}
