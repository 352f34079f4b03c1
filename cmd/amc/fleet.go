package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/existing"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
)

func fleetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "describe clusters that amc did not create",
	}
	c.AddCommand(fleetInitCommand())
	return c
}

func fleetInitCommand() *cobra.Command {
	var o existing.Options
	c := &cobra.Command{
		Use:   "init --contexts a,b",
		Short: "write a fleet file for clusters that amc did not create, from what their API servers report",
		Long: `Init reads networks, gateways, versions, flags and images of an installed mesh from the API servers. It writes the
fleet file and a private copy of each context (mode 0600). It changes nothing, neither in the clusters nor in your
kubeconfig. Specs that would change istio-system are skipped ("not ours to change") unless --allow-mesh-changes is given.
Specs undo their changes.

Init needs the rights that ` + "`amc rbac`" + ` prints.

Clients and servers of the specs are Istio's echo application. By default its image is the one that Istio publishes for
the version of your istiod: docker.io/istio/app:VERSION for releases, gcr.io/istio-testing/app:VERSION for development
builds. It closes idle connections after 5 s, for which a waypoint answers 503 now and then; the one that
` + "`amc images push`" + ` copies does not. Name that one, or another that your nodes can pull, with --app-image.`,
		Example: `  amc fleet init --contexts east,west
  amc fleet init --contexts east,west --kubeconfig clusters.yaml --artifacts _artifacts --app-image registry.example/istio/app:1.31.2`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for i, name := range o.Contexts {
				o.Contexts[i] = strings.TrimSpace(name) // of "east, west"
			}
			f, err := existing.Discover(c.Context(), o)
			var misuse existing.Usage
			switch {
			case errors.As(err, &misuse):
				return usage("%w", err)
			case err != nil:
				return unknown(fmt.Errorf("nothing was written: %w", err))
			}
			describeFleet(c.OutOrStdout(), f)
			return nil
		},
	}
	c.Flags().StringSliceVar(&o.Contexts, "contexts", nil, "contexts of the kubeconfig, one for each cluster of the mesh")
	completeContexts := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return existing.Contexts(o.Kubeconfig), cobra.ShellCompDirectiveNoFileComp
	}
	if err := c.RegisterFlagCompletionFunc("contexts", completeContexts); err != nil {
		panic(err) // the flag is declared above
	}
	c.Flags().StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: as kubectl finds it)")
	c.Flags().StringVar(&o.Dir, "artifacts", artifactsDefault, "folder of the fleet file")
	c.Flags().StringVar(&o.AppImage, "app-image", "",
		"image of Istio's echo application (default: the one that Istio publishes for the version found)")
	c.Flags().StringVar(&o.GatewayClass, "gateway-class", "", "GatewayClass of the east-west gateways (default: Istio's)")
	c.Flags().StringVar(&o.WaypointClass, "waypoint-class", "", "GatewayClass of waypoints (default: Istio's)")
	c.Flags().BoolVar(&o.MeshAdmin, "allow-mesh-changes", false, "let specs change istio-system; they undo their changes")
	return c
}

// describeFleet prints what was found and what follows from it.
func describeFleet(out io.Writer, f *mesh.Fleet) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLUSTER\tNETWORK\tKUBERNETES\tISTIO\tNODES\tGATEWAYS")
	for _, c := range f.Clusters {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", c.Name, c.Network, c.Kubernetes, c.Istio, c.Nodes, strings.Join(c.GatewayAddresses, " "))
	}
	fmt.Fprintln(w, "\nIMAGE\tREFERENCE\tDIGEST")
	for _, name := range slices.Sorted(maps.Keys(f.Images)) {
		i := f.Images[name]
		what := i.Digest
		if i.Source != inspect.Found {
			what = "(for the suite's own pods)"
		}
		if i.StandIn != "" {
			what += "  stand-in: " + i.StandIn
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, i.Ref, what)
	}
	_ = w.Flush()
	fmt.Fprintln(out)
	if f.Images["app"].Source != "override" {
		fmt.Fprintln(out,
			"The image of the echo application is the one that Istio publishes. Name another with --app-image if the nodes cannot pull it.")
	}
	if !f.MeshAdmin {
		fmt.Fprintln(out, "Specs that change istio-system will be skipped: it is not ours to change. --allow-mesh-changes enables them.")
	}
	fmt.Fprintf(out, "Wrote %s. Next: `amc run --fleet %s`\n", f.Path(), shown(f.Path()))
}

// shown returns the path as a user would type it.
func shown(path string) string {
	here, err := filepath.Abs(".")
	if err != nil {
		return path
	}
	if r, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(r, "..") {
		return r
	}
	return path
}
