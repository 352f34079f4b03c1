package kind

import (
	"archive/tar"
	"bytes"
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/template"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/framework/mesh"
)

// The suite adds its own files to the node image as one more layer. So they are present at every
// boot, whoever restarts the node, and whether the image was pulled or built. The layer also gives
// every container created from it the run's labels.

//go:embed all:nodefiles/rootfs
var rootfs embed.FS

//go:embed node.tmpl
var nodeTemplates string

var templates = template.Must(template.New("").Option("missingkey=error").
	Funcs(template.FuncMap{"join": func(all []string) string { return strings.Join(all, ", ") }}).Parse(nodeTemplates))

// Ports that a node opens on its container networks.
const (
	apiServerPort = 6443
	hbonePort     = 15008 // of an east-west gateway
	statusPort    = 15021 // of an east-west gateway
)

// node is the input of the templates for one node.
type node struct {
	*mesh.Cluster
	Host        string // name of the container and of the node
	TransitIP   string
	Families    []family // of its addresses: IPv4, and in a fleet of both IPv6
	Peers       []string // hosts to whose pods it has a route
	Image       string
	Domain      string // DNS domain of the cluster
	MTU         int
	CgroupV1    bool // kubelet refuses cgroup v1 unless configured otherwise
	ShortOfCaps bool // CAP_SYS_RESOURCE is missing, so kubelet must not insist on limits that it cannot raise
}

// GatewayPorts are the ports of gateways that other networks may call, as nft lists them.
func (n node) GatewayPorts() string { return portList(gatewayPorts(n.Cluster)) }

// HBONEPort is the port of a gateway to which ztunnels connect.
func (node) HBONEPort() int { return hbonePort }

// family is what a node has of one address family.
type family struct {
	IP             string   // as nft calls it: ip or ip6
	Pods, Services string   // ranges of the cluster
	PodRange       string   // of this node, within Pods
	Network        string   // range of the cluster's own container network
	GatewayPool    string   // first-last
	Fleet          []string // transit addresses that pods of the fleet may call: nodes and gateways
	Peers          []string // ranges of the pods to which the node has a route
}

// Type is the family's type of addresses, as nft calls it.
func (f family) Type() string {
	if f.IP == "ip6" {
		return "ipv6_addr"
	}
	return "ipv4_addr"
}

// Default is the range of all addresses of the family.
func (f family) Default() string {
	if f.IP == "ip6" {
		return "::/0"
	}
	return "0.0.0.0/0"
}

// render executes one template of node.tmpl.
func (n node) render(name string) string {
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, name, n); err != nil {
		panic(err) // templates and their data are ours: a test renders all of them
	}
	return b.String()
}

// files returns the files added to the node image, by path: the unit files, and a folder for each
// node, named after its host name.
func files(nodes []node) map[string]string {
	all := map[string]string{}
	const root = "nodefiles/rootfs/"
	err := fs.WalkDir(rootfs, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := rootfs.ReadFile(path)
		all[strings.TrimPrefix(path, root)] = string(b)
		return err
	})
	if err != nil {
		panic(err) // embedded
	}
	for target, patch := range kubeadmPatches {
		all["etc/amc/kubeadm/"+target] = patch
	}
	for _, n := range nodes {
		dir := "etc/amc/" + n.Host + "/"
		all["etc/amc/coredns/Corefile"] = n.render("Corefile") // the same on all nodes
		all[dir+"firewall.nft"] = n.render("firewall.nft")
		all[dir+"10-amc.conflist"] = n.render("conflist")
	}
	return all
}

// enabled maps a unit to the units that must not start before it has run.
var enabled = map[string][]string{"amc-firewall.service": {"containerd.service", "kubelet.service"}}

// kubeadmPatches keep the control plane small: kubeadm's CPU requests (850m) would fill a two-core
// node before the mesh is installed, and a fleet in which nothing happens must leave the processors to
// those in which something does. etcd does not have to survive a power cut, so it does not wait for the
// disk; it has no other members that wait for its heartbeat; and nobody else would lead in the place of
// the controllers, so they need no lease. The kubelet need not ask the API server each second whether it
// is ready.
var kubeadmPatches = map[string]string{
	"etcd0+strategic.yaml":                    little("etcd"),
	"etcd1+json.yaml":                         flags("--unsafe-no-fsync=true", "--heartbeat-interval=500", "--election-timeout=2500"),
	"kube-apiserver0+strategic.yaml":          little("kube-apiserver"),
	"kube-apiserver1+json.yaml":               `[{"op": "replace", "path": "/spec/containers/0/readinessProbe/periodSeconds", "value": 5}]`,
	"kube-controller-manager0+strategic.yaml": little("kube-controller-manager"),
	"kube-controller-manager1+json.yaml":      flags("--leader-elect=false"),
	"kube-scheduler0+strategic.yaml":          little("kube-scheduler"),
	"kube-scheduler1+json.yaml":               flags("--leader-elect=false"),
	"corednsdeployment0+strategic.yaml": `spec:
  replicas: 1
  template:
    spec:
      containers: [{name: coredns, resources: {requests: {cpu: 10m}}}]
      volumes: [{name: config-volume, configMap: null, hostPath: {path: /etc/amc/coredns}}]
`,
}

// little is a control plane's container with a small request. On one thread Go's scheduler does not wake
// idle ones at each event; and garbage is collected after more of it, since memory is plenty.
func little(container string) string {
	return fmt.Sprintf(`spec:
  containers:
  - name: %s
    resources: {requests: {cpu: 10m}}
    env: [{name: GOMAXPROCS, value: "1"}, {name: GOGC, value: "400"}]
`, container)
}

// flags adds flags to the ones that kubeadm gives; of one that is there twice, the last counts.
func flags(all ...string) string {
	var ops []string
	for _, f := range all {
		ops = append(ops, fmt.Sprintf(`{"op": "add", "path": "/spec/containers/0/command/-", "value": %q}`, f))
	}
	return "[" + strings.Join(ops, ", ") + "]"
}

// layer returns a tar archive of the files and of the links that enable the units.
func layer(files map[string]string) (io.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		mode := int64(0o644)
		if strings.HasPrefix(files[path], "#!") {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Size: int64(len(files[path])), Mode: mode}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, files[path]); err != nil {
			return nil, err
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(enabled)) {
		for _, by := range enabled[unit] {
			link := tar.Header{
				Typeflag: tar.TypeSymlink, Name: "etc/systemd/system/" + by + ".requires/" + unit,
				Linkname: "/etc/systemd/system/" + unit, Mode: 0o777,
			}
			if err := w.WriteHeader(&link); err != nil {
				return nil, err
			}
		}
	}
	return &b, w.Close()
}

// buildNodeImage builds the run's node image: the given image, our files on top, and the run's
// labels, which containers inherit. It takes about 0.3 s.
func buildNodeImage(ctx context.Context, e *engine.Engine, run, dir, image string, nodes []node) error {
	archive, err := layer(files(nodes))
	if err != nil {
		return err
	}
	name := prefix(run) + "build"
	label := func(key, value string) string { return fmt.Sprintf("LABEL %s=%q", key, value) }
	_, err = e.Output(ctx, "create", "--pull=never", "--name", name,
		"--label", LabelRun+"="+run, "--label", LabelFrom+"="+from(dir), image)
	if err != nil {
		return fmt.Errorf("the engine does not have the node image %s: %w: run `amc images build` or `amc images list`", image, err)
	}
	if _, err := e.Feed(ctx, archive, "cp", "-", name+":/"); err != nil {
		return err
	}
	_, err = e.Output(ctx, "commit", "--change", label(LabelRun, run), "--change", label(LabelFrom, from(dir)), name, imageName(run))
	if err != nil {
		return err
	}
	_, err = e.Output(ctx, "rm", "-v", name)
	return err
}
