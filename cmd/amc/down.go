package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/kind"
)

func downCommand() *cobra.Command {
	var artifacts, run string
	var all, stop bool
	c := &cobra.Command{
		Use:   "down",
		Short: "remove a fleet that amc made, and only that",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, out := c.Context(), c.OutOrStdout()
			cache, err := cacheDir()
			if err != nil {
				return unknown(err)
			}
			if _, err := os.Stat(artifacts); err == nil {
				release, err := hold(artifacts)
				if err != nil {
					return err
				}
				defer release()
			}
			show := newProgress(out)
			o := kind.DownOptions{RunID: run, Dir: artifacts, Dead: all || stop, Progress: show}
			// An engine that does not run holds no containers that run; to remove what is left in it, it must be started once more.
			if o.Engine, err = engine.Find(ctx, engine.Options{CacheDir: cache, Progress: show}); err != nil {
				return unknown(err)
			}
			removed, err := kind.Down(ctx, o)
			if err != nil {
				return unknown(err)
			}
			if len(removed) == 0 {
				fmt.Fprintln(out, "nothing to remove")
			} else {
				fmt.Fprintf(out, "removed %s\n", strings.Join(removed, ", "))
			}
			if left, err := kind.Runs(ctx, o.Engine); err == nil {
				for _, r := range left {
					fmt.Fprintf(out, "left alone: run %s of %s (%s): `amc down --run %s` removes it\n", r.ID, r.From, r.Has, r.ID)
				}
				if stop && len(left) > 0 {
					return unknown(fmt.Errorf("the engine is in use by %d other runs and was not stopped", len(left)))
				}
			}
			if !stop {
				return nil
			}
			if !o.Engine.Private {
				fmt.Fprintln(out, "the engine is not one that amc started: it goes on")
				return nil
			}
			if err := engine.Stop(ctx, cache); err != nil {
				return unknown(err)
			}
			fmt.Fprintln(out, "private engine stopped")
			return nil
		},
	}
	c.Flags().StringVar(&artifacts, "artifacts", artifactsDefault, "folder of the fleet file")
	c.Flags().StringVar(&run, "run", "", "remove this run instead of the one of the fleet file")
	c.Flags().BoolVar(&all, "all", false, "also remove runs whose fleet file is gone")
	c.Flags().BoolVar(&stop, "engine", false, "also stop the private container engine")
	return c
}
