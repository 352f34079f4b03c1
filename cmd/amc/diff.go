package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/diff"
)

func diffCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "show what changed between two reports; exit with 1 when something got worse",
		Example: `  amc diff yesterday/ today/
  amc diff main.yaml branch.yaml -o markdown`,
		Args: operands,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := within(c.Context(), patience, "diff", func(context.Context) (*diff.Diff, error) {
				a, err := bundle.Read(args[0])
				if err != nil {
					return nil, usage("%w", err)
				}
				b, err := bundle.Read(args[1])
				if err != nil {
					return nil, usage("%w", err)
				}
				return diff.Compare(a, b), nil
			})
			if err != nil {
				return err
			}
			switch format {
			case formatJSON:
				err = writeJSON(c.OutOrStdout(), d)
			case formatMarkup:
				err = d.Markdown(c.OutOrStdout())
			default:
				err = d.Text(c.OutOrStdout())
			}
			if err == nil && d.Worse {
				err = exit{exitNonConformant, fmt.Errorf("%s is worse than %s: see the lines marked broke or lost", args[1], args[0])}
			}
			return err
		},
	}
	outputFlag(c, &format, formatTable, formatJSON, formatMarkup)
	return c
}
