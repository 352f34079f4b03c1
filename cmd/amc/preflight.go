package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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
	var fleet, format string
	c := &cobra.Command{
		Use:   "preflight",
		Short: "check this machine, or with --fleet the clusters and the mesh of a fleet, and say how to fix what is wrong",
		Long: `Preflight checks whether this machine can run a fleet. With --fleet it checks clusters and mesh instead: API servers,
versions, names and networks, a common root certificate, remote secrets in both directions, east-west gateways, a ztunnel
on every node, mesh-wide policies that would affect the suite's calls, PodSecurity, and stand-ins that the fleet file does
not name. It changes nothing in clusters. Run as root, it sets the kernel settings of this machine that a fleet needs.
It fails if specs cannot run.`,
		Example: `  amc preflight
  amc preflight --fleet _artifacts/fleet.yaml
  amc preflight -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var rows []v1alpha2.Check
			var err error
			if c.Flags().Changed("fleet") {
				f, notLoaded := mesh.Load(fleet)
				if notLoaded != nil {
					return usage("%w", notLoaded)
				}
				rows, err = fleetChecks(c.Context(), f)
			} else {
				cache, noCache := engine.CacheDir()
				if noCache != nil {
					return unknown(noCache)
				}
				rows, err = machineChecks(c.Context(), engine.Requirements{CacheDir: cache, Memory: needMemory, Disk: needDisk})
			}
			out := c.OutOrStdout()
			if format == formatJSON {
				return errors.Join(json.NewEncoder(out).Encode(rows), err)
			}
			writeChecks(out, rows)
			if err == nil && fleet == "" {
				fmt.Fprintln(out, "this machine can carry a fleet of two clusters: `amc up` makes it")
			}
			return err
		},
	}
	c.Flags().StringVar(&fleet, "fleet", "", "check the clusters and the mesh of this fleet file")
	outputFlag(c, &format, formatTable, formatJSON)
	return c
}

// machineChecks are what this machine has and lacks. The error says that something is missing that
// cannot be fixed from here.
func machineChecks(ctx context.Context, r engine.Requirements) ([]v1alpha2.Check, error) {
	rows := engine.Preflight(ctx, r)
	if slices.ContainsFunc(rows, func(c v1alpha2.Check) bool { return c.Status == v1alpha2.CheckFail }) {
		return rows, unknown(errors.New("this machine cannot run a fleet yet: see the fixes above"))
	}
	return rows, nil
}

// fleetChecks are what is right and wrong with a fleet. The error says that specs cannot run on it.
func fleetChecks(ctx context.Context, f *mesh.Fleet) ([]v1alpha2.Check, error) {
	rows, err := preflight.Fleet(ctx, f, preflight.Options{Namespaces: fixture.Namespaces})
	if err != nil {
		err = unknown(fmt.Errorf("the fleet of %s cannot be used yet: see the fixes above, then run `amc preflight --fleet %s` again",
			f.Path(), shown(f.Path())))
	}
	return rows, err
}

// writeChecks prints a table, with the fix below each row that needs one.
func writeChecks(out io.Writer, rows []v1alpha2.Check) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer func() { _ = w.Flush() }()
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Status, r.Name, r.Detail)
		if r.Fix != "" && r.Status != v1alpha2.CheckOK && r.Status != v1alpha2.CheckFixed {
			fmt.Fprintf(w, "\t\tfix: %s\n", r.Fix)
		}
	}
}
