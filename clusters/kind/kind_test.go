package kind

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/variant"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/progress"
)

var update = flag.Bool("update", false, "write the golden files")

func laidOut(t *testing.T, o Options) (*mesh.Fleet, []node) {
	t.Helper()
	o.RunID, o.Engine, o.Dir = "r1", &engine.Engine{Host: "unix:///x.sock"}, "/work"
	o.Images = map[string]mesh.ImageRef{"node": {Ref: "node:1"}}
	if o.Clusters == 0 {
		o.Clusters = 2
	}
	f := layout(o, block{netip.MustParsePrefix("10.89.16.0/20")})
	return f, nodesOf(f, node{MTU: 1500, CgroupV1: true, ShortOfCaps: true})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs: run `go test ./clusters/kind -update` and look at the diff; got:\n%s", path, got)
	}
}

func TestGolden(t *testing.T) {
	_, nodes := laidOut(t, Options{})
	for _, name := range []string{"kind.yaml", "firewall.nft", "conflist", "Corefile"} {
		golden(t, name+".golden", nodes[1].render(name))
	}
}

// With several nodes, or on one network, nodes let each other's pods in.
func TestGoldenWithPeers(t *testing.T) {
	_, nodes := laidOut(t, Options{Shape: variant.Shape{Nodes: 2}})
	for _, name := range []string{"kind.yaml", "firewall.nft", "conflist"} {
		golden(t, "nodes-"+name+".golden", nodes[2].render(name)) // the control plane of cluster2
	}
}

// Of both families, nodes let in and keep out the same by either.
func TestGoldenDualStack(t *testing.T) {
	_, nodes := laidOut(t, Options{Shape: variant.Shape{DualStack: true}})
	for _, name := range []string{"kind.yaml", "firewall.nft", "conflist"} {
		golden(t, "dual-stack-"+name+".golden", nodes[1].render(name))
	}
}

func TestConfigOfAModernHostHasNoCrutches(t *testing.T) {
	_, nodes := laidOut(t, Options{})
	n := nodes[0]
	n.CgroupV1, n.ShortOfCaps = false, false
	for _, crutch := range []string{"failCgroupV1", "KubeletInUserNamespace"} {
		if !strings.Contains(nodes[0].render("kind.yaml"), crutch) {
			t.Errorf("%s is not there where it is needed", crutch)
		}
		if strings.Contains(n.render("kind.yaml"), crutch) {
			t.Errorf("%s is there where it is not needed", crutch)
		}
	}
}

// kind must understand every field: it ignores none, but says so only when a cluster is made.
func TestKindReadsTheConfig(t *testing.T) {
	_, nodes := laidOut(t, Options{})
	var c v1alpha4.Cluster
	if err := yaml.UnmarshalStrict([]byte(nodes[0].render("kind.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	got := []string{c.Nodes[0].Labels["topology.kubernetes.io/region"], c.Networking.PodSubnet, c.Nodes[0].Image}
	if diff := cmp.Diff([]string{"region1", "10.10.0.0/16", "amc-r1-node"}, got); diff != "" {
		t.Errorf("region, pods and image of the config (-want +got):\n%s", diff)
	}
	for _, p := range c.KubeadmConfigPatches {
		if err := yaml.Unmarshal([]byte(p), &map[string]any{}); err != nil {
			t.Errorf("patch %q: %v", p, err)
		}
	}
}

func TestDesign(t *testing.T) {
	f, nodes := laidOut(t, Options{Clusters: MaxClusters})
	seen := map[string]string{}
	unique := func(what, value string) {
		if other, twice := seen[value]; twice {
			t.Errorf("%s is both %s and %s", value, other, what)
		}
		seen[value] = what
	}
	transit := netip.MustParsePrefix(f.Kind.TransitCIDR)
	for _, c := range f.Clusters {
		for what, value := range map[string]string{
			"name": c.Name, "network": c.Network, "region": c.Region, "kubeconfig": c.Kubeconfig,
			"container network": c.Kind.Network, "range": c.Kind.NetworkCIDR, "node": c.Kind.Nodes[0],
			"transit": c.Kind.TransitIP, "pool": c.Kind.GatewayPool,
		} {
			unique(c.Name+" "+what, value)
		}
		for _, name := range append([]string{c.Kind.Name, c.Kind.Network}, c.Kind.Nodes...) {
			if !strings.HasPrefix(name, "amc-r1-") {
				t.Errorf("%s does not carry the run's id", name)
			}
		}
		if diff := cmp.Diff([]string{"10.10.0.0/16", "10.110.0.0/16"}, []string{c.PodCIDR, c.ServiceCIDR}); diff != "" {
			t.Errorf("%s: all clusters use the same addresses by default (-want +got):\n%s", c.Name, diff)
		}
		first, last, _ := strings.Cut(c.Kind.GatewayPool, "-")
		for _, a := range []string{first, last, c.Kind.TransitIP} {
			if !transit.Contains(netip.MustParseAddr(a)) {
				t.Errorf("%s is not on the transit network %s", a, transit)
			}
		}
		if netip.MustParsePrefix(c.Kind.NetworkCIDR).Overlaps(transit) {
			t.Errorf("%s is not apart from the transit network", c.Kind.NetworkCIDR)
		}
	}
	if len(nodes[0].Families[0].Fleet) != 2*MaxClusters {
		t.Errorf("pods may call %v", nodes[0].Families[0].Fleet)
	}
	f, _ = laidOut(t, Options{Clusters: MaxClusters, DistinctCIDRs: true})
	for i, c := range f.Clusters {
		for _, o := range f.Clusters[:i] {
			apart(t, c, o)
		}
	}
}

// apart fails the test if two clusters use the same addresses, in any family.
func apart(t *testing.T, a, b *mesh.Cluster) {
	t.Helper()
	var all []netip.Prefix
	for _, c := range []*mesh.Cluster{a, b} {
		pods, services, err := ranges(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, pods...), services...)
	}
	for i, p := range all {
		for _, o := range all[:i] {
			if p.Overlaps(o) {
				t.Errorf("%s and %s: %s and %s overlap", a.Name, b.Name, o, p)
			}
		}
	}
}

// What a variant changes stands in the fleet file or in the nodes' files.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape variant.Shape
		check func(f *mesh.Fleet, nodes []node) (got, want any)
	}{
		{"domain", variant.Shape{Domain: "corp.example", TrustDomain: "mesh.example"}, func(f *mesh.Fleet, nodes []node) (got, want any) {
			return []bool{f.Domain == "corp.example", f.TrustDomain == "mesh.example",
				strings.Contains(nodes[1].render("kind.yaml"), "dnsDomain: corp.example"),
				strings.Contains(nodes[1].render("Corefile"), "kubernetes corp.example in-addr.arpa")}, []bool{true, true, true, true}
		}},
		{"revision", variant.Shape{Revision: "stable"}, func(f *mesh.Fleet, _ []node) (got, want any) {
			return []string{f.Clusters[0].Revision, f.Clusters[1].Revision}, []string{"stable", "stable"}
		}},
		{"replicas", variant.Shape{Replicas: 2}, func(f *mesh.Fleet, _ []node) (got, want any) { return f.Replicas, int32(2) }},
		{"strict", variant.Shape{Strict: true}, func(f *mesh.Fleet, _ []node) (got, want any) { return f.Strict, true }},
		{"restricted", variant.Shape{PodSecurity: "restricted"}, func(f *mesh.Fleet, _ []node) (got, want any) {
			return f.PodSecurity, "restricted"
		}},
		{"regions", variant.Shape{OneLocality: true}, func(f *mesh.Fleet, _ []node) (got, want any) {
			a, b := f.Clusters[0], f.Clusters[1]
			return []string{b.Region, b.Zone}, []string{a.Region, a.Zone}
		}},
		{"nodes", variant.Shape{Nodes: 2}, func(f *mesh.Fleet, nodes []node) (got, want any) {
			k := f.Clusters[1].Kind
			return append([]string{nodes[3].Host, nodes[3].Families[0].PodRange}, append(k.Nodes, k.WorkerIPs...)...), []string{
				"amc-r1-c2-worker", "10.10.1.0/24", "amc-r1-c2-control-plane", "amc-r1-c2-worker", "10.89.16.22"}
		}},
		{"single-network", variant.Shape{Networks: 1}, func(f *mesh.Fleet, _ []node) (got, want any) {
			a, b := f.Clusters[0], f.Clusters[1]
			return []any{f.OneNetwork(), a.Network, b.Network, a.PodCIDR, b.PodCIDR},
				[]any{true, "network1", "network1", "10.10.0.0/16", "10.20.0.0/16"}
		}},
		{"shared-network", variant.Shape{Networks: 2}, func(f *mesh.Fleet, _ []node) (got, want any) {
			a, b, c := f.Clusters[0], f.Clusters[1], f.Clusters[2]
			return []any{f.OneNetwork(), a.Network, b.Network, c.Network, b.PodCIDR, c.PodCIDR, b.Kind.Network == c.Kind.Network},
				[]any{false, "network1", "network2", "network2", "10.20.0.0/16", "10.30.0.0/16", true}
		}},
		{"primary-remote", variant.Shape{Remote: true}, func(f *mesh.Fleet, nodes []node) (got, want any) {
			a, b := f.Clusters[0], f.Clusters[1]
			return []string{a.Primary, a.IstiodAddress, nodes[0].GatewayPorts(), b.Primary, b.IstiodAddress, nodes[1].GatewayPorts()},
				[]string{"", "10.89.16.109", "15008, 15012, 15017, 15021", "cluster1", "", "15008, 15021"}
		}},
		{"dual-stack", variant.Shape{DualStack: true, Nodes: 2}, func(f *mesh.Fleet, nodes []node) (got, want any) {
			v6 := nodes[1].Families[1]
			return []string{f.Clusters[0].PodCIDR, f.Clusters[0].ServiceCIDR, v6.PodRange, v6.Network, v6.GatewayPool, v6.Peers[0]}, []string{
				"10.10.0.0/16,fdac:0:a0a::/48", "10.110.0.0/16,fdac:0:a6e::/112", "fdac:0:a0a:1::/64", "fdac:0:a59:11::/64",
				"fdac:0:a59:10::64-fdac:0:a59:10::6d", "fdac:0:a0a::/64"}
		}},
		{"larger", variant.Shape{Unlisted: 1}, func(f *mesh.Fleet, nodes []node) (got, want any) {
			return []int{len(f.Clusters), len(f.Unlisted), len(nodes), len(nodes[0].Families[0].Fleet)}, []int{2, 1, 3, 6}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, nodes := laidOut(t, Options{Clusters: max(2, c.shape.Networks+1), Shape: c.shape, Variants: []string{c.name}})
			got, want := c.check(f, nodes)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff([]string{c.name}, f.Variants); d != "" {
				t.Errorf("variants (-want +got):\n%s", d)
			}
		})
	}
}

func TestLayer(t *testing.T) {
	_, nodes := laidOut(t, Options{})
	r, err := layer(files(nodes))
	if err != nil {
		t.Fatal(err)
	}
	modes, links := map[string]int64{}, map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeSymlink {
			links[h.Name] = h.Linkname
		} else {
			modes[h.Name] = h.Mode
		}
	}
	for path, mode := range map[string]int64{
		"etc/systemd/system/amc-firewall.service":           0o644,
		"usr/local/sbin/getent":                             0o755,
		"etc/amc/amc-r1-c1-control-plane/firewall.nft":      0o644,
		"etc/amc/amc-r1-c2-control-plane/10-amc.conflist":   0o644,
		"etc/amc/kubeadm/kube-apiserver0+strategic.yaml":    0o644,
		"etc/amc/kubeadm/corednsdeployment0+strategic.yaml": 0o644,
		"etc/amc/coredns/Corefile":                          0o644,
	} {
		t.Run(path, func(t *testing.T) {
			if got, there := modes[path]; !there {
				t.Errorf("%s is not there", path)
			} else if got != mode {
				t.Errorf("got mode %o, want %o", got, mode)
			}
		})
	}
	// No pod may run before the firewall is in force.
	for _, unit := range []string{"containerd.service", "kubelet.service"} {
		if to := links["etc/systemd/system/"+unit+".requires/amc-firewall.service"]; to != "/etc/systemd/system/amc-firewall.service" {
			t.Errorf("%s does not require the firewall: link is %q", unit, to)
		}
	}
}

func TestRunIDs(t *testing.T) {
	for range 100 {
		if err := CheckRunID(NewRunID()); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "A1", "a-b", "a b", "../x", "abcdefghijklm", "é"} {
		t.Run(bad, func(t *testing.T) {
			if CheckRunID(bad) == nil {
				t.Errorf("%q is taken for a run id", bad)
			}
		})
	}
}

func TestChooseBlock(t *testing.T) {
	use := func(p string) taken { return taken{netip.MustParsePrefix(p), "it"} }
	for _, c := range []struct {
		name, asked string
		busy        []taken
		want, err   string
	}{
		{"all free", "", nil, "10.89.0.0/20", ""},
		{"first in use", "", []taken{use("10.89.3.0/24")}, "10.89.16.0/20", ""},
		{"a VPN has 10/8", "", []taken{use("10.0.0.0/8")}, "172.29.0.0/20", ""},
		{"all in use", "", []taken{use("10.0.0.0/8"), use("172.16.0.0/12"), use("192.168.0.0/16")}, "", "it 172.16.0.0/12"},
		{"asked, free", "10.5.0.0/20", []taken{use("10.5.16.0/24")}, "10.5.0.0/20", ""},
		{"asked, busy", "10.5.0.0/20", []taken{use("10.5.15.0/24")}, "", "in use: it uses 10.5.15.0/24"},
		{"asked, inside a route", "10.5.0.0/20", []taken{use("10.0.0.0/8")}, "", "in use"},
		{"asked, wrong size", "10.5.0.0/24", nil, "", "not an IPv4 range of /20"},
		{"asked, host bits", "10.5.1.0/20", nil, "", "not an IPv4 range of /20"},
		{"asked, IPv6", "fd00::/20", nil, "", "not an IPv4 range of /20"},
		{"asked, nonsense", "ten", nil, "", "not an IPv4 range of /20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := chooseBlock(c.asked, c.busy)
			if c.err != "" {
				if !strings.Contains(fmt.Sprint(err), c.err) {
					t.Errorf("got %v, %v, want an error with %q", b, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if got := b.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestCandidatesAreApart(t *testing.T) {
	all := candidates()
	for i, b := range all {
		if !b.Addr().IsPrivate() {
			t.Errorf("%s is not a private range", b)
		}
		if b.Masked() != b.Prefix {
			t.Errorf("got %s, want %s: a range begins at its first address", b, b.Masked())
		}
		for _, of := range []string{"10.10.0.0/16", "10.110.0.0/16"} {
			if b.Overlaps(netip.MustParsePrefix(of)) {
				t.Errorf("%s overlaps with pods' or services' %s", b, of)
			}
		}
		for _, o := range all[:i] {
			if b.Overlaps(o.Prefix) {
				t.Errorf("%s and %s overlap", b, o)
			}
		}
	}
}

func TestParseRoutes(t *testing.T) {
	got := parseRoutes(`Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
tun0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
broken
`)
	var s []string
	for _, r := range got {
		s = append(s, r.by+" "+r.Prefix.String())
	}
	if diff := cmp.Diff([]string{"host route on tun0 10.0.0.0/8", "host route on docker0 172.17.0.0/16"}, s); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestBusy(t *testing.T) {
	d := &fakeDocker{networks: []object{{name: "lab-net1", subnet: "10.89.1.0/24"}, {name: "host"}}}
	got, err := busy(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(got, func(b taken) bool { return b.by == "container network lab-net1" && b.String() == "10.89.1.0/24" }) {
		t.Errorf("the engine's network is missing in %v", got)
	}
	if slices.ContainsFunc(got, func(b taken) bool { return b.Bits() == 0 }) {
		t.Errorf("a default route is no use of an address: %v", got)
	}
}

// object is one thing in the fake engine.
type object struct{ name, run, from, subnet string }

// fakeDocker keeps lists and removes from them, as far as Down needs it.
type fakeDocker struct {
	containers, networks, images []object
	late                         func(*fakeDocker) // called after each rm, as commands of a killed Up may still finish
	stuck                        bool              // networks cannot be removed
	calls                        []string
}

func (d *fakeDocker) list(kind string) *[]object {
	switch kind {
	case "ps", "container", "rm":
		return &d.containers
	case "network":
		return &d.networks
	default:
		return &d.images
	}
}

func (d *fakeDocker) Output(_ context.Context, args ...string) (string, error) {
	d.calls = append(d.calls, strings.Join(args, " "))
	list := d.list(args[0])
	switch {
	case args[0] == "ps" || args[0] == "images" || args[1] == "ls":
		var out []string
		filter := ""
		if i := slices.Index(args, "--filter"); i >= 0 {
			filter = strings.TrimPrefix(args[i+1], "label="+LabelRun)
		}
		for _, o := range *list {
			if strings.Contains(strings.Join(args, " "), "--filter") && (o.run == "" || filter != "" && filter != "="+o.run) {
				continue
			}
			out = append(out, o.name)
		}
		return strings.Join(out, "\n"), nil
	case args[1] == "inspect":
		var out []string
		for _, id := range args[4:] {
			for _, o := range *list {
				switch {
				case o.name != id:
				case strings.Contains(args[3], ".Subnet"):
					out = append(out, o.name+" "+o.subnet)
				default:
					out = append(out, o.name+separator+o.run+separator+o.from)
				}
			}
		}
		return strings.Join(out, "\n"), nil
	case args[0] == "rm" || args[0] == "rmi" || args[1] == "rm":
		if d.stuck && args[0] == "network" {
			return "", errors.New("network has active endpoints")
		}
		*list = slices.DeleteFunc(*list, func(o object) bool { return slices.Contains(args, o.name) })
		if d.late != nil {
			d.late(d)
		}
		return "", nil
	}
	return "", fmt.Errorf("unexpected docker %s", args)
}

func populated() *fakeDocker {
	return &fakeDocker{
		containers: []object{
			{name: "amc-r1-c1-control-plane", run: "r1"},
			{name: "amc-r1-c2-control-plane", run: "r1"},
			{name: "amc-r2-c1-control-plane", run: "r2"},
			{name: "amc-r1-c3-control-plane"},     // the name without the label
			{name: "postgres", run: "r1"},         // the label without the name
			{name: "amc-r11-x", run: "r1"},        // a name that begins alike
			{name: "c1-control-plane", run: "r1"}, // kind's own
		},
		networks: []object{
			{name: "amc-r1-net1", run: "r1"}, {name: "amc-r1-transit", run: "r1"}, {name: "amc-r2-transit", run: "r2"},
			{name: "kind"},
		},
		images: []object{{name: "amc-r1-node:latest", run: "r1"}, {name: "amc-r2-node:latest", run: "r2"}, {name: "node:1"}},
	}
}

func names(lists ...[]object) (all []string) {
	for _, l := range lists {
		for _, o := range l {
			all = append(all, o.name)
		}
	}
	return all
}

func discardItem() progress.Item { return progress.Discard.Phase("", 0).Item("") }

func TestRemoveOnlyWhatCarriesTheRun(t *testing.T) {
	d := populated()
	d.images[0].name = "amc-r1-node" // the fake removes by the name it is called by
	some, err := removeRun(context.Background(), d, "r1", t.TempDir(), discardItem())
	if err != nil {
		t.Fatal(err)
	}
	if !some {
		t.Fatal("nothing of the run was found")
	}
	want := []string{
		"amc-r2-c1-control-plane", "amc-r1-c3-control-plane", "postgres", "amc-r11-x", "c1-control-plane", "amc-r2-transit",
		"kind", "amc-r2-node:latest", "node:1",
	}
	if diff := cmp.Diff(want, names(d.containers, d.networks, d.images)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	for _, c := range d.calls {
		if strings.HasPrefix(c, "rm ") && !strings.Contains(c, " -v") {
			t.Errorf("volumes are left by %q", c)
		}
	}
	if some, err := removeRun(context.Background(), d, "r1", t.TempDir(), discardItem()); err != nil {
		t.Errorf("a second time: %v", err)
	} else if some {
		t.Error("a second time found something")
	}
}

func TestRemoveWaitsForStragglers(t *testing.T) {
	d, left := populated(), 2
	d.images = nil
	d.late = func(d *fakeDocker) {
		if left > 0 {
			left--
			d.containers = append(d.containers, object{name: fmt.Sprintf("amc-r1-late%d", left), run: "r1"})
		}
	}
	if _, err := removeRun(context.Background(), d, "r1", t.TempDir(), discardItem()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(d.containers), " "); strings.Contains(got, "late") {
		t.Errorf("left behind: %s", got)
	}
}

func TestRemoveSaysWhatIsStuck(t *testing.T) {
	d := populated()
	d.stuck = true
	_, err := removeRun(context.Background(), d, "r1", t.TempDir(), discardItem())
	if want := "active endpoints"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestRemoveNodeOfAnotherRun(t *testing.T) {
	d := dockerFunc(func(args ...string) (string, error) {
		if args[0] == "container" {
			return "r2\n", nil
		}
		t.Errorf("docker %s", args)
		return "", nil
	})
	if err := removeNode(context.Background(), d, "r1", "amc-r1-c1-control-plane"); err == nil {
		t.Error("a container of another run must be left alone")
	}
}

type dockerFunc func(args ...string) (string, error)

func (f dockerFunc) Output(_ context.Context, args ...string) (string, error) { return f(args...) }

func TestDeadRuns(t *testing.T) {
	alive, dead, other, broken := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	save := func(dir, run string) {
		f := &mesh.Fleet{
			RunID: run, Provider: mesh.ProviderKind,
			Clusters: []*mesh.Cluster{{Name: "cluster1", Network: "network1", Kubeconfig: "k"}},
		}
		if err := f.Save(filepath.Join(dir, FleetFile)); err != nil {
			t.Fatal(err)
		}
	}
	save(alive, "r1")
	save(other, "r9")
	if err := os.WriteFile(filepath.Join(broken, FleetFile), []byte("apiVersion: amc.ambient.test/v9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &fakeDocker{networks: []object{
		{name: "amc-r1-transit", run: "r1", from: from(alive)},
		{name: "amc-r2-transit", run: "r2", from: from(dead)},
		{name: "amc-r3-transit", run: "r3", from: from(other)},
		{name: "amc-r4-transit", run: "r4", from: from(broken)},
		{name: "amc-r5-transit", run: "r5", from: "elsewhere:" + dead},
		{name: "amc-r6-transit", run: "r6"},
	}}
	got, err := runs(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"r1": false, "r2": true, "r3": true, "r4": false, "r5": false, "r6": false}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for _, r := range got {
		if r.Dead != want[r.ID] {
			t.Errorf("run %s from %q: dead %v, want %v", r.ID, r.From, r.Dead, want[r.ID])
		}
	}
}

func TestForget(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write := func(path string) string {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine, users := write(filepath.Join(dir, "kubeconfigs", "cluster1.yaml")), write(filepath.Join(elsewhere, "config"))
	key := write(filepath.Join(dir, "ca", "root-key.pem"))
	report := write(filepath.Join(dir, "report.yaml"))
	f := &mesh.Fleet{RunID: "r1", Provider: mesh.ProviderKind, CADir: filepath.Dir(key), Clusters: []*mesh.Cluster{
		{Name: "cluster1", Network: "network1", Kubeconfig: mine}, {Name: "cluster2", Network: "network2", Kubeconfig: users}}}
	if err := f.Save(filepath.Join(dir, FleetFile)); err != nil {
		t.Fatal(err)
	}
	if was, err := forget(dir, "r2"); err != nil {
		t.Fatalf("the folder of another run: %v", err)
	} else if was {
		t.Fatal("the folder of another run was forgotten")
	}
	if was, err := forget(dir, "r1"); err != nil {
		t.Fatal(err)
	} else if !was {
		t.Fatal("the run's own folder was not forgotten")
	}
	for path, want := range map[string]bool{mine: false, key: false, filepath.Join(dir, FleetFile): false, users: true, report: true} {
		t.Run(path, func(t *testing.T) {
			if _, err := os.Stat(path); (err == nil) != want {
				t.Errorf("there is %v, want %v", err == nil, want)
			}
		})
	}
}

func TestDownNeedsToKnowWhat(t *testing.T) {
	dir := t.TempDir()
	f := &mesh.Fleet{
		RunID: "r1", Provider: mesh.ProviderExisting,
		Clusters: []*mesh.Cluster{{Name: "cluster1", Network: "network1", Kubeconfig: "k"}},
	}
	if err := f.Save(filepath.Join(dir, FleetFile)); err != nil {
		t.Fatal(err)
	}
	e := &engine.Engine{Host: "unix:///nowhere.sock"}
	_, err := Down(context.Background(), DownOptions{Dir: dir, Engine: e})
	if want := "did not create"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("a fleet of somebody else's: got %v, want %q", err, want)
	}
	if _, err := Down(context.Background(), DownOptions{RunID: "No!", Engine: e}); err == nil {
		t.Error("a bad run id is accepted")
	}
	if removed, err := Down(context.Background(), DownOptions{Dir: t.TempDir(), Engine: e}); err != nil {
		t.Errorf("nothing to remove is no error: %v", err)
	} else if len(removed) > 0 {
		t.Errorf("nothing to remove: got %v", removed)
	}
	if err := os.WriteFile(filepath.Join(dir, FleetFile), []byte("}{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Down(context.Background(), DownOptions{Dir: dir, Engine: e})
	if want := "amc down --run"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("a malformed fleet file: got %v, want %q", err, want)
	}
}

func TestHealthNamesWhatIsWrong(t *testing.T) {
	f, _ := laidOut(t, Options{})
	c := f.Clusters[0]
	c.Kubeconfig = filepath.Join(t.TempDir(), "none")
	err := healthy(context.Background(), populated(), f, c)
	for _, want := range []string{"never finished", "cluster1"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("no kubeconfig: got %v, want it to say %q", err, want)
		}
	}
	if err := os.WriteFile(c.Kubeconfig, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, answer := range map[string]dockerFunc{
		"cluster1 is gone":          func(...string) (string, error) { return "", errors.New("Error: No such container: x") },
		"does not belong to run r1": func(...string) (string, error) { return "r2 true amc-r1-transit,\n", nil },
		"not on the transit":        func(...string) (string, error) { return "r1 true amc-r1-net1,\n", nil },
		"stopped and does not start": func(args ...string) (string, error) {
			if args[0] == "start" {
				return "", errors.New("no space")
			}
			return "r1 false amc-r1-net1,amc-r1-transit,\n", nil
		},
	} {
		t.Run(want, func(t *testing.T) {
			err := healthy(context.Background(), answer, f, c)
			for _, want := range []string{want, "amc down"} {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("got %v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestPlanRefusesBeforeAnythingIsMade(t *testing.T) {
	e := &engine.Engine{Host: "unix:///nowhere.sock"}
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, FleetFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	image := map[string]mesh.ImageRef{"node": {Ref: "x"}}
	for want, o := range map[string]Options{
		"run id":        {RunID: "B@d", Images: image},
		"1 to 9":        {Clusters: 10, Images: image},
		"no node image": {},
	} {
		t.Run(want, func(t *testing.T) {
			o.Engine, o.Dir = e, t.TempDir()
			if _, err := Up(context.Background(), o); !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if left, _ := os.ReadDir(o.Dir); len(left) > 0 {
				t.Errorf("something was made: %v", left)
			}
		})
	}
}

func TestChildEndsWithoutOrder(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	old := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = old }()
	if err := ChildMain(nil); !strings.Contains(fmt.Sprint(err), ChildEnv) {
		t.Errorf("got %v, want it to say %s", err, ChildEnv)
	}
}

func TestMain(m *testing.M) {
	// As the child of a test of runChild: say some stages, then do as the request's cluster name says.
	if os.Getenv(ChildEnv) != "" {
		childOfTest()
	}
	os.Exit(m.Run())
}

// childOfTest stands in for ChildMain: it speaks its protocol.
func childOfTest() {
	var b [4096]byte
	n, _ := os.Stdin.Read(b[:])
	switch line := string(b[:n]); {
	case strings.Contains(line, `"fails"`):
		fmt.Println(`{"Stage":"Preparing nodes"}`)
		fmt.Println(`{"Error":"boom","Tail":"why"}`)
		os.Exit(1)
	case strings.Contains(line, `"hangs"`):
		fmt.Println(`{"Stage":"Preparing nodes"}`)
		_, _ = io.Copy(io.Discard, os.Stdin)
		select {}
	default:
		fmt.Println(`{"Stage":"` + os.Getenv(networkEnv) + `"}`)
		os.Exit(0)
	}
}

func TestCreate(t *testing.T) {
	req := func(name string) request {
		return request{Cluster: name, Kubeconfig: filepath.Join(t.TempDir(), "k", "c"), Log: filepath.Join(t.TempDir(), "l", "log")}
	}
	e := &engine.Engine{Host: "unix:///nowhere.sock"}
	var stages []string
	if err := runChild(context.Background(), e, "net7", req("fine"), func(s string) { stages = append(stages, s) }); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"net7"}, stages); diff != "" {
		t.Errorf("the child must see its network (-want +got):\n%s", diff)
	}
	var f *failure
	err := runChild(context.Background(), e, "", req("fails"), func(string) {})
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a child's failure", err)
	}
	if want := "Preparing nodes"; f.stage != want {
		t.Errorf("got stage %q, want %q", f.stage, want)
	}
	if want := "boom: why"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to say %q", err, want)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Minute, errors.New("too long"))
	defer cancel()
	err = runChild(ctx, e, "", req("hangs"), func(string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
