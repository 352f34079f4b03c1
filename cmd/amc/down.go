package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/engine/private"
	"ambient.test/conformance/clusters/images"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/install"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/progress"
)

func downCommand() *cobra.Command {
	var artifacts, run string
	var all, stop, justMesh bool
	c := &cobra.Command{
		Use:   "down",
		Short: "remove a fleet that amc made, and only that",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, out := c.Context(), c.OutOrStdout()
			cache, err := engine.CacheDir()
			if err != nil {
				return unknown(err)
			}
			if _, err := os.Stat(artifacts); err == nil {
				release, err := lockDirs(artifacts)
				if err != nil {
					return err
				}
				defer release()
			}
			show := newProgress(out)
			if justMesh {
				return downMesh(ctx, out, show, artifacts)
			}
			o := kind.DownOptions{RunID: run, Dir: artifacts, Dead: all || stop, Progress: show}
			// An engine that does not run holds no containers that run; to remove what is left in it, it
			// must be started once more.
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
			if err := private.Stop(ctx, cache); err != nil {
				return unknown(err)
			}
			fmt.Fprintln(out, "private engine stopped")
			return nil
		},
	}
	c.Flags().StringVar(&artifacts, "artifacts", artifactsDefault, "folder of the fleet file")
	c.Flags().StringVar(&run, "run", "", "remove this run instead of the one of the fleet file")
	c.Flags().BoolVar(&all, "all", false, "also remove runs whose fleet file is gone")
	c.Flags().BoolVar(&justMesh, "mesh", false, "take the mesh away and leave the clusters; fails when anything of it is left in them")
	c.Flags().BoolVar(&stop, "stop-engine", false, "also stop the private container engine")
	for _, other := range []string{"run", "all", "stop-engine"} {
		c.MarkFlagsMutuallyExclusive("mesh", other)
	}
	return c
}

// downMesh takes the mesh out of a fleet that amc made.
func downMesh(ctx context.Context, out io.Writer, show progress.Reporter, artifacts string) error {
	f, err := mesh.Load(filepath.Join(artifacts, kind.FleetFile))
	if err != nil {
		return usage("%w", err)
	}
	if f.Provider != mesh.ProviderKind {
		return usage("the mesh of %s is not ours to take away", f.Path())
	}
	if err := kind.Health(ctx, f); err != nil {
		return unknown(err)
	}
	o, err := meshOptions(ctx, show, f, cmp.Or(f.Istio, images.DefaultIstio))
	if err != nil {
		return unknown(err)
	}
	if err := install.Undo(ctx, f, o); err != nil {
		return unknown(err)
	}
	fmt.Fprintf(out, "the mesh of fleet %s is gone and has left nothing behind; `amc up` installs it again\n", f.RunID)
	return nil
}
