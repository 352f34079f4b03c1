package run

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/evidence"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/preflight"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/planned"
)

// head is what a report says before anything was asked of the clusters.
func (r *run) head() v1alpha2.ConformanceReport {
	f, o := r.first(), r.Options
	x := v1alpha2.ConformanceReport{
		RunID: f.RunID, Mode: r.mode(), Implementation: o.Implementation, Seed: o.Seed, Suite: Suite(),
		Isolation: f.Isolation, Timeouts: limits(o.Times),
	}
	describe(&x.Environment, f, nil)
	x.Environment.MeshAdmin = f.MeshAdmin || o.AllowMeshChanges
	x.Environment.Twins = r.twins()
	return x
}

// limits are the times in force, by name.
func limits(t spec.Times) []v1alpha2.Timeout {
	return []v1alpha2.Timeout{
		{Name: "call", Seconds: 5}, {Name: "evidence", Seconds: evidence.Patience.Seconds()}, {Name: "hold", Seconds: t.Hold.Seconds()},
		{Name: "settle", Seconds: t.Convergence.Seconds()}, {Name: "spec", Seconds: t.Spec.Seconds()},
	}
}

// Suite is the version of this program, as reports of its runs have it.
func Suite() v1alpha2.Suite { return suite(debug.ReadBuildInfo()) }

// suite is the version of a program as the Go toolchain knows it.
func suite(i *debug.BuildInfo, ok bool) v1alpha2.Suite {
	s := v1alpha2.Suite{Version: "devel"}
	if !ok {
		return s
	}
	if v := i.Main.Version; v != "" && v != "(devel)" {
		s.Version = v
	}
	for _, b := range i.Settings {
		switch b.Key {
		case "vcs.revision":
			s.Commit = b.Value
		case "vcs.modified":
			s.Dirty = b.Value == "true"
		}
	}
	return s
}

// inspectAll reads what the clusters are made of, side by side, by their names.
func inspectAll(ctx context.Context, f *mesh.Fleet) (map[string]*inspect.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	found := make([]*inspect.Cluster, len(f.Clusters))
	all, ctx := errgroup.WithContext(ctx)
	for i, c := range f.Clusters {
		all.Go(func() (err error) {
			if found[i], err = inspect.Read(ctx, c); err != nil {
				err = fmt.Errorf("%s: %w", c.Name, err)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	seen := map[string]*inspect.Cluster{}
	for i, c := range f.Clusters {
		seen[c.Name] = found[i]
	}
	return seen, nil
}

// declared is what the fleet file says of the environment. The plan follows from it.
func declared(f *mesh.Fleet) v1alpha2.Environment {
	e := v1alpha2.Environment{Provider: f.Provider, Variants: f.Variants, Istio: f.Istio, MeshAdmin: f.MeshAdmin}
	for _, c := range f.Clusters {
		x := v1alpha2.Cluster{Name: c.Name, Network: c.Network, Primary: c.Primary, Region: c.Region, Zone: c.Zone, PodCIDR: c.PodCIDR,
			ServiceCIDR: c.ServiceCIDR, Gateways: c.GatewayAddresses}
		if c.Kind != nil {
			x.Nodes = len(c.Kind.Nodes)
		}
		e.Clusters = append(e.Clusters, x)
		for _, name := range slices.Sorted(maps.Keys(c.Flags)) {
			e.IstiodFlags = append(e.IstiodFlags, v1alpha2.Flag{Name: name, Value: string(redact.Bytes([]byte(c.Flags[name]))), Cluster: c.Name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Images)) {
		i := f.Images[name]
		e.Images = append(e.Images, v1alpha2.Image{Name: name, Ref: i.Ref, Digest: i.Digest, Source: i.Source})
		if i.StandIn != "" {
			e.StandIns = append(e.StandIns, v1alpha2.StandIn{Name: name, What: i.StandIn})
		}
	}
	return e
}

// describe fills in the environment: what the fleet file says and, where clusters were inspected,
// what they are. A value that is the same in all clusters is said once.
func describe(e *v1alpha2.Environment, f *mesh.Fleet, seen map[string]*inspect.Cluster) {
	admin, machine, twins := e.MeshAdmin, host(e.Host, f), e.Twins
	*e = declared(f)
	e.MeshAdmin, e.Host, e.Twins = e.MeshAdmin || admin, machine, twins
	for n := range e.Clusters {
		x := &e.Clusters[n]
		if i := seen[x.Name]; i != nil {
			e.Kubernetes, e.GatewayAPI, e.Kernel, e.Arch = cmp.Or(e.Kubernetes, i.Kubernetes), cmp.Or(e.GatewayAPI, i.GatewayAPI),
				cmp.Or(e.Kernel, i.FirstNode().Kernel), cmp.Or(e.Arch, i.FirstNode().Arch)
			x.Nodes, x.Kubernetes, x.Istio = len(i.Nodes), i.Kubernetes, i.Istio
		}
	}
	same := func(of func(*v1alpha2.Cluster) *string) {
		for _, c := range e.Clusters {
			if *of(&c) != *of(&e.Clusters[0]) {
				return
			}
		}
		for i := range e.Clusters {
			*of(&e.Clusters[i]) = ""
		}
	}
	if len(seen) > 0 {
		e.Istio = cmp.Or(f.Istio, e.Clusters[0].Istio)
		e.Facts = append(e.Facts, fact(seen, "istiod", func(i *inspect.Cluster) string { return i.Istio })...)
	}
	same(func(c *v1alpha2.Cluster) *string { return &c.Kubernetes })
	same(func(c *v1alpha2.Cluster) *string { return &c.Istio })
	e.Facts = append(e.Facts, fact(seen, "container runtime", func(i *inspect.Cluster) string { return i.FirstNode().Runtime })...)
	e.Facts = append(e.Facts, fact(seen, "mesh config", func(i *inspect.Cluster) string {
		b, _ := json.Marshal(i.MeshConfig) // it came from YAML and has no cycles
		return string(redact.Bytes(b))
	})...)
	e.Facts = append(e.Facts, fact(seen, "trust domain", func(i *inspect.Cluster) string { return i.TrustDomain })...)
	slices.SortStableFunc(e.Facts, func(a, b v1alpha2.NamedValue) int { return strings.Compare(a.Name, b.Name) })
	if len(seen) > 0 {
		e.IstiodFlags = nil // what was read from the clusters, not what the fleet file said of them
	}
	for _, x := range merged(seen, func(i *inspect.Cluster) map[string]string { return i.Flags }) {
		e.IstiodFlags = append(e.IstiodFlags, v1alpha2.Flag{Name: x.name, Value: string(redact.Bytes([]byte(x.value))), Cluster: x.cluster})
	}
	// What runs, as the clusters say, beside what was asked for.
	for _, x := range merged(seen, func(i *inspect.Cluster) map[string]string { return i.Running }) {
		image := v1alpha2.Image{Name: "istio-system/" + x.name, Digest: digest.FindString(x.value), Source: "found"}
		if x.cluster != "" {
			image.Name += " in " + x.cluster
		}
		if ref, _, ok := strings.Cut(x.value, "@"); ok {
			image.Ref = ref
		}
		e.Images = append(e.Images, image)
	}
	slices.SortStableFunc(e.Images, func(a, b v1alpha2.Image) int { return strings.Compare(a.Name, b.Name) })
}

// appImages takes the digest of the application that specs call from the pods that run it, where
// the fleet file does not have it: on clusters of others, a registry gave it to the nodes alone.
func (r *run) appImages(ctx context.Context, clusters fixture.Clusters) error {
	if r.first().Images[appImage].Digest != "" {
		return nil
	}
	ran := make([]mesh.ImageRef, len(clusters))
	all, ctx := errgroup.WithContext(ctx)
	for i, c := range clusters {
		all.Go(func() error {
			pod, err := workload.Pod(ctx, c.Cluster, fixture.MeshNamespace, fixture.Echo)
			if err != nil {
				return err
			}
			if ran[i], err = inspect.ImageOf(ctx, c.Cluster.Client(), pod, workload.Container); err != nil {
				return fmt.Errorf("%s: the digest of the application %s is not known: %w", c.Name, fixture.Echo, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return r.bundle.Update(func(x *v1alpha2.ConformanceReport) {
		x.Environment.Images = withApp(x.Environment.Images, r.first().Clusters, ran)
	})
}

// appImage is the name of the application's image in fleet files and reports.
const appImage = "app"

// withApp says of each cluster which application ran. Those that run the first cluster's are not
// named.
func withApp(images []v1alpha2.Image, clusters []*mesh.Cluster, ran []mesh.ImageRef) []v1alpha2.Image {
	images = slices.Clone(images)
	i := slices.IndexFunc(images, func(i v1alpha2.Image) bool { return i.Name == appImage })
	if i < 0 {
		return images
	}
	images[i].Digest = ran[0].Digest
	for n, c := range clusters[1:] {
		if other := ran[n+1]; other.Digest != images[i].Digest {
			x := images[i]
			x.Name, x.Digest = appImage+"@"+c.Name, other.Digest
			images = append(images, x)
		}
	}
	slices.SortStableFunc(images, func(a, b v1alpha2.Image) int { return strings.Compare(a.Name, b.Name) })
	return images
}

var digest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// value is a named value of one cluster, or of all when cluster is empty.
type value struct{ name, value, cluster string }

// merged are the values of all clusters by name; those on which all agree stand once.
func merged(seen map[string]*inspect.Cluster, of func(*inspect.Cluster) map[string]string) []value {
	byName := map[string]map[string]string{}
	for c, i := range seen {
		for k, v := range of(i) {
			if byName[k] == nil {
				byName[k] = map[string]string{}
			}
			byName[k][c] = v
		}
	}
	var all []value
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		values := byName[name]
		clusters := slices.Sorted(maps.Keys(values))
		first := values[clusters[0]]
		if len(values) == len(seen) && !slices.ContainsFunc(clusters, func(c string) bool { return values[c] != first }) {
			all = append(all, value{name: name, value: first})
			continue
		}
		for _, c := range clusters {
			all = append(all, value{name, values[c], c})
		}
	}
	return all
}

// fact is one fact of the clusters.
func fact(seen map[string]*inspect.Cluster, name string, of func(*inspect.Cluster) string) (facts []v1alpha2.NamedValue) {
	for _, x := range merged(seen, func(i *inspect.Cluster) map[string]string { return map[string]string{name: of(i)} }) {
		if x.value == "" {
			continue
		}
		if x.cluster != "" {
			name = x.name + " of " + x.cluster
		}
		facts = append(facts, v1alpha2.NamedValue{Name: name, Value: x.value})
	}
	return facts
}

// host is this machine, and the engine of a fleet that runs on it.
func host(known *v1alpha2.Host, f *mesh.Fleet) *v1alpha2.Host {
	if known != nil {
		return known
	}
	h := &v1alpha2.Host{CPUs: runtime.NumCPU(), MemoryMB: engine.MemoryMB()}
	if f.Kind != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if v, err := (&engine.Engine{Host: f.Kind.DockerHost}).Output(ctx, "version", "--format", "{{.Server.Version}}"); err == nil {
			h.Engine = "Docker " + strings.TrimSpace(v)
		}
	}
	return h
}

// machine looks at the machine that carries a fleet of ours.
func machine(ctx context.Context, f *mesh.Fleet) []v1alpha2.Check {
	e := &engine.Engine{Host: f.Kind.DockerHost, Local: strings.HasPrefix(f.Kind.DockerHost, "unix://")}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	root, err := e.Output(ctx, "info", "--format", "{{.DockerRootDir}}")
	if err != nil {
		return []v1alpha2.Check{{Name: "engine", Status: "fail", Detail: fmt.Sprintf("the container engine does not answer: %v", err),
			Fix: "run `amc up`, which starts it again"}}
	}
	e.DataRoot = strings.TrimSpace(root)
	cache, err := engine.CacheDir()
	if err != nil {
		return []v1alpha2.Check{{Name: "cache", Status: "fail", Detail: err.Error()}}
	}
	return engine.Preflight(ctx, engine.Requirements{Engine: e, CacheDir: cache})
}

// preflightPatience is how long a run waits for a mesh that is not ready, for example after a
// restart.
const preflightPatience = 30 * time.Second

// Healthy says whether the fleet can be used, with a row for each check. The error names everything
// that is wrong. It starts stopped nodes of a fleet of ours.
func Healthy(ctx context.Context, f *mesh.Fleet) ([]v1alpha2.Check, error) {
	var rows []v1alpha2.Check
	if f.Provider == mesh.ProviderKind {
		rows = machine(ctx, f)
		if err := kind.Health(ctx, f); err != nil {
			return append(rows, v1alpha2.Check{Name: "nodes", Status: v1alpha2.CheckFail, Detail: err.Error()}), err
		}
		rows = append(rows, v1alpha2.Check{Name: "nodes", Status: v1alpha2.CheckOK, Detail: "every node runs behind its firewall"})
	}
	namespaces := fixture.Namespaces
	fleet, err := preflight.Fleet(ctx, f, preflight.Options{Namespaces: namespaces, Patience: preflightPatience})
	return append(rows, fleet...), err
}

// Equip gives specs what only the makers of a fleet can do for them.
func Equip(fx *fixture.Fixture) {
	fx.Escapes, fx.Tunnels = kind.Escapes(fx.Fleet), kind.Tunnels(fx.Fleet)
	fx.Sightings, fx.OpenPorts = kind.Sightings(fx.Fleet), kind.OpenPorts(fx.Fleet)
	fx.Cut, fx.KillSandbox = kind.Cut(fx.Fleet), kind.KillSandbox(fx.Fleet)
	fx.StopNodes, fx.StartNodes = kind.StopNodes(fx.Fleet), kind.StartNodes(fx.Fleet)
	fx.Charts = func(ctx context.Context) (string, error) { return charts(ctx, fx.Fleet) }
}

// charts is the folder of the charts from which a fleet's mesh was installed.
func charts(ctx context.Context, f *mesh.Fleet) (string, error) {
	src, err := images.FindSources(ctx, f.Istio)
	return src.Charts(), err
}

// chartsAtHand is an error when the plan has behaviors that install something from Istio's charts,
// and the charts cannot be had.
func (r *run) chartsAtHand(ctx context.Context) error {
	var ids []string
	for _, e := range r.plan.Run {
		if slices.Contains(e.Behavior.Needs, behaviors.IstioCharts) {
			ids = append(ids, e.Behavior.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if _, err := charts(ctx, r.first()); err != nil {
		all := strings.Join(ids, ",")
		return usage("%s: Istio's charts, from which a gateway is installed, cannot be had for %s: %w: leave it out with --exclude %s",
			all, r.first().Istio, err, all)
	}
	return nil
}

// Environment is what the plan is told about a fleet.
func Environment(f *mesh.Fleet) plan.Environment {
	e := declared(f)
	return planned.Environment(&e)
}

// mode is the set of rules that the run keeps.
func (r *run) mode() v1alpha2.Mode {
	switch {
	case r.Certified:
		return v1alpha2.ModeCertified
	case r.plan.Profile == behaviors.ProfileSmoke:
		return v1alpha2.ModeSmoke
	}
	return v1alpha2.ModeConformance
}
