package images

import (
	"context"

	"ambient.test/conformance/clusters/images/build"
)

// faultyZtunnel is the stand-in for ztunnel with the faults that no configuration gives.
const faultyZtunnel = "ztunnel-mutant"

// FaultyZtunnel builds the image of the stand-in for ztunnel that has faults, brings it onto nodes of
// the engine, and returns its reference. No fleet has it otherwise: it is no row of the table.
func FaultyZtunnel(ctx context.Context, o Options, nodes []string) (ref string, err error) {
	o.defaults()
	r, err := releaseOf(o.Istio)
	if err != nil {
		return "", err
	}
	g, err := build.New(ctx, build.Options{Module: r.Module, Version: r.Version, CacheDir: o.CacheDir, Progress: o.Progress,
		Recipes: map[string]*build.Recipe{faultyZtunnel: {
			Files:      map[string]string{"usr/local/bin/ztunnel": build.Mutant("nodeproxy") + "/nodeproxy"},
			Entrypoint: []string{"/usr/local/bin/ztunnel"}}}})
	if err != nil {
		return "", err
	}
	if err := g.Build(ctx, faultyZtunnel); err != nil {
		return "", err
	}
	if err := g.LoadImage(ctx, o.Engine, faultyZtunnel); err != nil {
		return "", err
	}
	return g.Ref(faultyZtunnel), load(ctx, o.Engine, []string{g.Ref(faultyZtunnel)}, nodes)
}
