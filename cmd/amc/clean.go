package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
)

func cleanCommand() *cobra.Command {
	var fleet string
	c := &cobra.Command{
		Use:   "clean",
		Short: "remove what runs keep in the clusters of a fleet: the suite's namespaces and all that is in them",
		Long: `Clean removes the namespaces ` + fixture.MeshNamespace + ` and ` + fixture.PlainNamespace + ` from every cluster of a fleet file.
A run keeps them with its servers, clients and waypoint, so that the next run is faster. Clean touches only namespaces
that carry the suite's label. The mesh and the clusters stay. What a run that was killed has left changed of the mesh is
put back first.`,
		Example: `  amc clean --fleet _artifacts/fleet.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := mesh.Load(fleet)
			if err != nil {
				return usage("%w", err)
			}
			release, err := lockDirs(filepath.Dir(f.Path()))
			if err != nil {
				return err
			}
			defer release()
			gone, err := fixture.Remove(c.Context(), f)
			if len(gone) > 0 {
				fmt.Fprintf(c.OutOrStdout(), "removed %s\n", strings.Join(gone, ", "))
			}
			if err != nil {
				return unknown(err)
			}
			if len(gone) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "nothing to remove")
			}
			return nil
		},
	}
	c.Flags().StringVar(&fleet, "fleet", filepath.Join(artifactsDefault, kind.FleetFile), "the fleet file")
	return c
}
