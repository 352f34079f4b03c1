package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/framework/evidence"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// head is what a report says before anything was asked of the clusters.
func head(f *mesh.Fleet, p *plan.Plan, o runOptions) v1alpha2.ConformanceReport {
	r := v1alpha2.ConformanceReport{
		RunID: f.RunID, Mode: mode(p.Profile), Seed: o.seed, Suite: suite(debug.ReadBuildInfo()), Isolation: isolation(f.Isolation),
		Timeouts: []v1alpha2.Timeout{
			{Name: "call", Seconds: 5}, {Name: "evidence", Seconds: evidence.Patience.Seconds()}, {Name: "hold", Seconds: o.times.Hold.Seconds()},
			{Name: "settle", Seconds: o.times.Settle.Seconds()}, {Name: "spec", Seconds: o.times.Spec.Seconds()},
		},
	}
	describe(&r.Environment, f, nil)
	return r
}

// suite is the version of this program as the Go toolchain knows it.
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

func isolation(i *mesh.Isolation) *v1alpha2.Isolation {
	if i == nil {
		return nil
	}
	out := &v1alpha2.Isolation{Proven: i.Proven, At: i.At, Rejected: rejections(i.Rejected)}
	for _, p := range i.Probes {
		out.Probes = append(out.Probes, v1alpha2.IsolationProbe{From: p.From, To: p.To, Address: p.Address, Control: p.Control, Reached: p.Reached, Answered: p.Answered, OK: p.OK})
	}
	return out
}

func rejections(counts map[string]int64) (all []v1alpha2.Rejected) {
	for _, c := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, v1alpha2.Rejected{Cluster: c, Packets: counts[c]})
	}
	return all
}

// survey reads what the clusters are made of, side by side, by their names.
func survey(ctx context.Context, f *mesh.Fleet) (map[string]*inspect.Cluster, error) {
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

// describe fills in the environment: what the fleet file says and, where the clusters were asked, what they are. A value that is the same in all clusters
// is said once.
func describe(e *v1alpha2.Environment, f *mesh.Fleet, seen map[string]*inspect.Cluster) {
	*e = v1alpha2.Environment{Provider: f.Provider, Istio: f.Istio, Host: host(e.Host, f)}
	for _, c := range f.Clusters {
		x := v1alpha2.Cluster{Name: c.Name, Network: c.Network, Region: c.Region, Zone: c.Zone, PodCIDR: c.PodCIDR, ServiceCIDR: c.ServiceCIDR, Gateways: c.GatewayAddresses}
		if i := seen[c.Name]; i != nil {
			e.Kubernetes, e.GatewayAPI, e.Kernel, e.Arch = cmp.Or(e.Kubernetes, i.Kubernetes), cmp.Or(e.GatewayAPI, i.GatewayAPI), cmp.Or(e.Kernel, i.FirstNode().Kernel), cmp.Or(e.Arch, i.FirstNode().Arch)
			x.Nodes, x.Kubernetes, x.Istio = len(i.Nodes), i.Kubernetes, i.Istio
		}
		e.Clusters = append(e.Clusters, x)
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
		e.Facts = append(e.Facts, facet(seen, "istiod", func(i *inspect.Cluster) string { return i.Istio })...)
	}
	same(func(c *v1alpha2.Cluster) *string { return &c.Kubernetes })
	same(func(c *v1alpha2.Cluster) *string { return &c.Istio })
	e.Facts = append(e.Facts, facet(seen, "container runtime", func(i *inspect.Cluster) string { return i.FirstNode().Runtime })...)
	e.Facts = append(e.Facts, facet(seen, "mesh config", func(i *inspect.Cluster) string {
		b, _ := json.Marshal(i.MeshConfig) // it came from YAML and has no cycles
		return string(reports.Redact(b))
	})...)
	e.Facts = append(e.Facts, facet(seen, "trust domain", func(i *inspect.Cluster) string { return i.TrustDomain })...)
	slices.SortStableFunc(e.Facts, func(a, b v1alpha2.NamedValue) int { return strings.Compare(a.Name, b.Name) })
	for _, x := range merged(seen, func(i *inspect.Cluster) map[string]string { return i.Flags }) {
		e.IstiodFlags = append(e.IstiodFlags, v1alpha2.Flag{Name: x.name, Value: string(reports.Redact([]byte(x.value))), Cluster: x.cluster})
	}
	for _, name := range slices.Sorted(maps.Keys(f.Images)) {
		i := f.Images[name]
		e.Images = append(e.Images, v1alpha2.Image{Name: name, Ref: i.Ref, Digest: i.Digest, Source: i.Source})
		if i.StandIn != "" {
			e.StandIns = append(e.StandIns, v1alpha2.StandIn{Name: name, What: i.StandIn})
		}
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

// facet is one fact of the clusters.
func facet(seen map[string]*inspect.Cluster, name string, of func(*inspect.Cluster) string) (facts []v1alpha2.NamedValue) {
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
	h := &v1alpha2.Host{CPUs: runtime.NumCPU(), MemoryMB: memoryMB()}
	if f.Kind != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if v, err := (&engine.Engine{Host: f.Kind.DockerHost}).Output(ctx, "version", "--format", "{{.Server.Version}}"); err == nil {
			h.Engine = "Docker " + strings.TrimSpace(v)
		}
	}
	return h
}

// memoryMB is this machine's memory, 0 where it cannot be known.
func memoryMB() int64 {
	info, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer info.Close()
	for s := bufio.NewScanner(info); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) >= 2 && w[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(w[1], 10, 64)
			return kb >> 10
		}
	}
	return 0
}

// machine looks at the machine that carries a fleet of ours.
func machine(ctx context.Context, f *mesh.Fleet) (checks []v1alpha2.Check) {
	e := &engine.Engine{Host: f.Kind.DockerHost, Local: strings.HasPrefix(f.Kind.DockerHost, "unix://")}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	root, err := e.Output(ctx, "info", "--format", "{{.DockerRootDir}}")
	if err != nil {
		return []v1alpha2.Check{{Name: "engine", Status: "fail", Detail: fmt.Sprintf("the container engine does not answer: %v", err), Fix: "run `amc up`, which starts it again"}}
	}
	e.DataRoot = strings.TrimSpace(root)
	cache, err := cacheDir()
	if err != nil {
		return []v1alpha2.Check{{Name: "cache", Status: "fail", Detail: err.Error()}}
	}
	for _, c := range engine.Preflight(ctx, engine.Requirements{Engine: e, CacheDir: cache}) {
		checks = append(checks, v1alpha2.Check{Name: c.Name, Status: string(c.Status), Detail: c.Detail, Fix: c.Fix})
	}
	return checks
}
