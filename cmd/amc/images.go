package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/images"
)

func imagesCommand() *cobra.Command {
	c := &cobra.Command{Use: "images", Short: "the images of the fleet: list, build, push"}
	c.AddCommand(imagesListCommand(), imagesBuildCommand(), imagesPushCommand())
	return c
}

func imagesListCommand() *cobra.Command {
	var m imageFlags
	var output string
	c := &cobra.Command{
		Use: "list", Short: "every image: its reference, where it comes from, and what stands in for what", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			set, _, err := m.plan(c.Context(), newProgress(c.ErrOrStderr()), false)
			if err != nil {
				return err
			}
			switch output {
			case "json":
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(set.List())
			case "table":
				return imagesTable(c.OutOrStdout(), set.List())
			default:
				return usage("-o %s: expected table or json", output)
			}
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	m.withoutEngine(c)
	return c
}

func imagesTable(out io.Writer, all []images.Row) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSOURCE\tIN CACHE\tREFERENCE\tWHAT")
	for _, r := range all {
		here := "-"
		if r.Source == images.Built {
			here = map[bool]string{true: "yes", false: "no"}[r.Here]
		}
		what := r.What
		if r.StandIn != "" {
			what += " (stand-in: " + r.StandIn + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.Source, here, r.Ref, what)
	}
	return w.Flush()
}

func imagesBuildCommand() *cobra.Command {
	var m imageFlags
	c := &cobra.Command{
		Use: "build", Short: "make sure that every image is there: built or pulled, the node image in the container engine", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			set, e, err := m.plan(c.Context(), newProgress(c.OutOrStdout()), true)
			if err != nil {
				return err
			}
			describeEngine(c.OutOrStdout(), e)
			refs, err := set.Realize(c.Context())
			if err != nil {
				return unknown(err)
			}
			for _, n := range images.Names() {
				fmt.Fprintf(c.OutOrStdout(), "%-18s %s %s\n", n, refs[n].Ref, refs[n].Digest)
			}
			return nil
		},
	}
	m.flags(c)
	return c
}

func imagesPushCommand() *cobra.Command {
	m := imageFlags{images: images.Build} // what was pulled is in a registry already
	var to string
	c := &cobra.Command{
		Use: "push --to REGISTRY/PREFIX", Short: "copy the built images of the mesh to a registry", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if to == "" {
				return usage("--to is missing: expected a registry and a prefix, such as registry.example/amc")
			}
			set, _, err := m.plan(c.Context(), newProgress(c.OutOrStdout()), false)
			if err != nil {
				return err
			}
			refs, err := set.Push(c.Context(), to)
			for _, r := range refs {
				fmt.Fprintln(c.OutOrStdout(), r)
			}
			if err != nil {
				return unknown(err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&to, "to", "", "registry and prefix")
	c.Flags().StringVar(&m.istio, "istio", images.DefaultIstio, "version of Istio's module")
	return c
}
