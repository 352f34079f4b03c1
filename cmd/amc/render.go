package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/verify"
)

func renderCommand() *cobra.Command {
	var to, since string
	c := &cobra.Command{
		Use:   "render BUNDLE|report.yaml",
		Short: "render JUnit, HTML and Markdown from report.yaml",
		Long: `Render writes ` + layout.JUnitFile + `, ` + layout.HTMLFile + ` and ` + layout.MarkdownFile + ` from report.yaml alone.

Without --to it writes them into the bundle and closes it: after a run that was killed, or after a secret was
removed from the evidence. It refuses a closed bundle whose files were changed. The signature stays only when
the sums come out the same. It names the rules of amc verify that the closed bundle breaks.`,
		Example: `  amc render _artifacts/run
  amc render report.yaml --to public/
  amc render _artifacts/run --to public/ --since last/report.yaml`,
		Args: operands,
		RunE: func(c *cobra.Command, args []string) error {
			says, err := within(c.Context(), patience, "render", func(ctx context.Context) (string, error) {
				return render(ctx, args[0], to, since)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), says)
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "", "write the files into this directory and leave the bundle as it is")
	c.Flags().StringVar(&since, "since", "", "bundle or report.yaml of an earlier run: the page says what changed since; needs --to")
	return c
}

// render renders a bundle, or a report into a directory, and says what it did.
func render(ctx context.Context, name, to, since string) (string, error) {
	var old *v1alpha2.ConformanceReport
	if since != "" {
		if to == "" { // a bundle's page follows from its report alone: verify renders it again and compares
			return "", usage("--since needs --to: the page in a bundle says nothing of other bundles; name a directory for this one")
		}
		r, err := bundle.Read(since)
		if err != nil {
			return "", usage("--since: %w", err)
		}
		old = summary.Filled(r)
	}
	r, err := bundle.Read(name)
	if err != nil {
		return "", usage("%w", err)
	}
	if st, err := os.Stat(name); to == "" && (err != nil || !st.IsDir()) {
		return "", usage("%s is a report without its bundle: name a directory for the rendered files with --to, or name the bundle", name)
	}
	if to != "" {
		if err := bundle.Render(to, r, old); err != nil {
			return "", unknown(err)
		}
		return fmt.Sprintf("rendered into %s: %s, %s, %s\n", to, layout.JUnitFile, layout.HTMLFile, layout.MarkdownFile), nil
	}
	done, err := verify.Rerender(ctx, name)
	if err != nil {
		return "", unknown(err)
	}
	var says strings.Builder
	if done.Unsigned {
		says.WriteString("the rendered files differ from the signed ones and the signature was removed: run `amc sign` again\n")
	}
	fmt.Fprintf(&says, "rendered and closed: %s\n", name)
	for _, f := range done.Broken {
		fmt.Fprintf(&says, "it breaks rule %s: %s\n", f.Rule, f.Message)
	}
	return says.String(), nil
}
