package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ambient.test/conformance/plan"
)

func matrixCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "matrix",
		Short: "print the jobs of a nightly run: the supported versions of Istio and Kubernetes, clusters, profiles",
		Example: `  amc matrix                               # for people
  amc matrix -o json                       # for a CI system: a list of jobs`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			jobs := plan.Matrix()
			switch format {
			case formatJSON:
				return writeJSON(c.OutOrStdout(), jobs)
			case formatMarkup:
				fmt.Fprint(c.OutOrStdout(), "| Istio | version | Kubernetes | clusters | profile |\n| --- | --- | --- | ---: | --- |\n")
				for _, j := range jobs {
					fmt.Fprintf(c.OutOrStdout(), "| %s | %s | %s | %d | %s |\n", j.Istio, j.Version, j.Kubernetes, j.Clusters, j.Profile)
				}
				return nil
			}
			rows := [][]string{{"ISTIO", "VERSION", "KUBERNETES", "CLUSTERS", "PROFILE"}}
			for _, j := range jobs {
				rows = append(rows, []string{j.Istio, j.Version, j.Kubernetes, fmt.Sprint(j.Clusters), j.Profile})
			}
			return table(c.OutOrStdout(), rows)
		},
	}
	outputFlag(c, &format, formatTable, formatJSON, formatMarkup)
	return c
}
