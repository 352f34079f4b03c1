package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/clusters/variant"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/install"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/progress"
)

const artifactsDefault = "_artifacts"

// imageFlags are the flags of the verbs that need images.
type imageFlags struct {
	engine, images, istio string
	overrides             []string
}

func (m *imageFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&m.engine, "engine", "auto", "container engine: auto (Docker if it answers, else a private one), docker or private")
	m.withoutEngine(c)
}

// withoutEngine adds the flags that do not need a container engine.
func (m *imageFlags) withoutEngine(c *cobra.Command) {
	c.Flags().StringVar(&m.images, "images", images.Auto,
		"where images come from: auto (pull if a registry answers, else build), pull or build")
	c.Flags().StringVar(&m.istio, "istio", images.DefaultIstio, "version of Istio's module")
	c.Flags().StringArrayVar(&m.overrides, "image", nil, "NAME=REFERENCE: use this image instead; can be repeated")
}

// leastClusters is how many clusters the variants take, unless the user says a number.
func (o upOptions) leastClusters() int {
	if shape, _, err := variant.Combine(o.variants); err == nil && !o.asked("clusters") {
		return shape.Networks + 1
	}
	return 0
}

// check refuses wrong flags before anything is contacted.
func (m *imageFlags) check() error {
	over, err := images.ParseOverrides(m.overrides)
	if err != nil {
		return usage("%w", err)
	}
	if err := images.Check(images.Options{Mode: m.images, Istio: m.istio, Overrides: over}); err != nil {
		return usage("%w", err)
	}
	if m.engine != "" && !slices.Contains([]string{"auto", "docker", "private"}, m.engine) {
		return usage("--engine %q must be one of: auto, docker, private", m.engine)
	}
	return nil
}

// plan decides where images come from. With needEngine it finds or starts a container engine first.
func (m *imageFlags) plan(ctx context.Context, show progress.Reporter, needEngine bool) (*images.Set, *engine.Engine, error) {
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	over, err := images.ParseOverrides(m.overrides)
	if err != nil {
		return nil, nil, usage("%w", err)
	}
	cache, err := engine.CacheDir()
	if err != nil {
		return nil, nil, unknown(err)
	}
	o := images.Options{Mode: m.images, Istio: m.istio, Overrides: over, CacheDir: cache, Progress: show}
	if needEngine {
		if o.Engine, err = engine.Find(ctx, engine.Options{Mode: m.engine, CacheDir: cache, Progress: show}); err != nil {
			return nil, nil, unknown(err)
		}
	}
	set, err := images.Plan(ctx, o)
	if err != nil {
		return nil, nil, unknown(err)
	}
	return set, o.Engine, nil
}

type upOptions struct {
	imageFlags
	artifacts string
	clusters  int
	distinct  bool
	subnet    string
	variants  []string
	runID     string                 // empty: a new one
	asked     func(flag string) bool // whether the user gave it
}

// check refuses wrong flags before anything is contacted.
func (o upOptions) check() error {
	shape, _, err := variant.Combine(o.variants)
	if err != nil {
		return usage("--variant: %w", err)
	}
	if n := o.clusters + shape.Unlisted; o.clusters < 1 || n > kind.MaxClusters {
		return usage("--clusters %d: a fleet has 1 to %d", n, kind.MaxClusters)
	}
	if shape.Networks > 0 && o.asked("distinct-cidrs") && !o.distinct {
		return usage("--variant %s needs distinct addresses: leave out --distinct-cidrs=false", variantNames(o.variants))
	}
	if least := shape.Networks + 1; shape.Networks > 0 && o.clusters < least {
		return usage("--variant %s needs %d clusters or more, --clusters says %d", variantNames(o.variants), least, o.clusters)
	}
	if shape.Remote && o.clusters != 2 {
		return usage("--variant primary-remote needs two clusters, a primary and its remote, --clusters says %d", o.clusters)
	}
	if err := kind.CheckSubnet(o.subnet); err != nil {
		return usage("--subnet: %w", err)
	}
	return o.imageFlags.check()
}

// differs returns an error that says how the existing fleet differs from the flags.
func (o upOptions) differs(f *mesh.Fleet) error {
	var no []string
	if n := len(f.Clusters); o.asked("clusters") && n != o.clusters {
		no = append(no, fmt.Sprintf("it has %d clusters, not %d", n, o.clusters))
	}
	if o.asked("istio") && f.Istio != "" && f.Istio != o.istio {
		no = append(no, fmt.Sprintf("its Istio is %s, not %s", f.Istio, o.istio))
	}
	if len(f.Clusters) > 1 && o.asked("distinct-cidrs") && (f.Clusters[0].PodCIDR != f.Clusters[1].PodCIDR) != o.distinct {
		found := map[bool]string{true: "the same, not distinct", false: "distinct, not the same"}[o.distinct]
		no = append(no, "its clusters' pod addresses are "+found)
	}
	_, chosen, err := variant.Combine(o.variants)
	if err != nil {
		return usage("--variant: %w", err)
	}
	if o.asked("variant") && !slices.Equal(f.Variants, chosen) {
		no = append(no, fmt.Sprintf("its variants are %s, not %s", variantNames(f.Variants), variantNames(chosen)))
	}
	over, err := images.ParseOverrides(o.overrides)
	if err != nil {
		return usage("%w", err)
	}
	for n, ref := range over {
		if f.Images[n].Ref != ref {
			no = append(no, fmt.Sprintf("its image %s is %s, not %s", n, f.Images[n].Ref, ref))
		}
	}
	if len(no) == 0 {
		return nil
	}
	return usage("the fleet in %s does not match the flags: %s: run `amc down` first, or name another folder with --artifacts",
		f.Path(), strings.Join(no, "; "))
}

// variantNames lists the names of variants.
func variantNames(variants []string) string { return cmp.Or(strings.Join(variants, ", "), "none") }

func upCommand() *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "bring up a fleet (images, clusters on separate networks, mesh, isolation proof), or check the existing one",
		Long: "Bring up a fleet: images, clusters on separate networks, mesh, isolation proof. An existing fleet is checked and repaired.\n\n" +
			"Variants change one thing of the fleet each, and can be combined. A spec that means the promise holds on all of them:\n" +
			strings.TrimRight(variant.Help(), "\n"),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.asked = c.Flags().Changed
			err := up(c.Context(), c.OutOrStdout(), o)
			if err != nil && c.Context().Err() != nil {
				return unknown(fmt.Errorf("interrupted: `amc up` continues where it stopped, `amc down` removes what was created (%w)", err))
			}
			return err
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.artifacts, "artifacts", artifactsDefault, "folder of the fleet file, kubeconfigs and logs")
	c.Flags().IntVar(&o.clusters, "clusters", 2, "how many clusters; 3 with --variant shared-network, unless said")
	c.Flags().BoolVar(&o.distinct, "distinct-cidrs", false, "give each cluster its own range of pod and service addresses, for comparison")
	c.Flags().StringSliceVar(&o.variants, "variant", nil, "NAME[,NAME]: make another fleet than the default one; the names are above")
	c.Flags().StringVar(&o.subnet, "subnet", "", "/20 range of the container networks (default: a free one)")
	return c
}

func up(ctx context.Context, out io.Writer, o upOptions) error {
	o.clusters = max(o.clusters, o.leastClusters())
	if err := o.check(); err != nil {
		return err
	}
	release, err := lockDirs(o.artifacts)
	if err != nil {
		return err
	}
	defer release()
	show := newProgress(out)
	fleet, err := mesh.Load(filepath.Join(o.artifacts, kind.FleetFile))
	switch {
	case errors.Is(err, mesh.ErrNoFleet):
		return create(ctx, out, show, o)
	case err != nil:
		return usage("%w", err)
	case fleet.Provider == mesh.ProviderExisting:
		rows, err := fleetChecks(ctx, fleet)
		writeChecks(out, rows)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "the fleet of %s can be used; its mesh is not ours to install\n", fleet.Path())
		return nil
	}
	if fleet.Kind != nil && fleet.Kind.Unfinished {
		fmt.Fprintf(out, "fleet %s was interrupted while its clusters were created: it is created again\n", fleet.RunID)
		return replace(ctx, out, show, o, fleet)
	}
	if err := o.differs(fleet); err != nil {
		return err
	}
	return reuse(ctx, out, show, o, fleet)
}

// create brings a fleet up from nothing.
func create(ctx context.Context, out io.Writer, show progress.Reporter, o upOptions) error {
	shape, chosen, err := variant.Combine(o.variants)
	if err != nil {
		return usage("--variant: %w", err)
	}
	set, e, err := o.plan(ctx, show, true)
	if err != nil {
		return err
	}
	describeEngine(out, e)
	cache, err := engine.CacheDir()
	if err != nil {
		return unknown(err)
	}
	needs := engine.Requirements{Engine: e, CacheDir: cache, Memory: uint64(o.clusters+shape.Unlisted) * needMemory / 2, Disk: needDisk,
		IPv6: shape.DualStack}
	rows, err := machineChecks(ctx, needs)
	writeChecks(out, rows)
	if err != nil {
		return err
	}
	if err := kind.CheckFree(ctx, e, o.subnet); err != nil { // before minutes are spent on building images
		return unknown(err)
	}
	took := map[string]float64{}
	timed := func(name string, do func() error) error {
		begin := time.Now()
		err := do()
		took[name] = time.Since(begin).Seconds()
		return err
	}
	var refs map[string]mesh.ImageRef
	var fleet *mesh.Fleet
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"images", func() (err error) { refs, err = set.Realize(ctx); return err }},
		{"clusters", func() (err error) {
			fleet, err = kind.Up(ctx, kind.Options{
				RunID: o.runID, Clusters: o.clusters, Dir: o.artifacts, Engine: e, Images: refs,
				DistinctCIDRs: o.distinct, Subnet: o.subnet, Shape: shape, Variants: chosen, Progress: show,
			})
			if err != nil {
				return err
			}
			return images.Load(ctx, e, refs, nodesOf(fleet))
		}},
		{"mesh", func() error { return installMesh(ctx, show, fleet, o.istio) }},
		{"isolation", func() error { return isolate(ctx, show, fleet) }},
	} {
		if err := timed(step.name, step.do); err != nil {
			return unknown(fmt.Errorf("%s: %w", step.name, err))
		}
	}
	fleet.Took = took
	return ready(out, fleet)
}

// anew removes a fleet of ours and creates one like it, with the same run id, in the same folder.
// Whoever calls it holds the lock of the folder.
func anew(ctx context.Context, out io.Writer, path string) error {
	fleet, err := mesh.Load(path)
	if err != nil {
		return usage("%w", err)
	}
	return replace(ctx, out, newProgress(out), likeness(fleet), fleet)
}

// replace removes a fleet of ours and creates another one in its folder and its engine.
func replace(ctx context.Context, out io.Writer, show progress.Reporter, o upOptions, fleet *mesh.Fleet) error {
	cache, err := engine.CacheDir()
	if err != nil {
		return unknown(err)
	}
	o.engine = engineMode(fleet, o.engine, cache)
	e, err := findEngine(ctx, show, o, fleet)
	if err != nil {
		return err
	}
	if _, err := kind.Down(ctx, kind.DownOptions{RunID: fleet.RunID, Dir: o.artifacts, Engine: e, Progress: show}); err != nil {
		return unknown(err)
	}
	return create(ctx, out, show, o)
}

// likeness are the options that make a fleet like this one.
func likeness(f *mesh.Fleet) upOptions {
	o := upOptions{imageFlags: imageFlags{engine: "auto", images: images.Auto, istio: f.Istio}, artifacts: filepath.Dir(f.Path()),
		clusters: len(f.Clusters), variants: f.Variants, runID: f.RunID, subnet: kind.SubnetOf(f), asked: func(string) bool { return true },
		distinct: len(f.Clusters) > 1 && f.Clusters[0].PodCIDR != f.Clusters[1].PodCIDR}
	for _, name := range slices.Sorted(maps.Keys(f.Images)) {
		if i := f.Images[name]; i.Source == images.Override {
			o.overrides = append(o.overrides, name+"="+i.Ref)
		}
	}
	return o
}

// reuse checks whether a fleet can be used again, and restores what a restart of the engine
// removed.
func reuse(ctx context.Context, out io.Writer, show progress.Reporter, o upOptions, fleet *mesh.Fleet) error {
	if fleet.Kind == nil {
		return usage("fleet file %s has provider kind but does not describe its containers: run `amc down` and `amc up`", fleet.Path())
	}
	if _, err := findEngine(ctx, show, o, fleet); err != nil {
		return err
	}
	phase := show.Phase("fleet", 1)
	item := phase.Item("health of run " + fleet.RunID)
	err := kind.Health(ctx, fleet)
	item.Done(err)
	phase.Close(err)
	if err != nil {
		return unknown(fmt.Errorf("the fleet of %s cannot be used: %w", fleet.Path(), err))
	}
	istio := fleet.Istio
	if istio == "" { // interrupted before the mesh was installed
		istio = o.istio
	}
	if err := installMesh(ctx, show, fleet, istio); err != nil {
		return unknown(err)
	}
	if err := isolate(ctx, show, fleet); err != nil {
		return unknown(err)
	}
	return ready(out, fleet)
}

// findEngine finds the engine of a fleet. A private engine that stopped is started again.
func findEngine(ctx context.Context, show progress.Reporter, o upOptions, fleet *mesh.Fleet) (*engine.Engine, error) {
	cache, err := engine.CacheDir()
	if err != nil {
		return nil, unknown(err)
	}
	e, err := engine.Find(ctx, engine.Options{Mode: engineMode(fleet, o.engine, cache), CacheDir: cache, Progress: show})
	if err != nil {
		return nil, unknown(fmt.Errorf("the container engine of the fleet is gone: %w", err))
	}
	return e, nil
}

// engineMode returns "private" if the fleet runs in the private engine, else the mode given by
// flag.
func engineMode(f *mesh.Fleet, asked, cache string) string {
	if strings.HasPrefix(f.Kind.DockerHost, "unix://"+cache) {
		return "private"
	}
	return asked
}

func nodesOf(f *mesh.Fleet) []string {
	var all []string
	for _, c := range f.Members() {
		all = append(all, c.Kind.Nodes...)
	}
	return all
}

// installMesh installs the mesh unless it is installed already. It records images that turn out to
// be stand-ins.
func installMesh(ctx context.Context, show progress.Reporter, fleet *mesh.Fleet, istio string) error {
	o, err := meshOptions(ctx, show, fleet, istio)
	if err != nil {
		return err
	}
	if err := install.Mesh(ctx, fleet, o); err != nil {
		return err
	}
	// The name of an image given by --image does not say what it contains.
	found, err := inspect.StandIns(ctx, fleet)
	if err != nil {
		return err
	}
	for name, what := range found {
		if i := fleet.Images[name]; i.StandIn == "" {
			i.StandIn = what
			fleet.Images[name] = i
		}
	}
	return nil
}

// meshOptions returns the sources from which the mesh of a fleet is installed.
func meshOptions(ctx context.Context, show progress.Reporter, fleet *mesh.Fleet, istio string) (install.Options, error) {
	src, err := images.FindSources(ctx, istio)
	return install.Options{Images: fleet.Images, Istio: istio, ChartsDir: src.Charts(),
		GatewayCRDs: src.GatewayAPI, MetalLB: src.MetalLB, Progress: show}, err
}

// isolate proves that the networks are separate, and that nothing leaves the fleet. Every later
// verdict rests on this, so a fleet without this proof cannot be used.
func isolate(ctx context.Context, show progress.Reporter, fleet *mesh.Fleet) (err error) {
	phase := show.Phase("isolation", 1)
	item := phase.Item("proof")
	defer func() { item.Done(err); phase.Close(err) }()
	fleet.Isolation, err = kind.VerifyIsolation(ctx, fleet)
	return errors.Join(err, fleet.Save(fleet.Path())) // also what failed: no run may begin on an older proof
}

func ready(out io.Writer, fleet *mesh.Fleet) error {
	if err := fleet.Save(fleet.Path()); err != nil {
		return unknown(err)
	}
	fmt.Fprintf(out, "fleet %s is up: %d clusters, isolation proven with %d probes; fleet file %s\n",
		fleet.RunID, len(fleet.Clusters), len(fleet.Isolation.Probes), fleet.Path())
	if len(fleet.Variants) > 0 {
		fmt.Fprintf(out, "  variants: %s\n", variantNames(fleet.Variants))
	}
	for _, c := range fleet.Clusters {
		gateway := "no gateway"
		if len(c.GatewayAddresses) > 0 {
			gateway = "gateway " + strings.Join(c.GatewayAddresses, ", ")
		}
		fmt.Fprintf(out, "  %s on %s: %s, kubectl --kubeconfig %s\n", c.Name, c.Network, gateway, c.Kubeconfig)
	}
	return nil
}

func describeEngine(out io.Writer, e *engine.Engine) {
	what := "Docker"
	if e.Private {
		what = "private Docker"
	}
	fmt.Fprintf(out, "engine: %s %s at %s\n", what, e.Version, e.Host)
	if e.Note != "" {
		fmt.Fprintf(out, "        %s\n", e.Note)
	}
}
