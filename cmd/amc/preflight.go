package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/engine"
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
			cache, err := os.UserCacheDir()
			if err != nil {
				return unknown(err)
			}
			failed := false
			for _, k := range engine.Preflight(c.Context(), engine.Requirements{CacheDir: filepath.Join(cache, "amc"), Memory: needMemory, Disk: needDisk}) {
				fmt.Fprintf(c.OutOrStdout(), "%-6s %s: %s\n", k.Status, k.Name, k.Detail)
				if k.Fix != "" && k.Status != engine.Fixed {
					fmt.Fprintf(c.OutOrStdout(), "       fix: %s\n", k.Fix)
				}
				failed = failed || k.Status == engine.Fail
			}
			if failed {
				return unknown(errors.New("this machine cannot carry a fleet yet: see the fixes above"))
			}
			return nil
		},
	}
}
