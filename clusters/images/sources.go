package images

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"ambient.test/conformance/clusters/images/build"
)

// Sources are the module folders that the mesh's installation reads.
type Sources struct {
	Istio      string // module istio.io/istio; charts in manifests/charts
	GatewayAPI string // module sigs.k8s.io/gateway-api
	MetalLB    string // module go.universe.tf/metallb
}

// Charts is the folder of Istio's charts.
func (s Sources) Charts() string { return filepath.Join(s.Istio, "manifests", "charts") }

// FindSources downloads them where they are missing. istio is one of Releases.
func FindSources(ctx context.Context, istio string) (s Sources, err error) {
	r, err := releaseOf(istio)
	if err != nil {
		return s, err
	}
	if s.Istio, err = build.PinnedDir(ctx, r.Module, "istio.io/istio"); err != nil {
		return s, err
	}
	if s.MetalLB, err = build.PinnedDir(ctx, "metallb", "go.universe.tf/metallb"); err != nil {
		return s, err
	}
	s.GatewayAPI, err = build.LinkedDir(ctx, "sigs.k8s.io/gateway-api")
	return s, err
}

func releaseOf(istio string) (release, error) {
	r, ok := releases[istio]
	if !ok {
		return r, fmt.Errorf("--istio %s: that version cannot be built: known are %s", istio, strings.Join(Releases(), ", "))
	}
	return r, nil
}
