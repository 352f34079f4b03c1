package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/preflight"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Two clusters with mesh and fixture take 2.7 GiB of memory. Images and their build take 12 GiB of
// disk. Both were measured.
const (
	needMemory = 4 << 30
	needDisk   = 15 << 30
)

func preflightCommand() *cobra.Command {
	var fleet string
	c := &cobra.Command{
		Use:   "preflight",
		Short: "check this machine, or with --fleet the clusters and the mesh of a fleet, and say how to fix what is wrong",
		Long: `Preflight checks whether this machine can run a fleet. With --fleet it checks clusters and mesh instead: API servers,
versions, names and networks, a common root certificate, remote secrets in both directions, east-west gateways, a ztunnel
on every node, mesh-wide policies that would affect the suite's calls, PodSecurity, and stand-ins that the fleet file does
not name. It changes nothing in clusters. It fails if specs cannot run.`,
		Example: `  amc preflight
  amc preflight --fleet _artifacts/fleet.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("fleet") {
				cache, err := engine.CacheDir()
				if err != nil {
					return unknown(err)
				}
				return checkMachine(c.Context(), c.OutOrStdout(), engine.Requirements{CacheDir: cache, Memory: needMemory, Disk: needDisk})
			}
			f, err := mesh.Load(fleet)
			if err != nil {
				return usage("%w", err)
			}
			return checkFleet(c.Context(), c.OutOrStdout(), f)
		},
	}
	c.Flags().StringVar(&fleet, "fleet", "", "check the clusters and the mesh of this fleet file")
	return c
}

// checkMachine prints what this machine has and lacks. It fails when something is missing that
// cannot be fixed from here.
func checkMachine(ctx context.Context, out io.Writer, r engine.Requirements) error {
	if writeChecks(out, engine.Preflight(ctx, r)) {
		return unknown(errors.New("this machine cannot run a fleet yet: see the fixes above"))
	}
	return nil
}

// checkFleet prints the checks of a fleet. It fails when specs cannot run on it.
func checkFleet(ctx context.Context, out io.Writer, f *mesh.Fleet) error {
	rows, err := preflight.Fleet(ctx, f, preflight.Options{Namespaces: fixture.Namespaces})
	writeChecks(out, rows)
	if err != nil {
		return unknown(fmt.Errorf("the fleet of %s cannot be used yet: see the fixes above, then run `amc preflight --fleet %s` again",
			f.Path(), shown(f.Path())))
	}
	return nil
}

// writeChecks prints a table, with the fix below each row that needs one. It tells whether a check
// failed.
func writeChecks(out io.Writer, rows []v1alpha2.Check) (failed bool) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer func() { _ = w.Flush() }()
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Status, r.Name, r.Detail)
		if r.Fix != "" && r.Status != v1alpha2.CheckOK && r.Status != v1alpha2.CheckFixed {
			fmt.Fprintf(w, "\t\tfix: %s\n", r.Fix)
		}
		failed = failed || r.Status == v1alpha2.CheckFail
	}
	return failed
}
