package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// What two clusters with mesh and workloads need; measured 2.7 GiB of memory, and images with their build take about 12 GiB of disk.
const (
	needMemory = 4 << 30
	needDisk   = 15 << 30
)

func preflightCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "preflight",
		Short: "look at this machine and say what a fleet would stumble over, with the fix",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cache, err := engine.CacheDir()
			if err != nil {
				return unknown(err)
			}
			return preflight(c.Context(), c.OutOrStdout(), engine.Requirements{CacheDir: cache, Memory: needMemory, Disk: needDisk})
		},
	}
}

// preflight prints what is worth a word. It fails when something is missing that cannot be mended from here.
func preflight(ctx context.Context, out io.Writer, r engine.Requirements) error {
	failed := false
	for _, k := range engine.Preflight(ctx, r) {
		fmt.Fprintf(out, "%-6s %s: %s\n", k.Status, k.Name, k.Detail)
		if k.Fix != "" && k.Status != v1alpha2.CheckFixed {
			fmt.Fprintf(out, "       fix: %s\n", k.Fix)
		}
		failed = failed || k.Status == v1alpha2.CheckFail
	}
	if failed {
		return unknown(errors.New("this machine cannot carry a fleet yet: see the fixes above"))
	}
	return nil
}
