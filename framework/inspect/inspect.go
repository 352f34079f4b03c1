// Package inspect reads the facts of a cluster and of the mesh in it: versions, istiod's flags,
// mesh configuration, domains, revisions, network, gateways, nodes, node proxies, images.
//
// It is the only reader of these facts, so that all callers see a cluster by the same rules. It
// changes nothing and works on clusters of any provider. It does not judge either: a part that is
// missing is empty here, and framework/preflight says what that means.
package inspect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"istio.io/api/label"
	"istio.io/istio/pkg/config/constants"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
)

// Limit bounds the reading of one cluster: a laptop may be far from a cloud, but a cluster that
// does not answer should be named soon.
const Limit = 10 * time.Second

// DefaultDomain is the DNS domain and the trust domain of a cluster that does not name another.
const DefaultDomain = constants.DefaultClusterLocalDomain

// ServiceCIDRName is the object that an API server makes of its own --service-cluster-ip-range.
const ServiceCIDRName = "kubernetes"

// rootBundle is the ConfigMap that istiod writes its root certificates to, in every namespace.
const rootBundle = "istio-ca-root-cert"

// Where is how messages name a cluster, and the kubectl command that reaches it.
type Where struct{ Name, Kubectl string }

// At is where a cluster of a fleet is.
func At(c *mesh.Cluster) Where { return Where{c.Name, c.Kubectl()} }

// Cluster holds the facts of one cluster.
type Cluster struct {
	Where       Where
	UID         types.UID // of the namespace kube-system: no two clusters share it
	Kubernetes  string    // version of the API server
	ServiceCIDR string    // empty when the API server does not tell it
	Nodes       []Node

	HasGatewayAPI bool   // the Gateway API is served
	GatewayAPI    string // bundle version and channel of its CRDs; empty when unknown

	Network   string   // network label of the namespace istio-system
	Revisions []string // of the istiods that run, sorted; empty when none runs
	Revision  string   // the one whose settings follow: default, or else the first
	Istio     string   // the version that istiod reports
	Name      string   // cluster name in the mesh: CLUSTER_ID of istiod

	Flags         map[string]string // environment of istiod with literal values: the feature flags
	MeshConfig    map[string]any
	Domain        string // DNS domain of the cluster
	TrustDomain   string
	RootNamespace string   // policies in it apply to the whole mesh
	Roots         []string // SHA-256 of each root certificate that istiod distributes; sorted

	GatewayClass string    // class of the gateways that follow, as the fleet file says or Istio's
	Gateways     []Gateway // east-west gateways
	Ztunnels     []Ztunnel
	Images       []Image           // what the parts of the mesh run
	Running      map[string]string // "workload/container" in istio-system -> the image ID that its newest pod runs
}

// Node holds the facts of one node.
type Node struct {
	Name, OS, Kernel, Arch, Runtime string
	Region, Zone                    string
	Schedulable                     bool // pods can be placed on it: it is Ready and not cordoned
}

// Gateway holds the facts of one east-west gateway.
type Gateway struct {
	Namespace, Name string
	Network         string // its network label
	Programmed      bool
	Why             string // why it is not programmed, as its status says
	Addresses       []string
}

// Ztunnel is one pod of the node proxy.
type Ztunnel struct {
	Pod, Node      string
	Network        string // the one that it is told it is on
	Running, Ready bool
}

// ServerVersion asks the API server for its version. That needs no rights, so it tells whether the
// server can be reached at all. The error says why it cannot, and what to type.
func ServerVersion(ctx context.Context, at Where, c *mesh.Cluster) (string, error) {
	config, err := c.Config()
	if err != nil {
		return "", err
	}
	config.Timeout = Limit
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return "", err
	}
	b, err := d.RESTClient().Get().AbsPath("/version").Do(ctx).Raw() // Discovery.ServerVersion takes no context
	if err != nil {
		return "", unreachable(at, config.Host, err)
	}
	var v version.Info
	if err := json.Unmarshal(b, &v); err != nil {
		return "", fmt.Errorf("API server %s answers /version with something else than a version: %w", config.Host, err)
	}
	return v.GitVersion, nil
}

func unreachable(at Where, server string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("API server %s does not know our credentials: %w: log in again, then try `%s version`", server, err, at.Kubectl)
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return fmt.Errorf("API server %s does not answer within %s: see whether the cluster runs and can be reached from here: `%s version`",
			server, Limit, at.Kubectl)
	}
	return fmt.Errorf("API server %s cannot be reached: %w: see whether the cluster runs: `%s version`", server, err, at.Kubectl)
}

// Read reads the facts of a cluster of a fleet. The error does not name the cluster.
func Read(ctx context.Context, c *mesh.Cluster) (*Cluster, error) { return ReadAt(ctx, At(c), c) }

// ReadAt is Read for a cluster that messages name in another way than its fleet file does.
func ReadAt(ctx context.Context, at Where, c *mesh.Cluster) (*Cluster, error) {
	kubernetes, err := ServerVersion(ctx, at, c)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(); err != nil {
		return nil, err
	}
	f, err := objects(ctx, at, c.EastWestClass(), c.Client())
	if err != nil {
		return nil, err
	}
	f.Kubernetes = kubernetes
	if len(f.Revisions) > 0 {
		if f.Istio, err = istiod.Version(ctx, c); err != nil {
			return nil, fmt.Errorf("istiod does not say its version: %w", err)
		}
	}
	return f, nil
}

// objects reads what the API server's objects say.
func objects(ctx context.Context, at Where, class string, r client.Reader) (*Cluster, error) {
	fault := func(what string, err error) error {
		if apierrors.IsForbidden(err) {
			return fmt.Errorf("no right to read %s: %w: give it the rights that `amc rbac` prints", what, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	f := &Cluster{Where: at, GatewayClass: class, Domain: DefaultDomain, TrustDomain: DefaultDomain, RootNamespace: istiod.Namespace}
	var ns, system corev1.Namespace
	if err := r.Get(ctx, client.ObjectKey{Name: istiod.Namespace}, &ns); apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no namespace %s: Istio is not installed there, or not where this suite looks", istiod.Namespace)
	} else if err != nil {
		return nil, fault("namespace "+istiod.Namespace, err)
	}
	f.Network = ns.Labels[label.TopologyNetwork.Name]
	if err := r.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return nil, fault("namespace "+metav1.NamespaceSystem, err)
	}
	f.UID = system.UID
	var pods, gatewayPods corev1.PodList
	if err := r.List(ctx, &pods, client.InNamespace(istiod.Namespace)); err != nil {
		return nil, fault("pods in "+istiod.Namespace, err)
	}
	if err := r.List(ctx, &gatewayPods, client.MatchingLabels{gateway.GatewayClassNameLabelKey: class}); err != nil {
		return nil, fault("pods of east-west gateways", err)
	}
	var nodes corev1.NodeList
	if err := r.List(ctx, &nodes); err != nil {
		return nil, fault("nodes", err)
	}
	for _, n := range nodes.Items {
		f.Nodes = append(f.Nodes, nodeOf(&n))
	}
	f.Ztunnels = ztunnels(pods.Items)
	f.Images = imagesOf(class, append(slices.Clone(pods.Items), gatewayPods.Items...), nodes.Items)
	f.Running = running(pods.Items)
	if err := f.readControlPlane(ctx, r, pods.Items, fault); err != nil {
		return nil, err
	}
	if err := f.readGateways(ctx, r, class, fault); err != nil {
		return nil, err
	}
	// An API server tells its service range from Kubernetes 1.33 on, and only to those who may ask.
	var services networkingv1.ServiceCIDR
	if err := r.Get(ctx, client.ObjectKey{Name: ServiceCIDRName}, &services); optional(err) != nil {
		return nil, fault("ServiceCIDR "+ServiceCIDRName, err)
	}
	f.ServiceCIDR = strings.Join(services.Spec.CIDRs, ",")
	return f, nil
}

// optional passes over what a cluster does not have or does not show.
func optional(err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

func nodeOf(n *corev1.Node) Node {
	i := n.Status.NodeInfo
	x := Node{Name: n.Name, OS: i.OperatingSystem, Kernel: i.KernelVersion, Arch: i.Architecture, Runtime: i.ContainerRuntimeVersion,
		Region: n.Labels[corev1.LabelTopologyRegion], Zone: n.Labels[corev1.LabelTopologyZone]}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			x.Schedulable = c.Status == corev1.ConditionTrue && !n.Spec.Unschedulable
		}
	}
	return x
}

func alive(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil
}

func ztunnels(pods []corev1.Pod) (all []Ztunnel) {
	for _, p := range pods {
		if p.Labels["app"] != "ztunnel" {
			continue
		}
		z := Ztunnel{Pod: p.Name, Node: p.Spec.NodeName, Running: alive(&p)}
		for _, c := range p.Spec.Containers {
			for _, e := range c.Env {
				if e.Name == "NETWORK" {
					z.Network = e.Value
				}
			}
		}
		for _, c := range p.Status.Conditions {
			z.Ready = z.Ready || z.Running && c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}
		all = append(all, z)
	}
	return all
}

// readControlPlane reads the settings of istiod. Several revisions may run side by side during an
// upgrade: the settings are then those of the default one, or else of the first by name.
func (f *Cluster) readControlPlane(ctx context.Context, r client.Reader, pods []corev1.Pod, fault func(string, error) error) error {
	byRevision := map[string]*corev1.Pod{}
	for i, p := range pods {
		if p.Labels["app"] == "istiod" && alive(&p) {
			byRevision[cmp.Or(p.Labels[label.IoIstioRev.Name], istiod.DefaultRevision)] = &pods[i]
		}
	}
	for rev := range byRevision {
		f.Revisions = append(f.Revisions, rev)
	}
	if len(f.Revisions) == 0 {
		return nil
	}
	slices.Sort(f.Revisions)
	f.Revision = f.Revisions[0]
	if byRevision[istiod.DefaultRevision] != nil {
		f.Revision = istiod.DefaultRevision
	}
	pod := byRevision[f.Revision]
	f.Flags = flags(pod)
	f.Name = f.Flags["CLUSTER_ID"]
	f.Domain = cmp.Or(argument(pod, "--domain"), f.Domain)
	var config corev1.ConfigMap
	key := client.ObjectKey{Namespace: istiod.Namespace, Name: istiod.ConfigMap(f.Revision)}
	if err := r.Get(ctx, key, &config); err != nil {
		return fault("ConfigMap "+key.String(), err)
	}
	if err := yaml.Unmarshal([]byte(config.Data["mesh"]), &f.MeshConfig); err != nil {
		return fmt.Errorf("the mesh configuration in ConfigMap %s is malformed: %w", key, err)
	}
	setting := func(name, otherwise string) string {
		s, _ := f.MeshConfig[name].(string)
		return cmp.Or(s, otherwise)
	}
	f.TrustDomain = setting("trustDomain", f.TrustDomain)
	f.RootNamespace = setting("rootNamespace", f.RootNamespace)
	var roots corev1.ConfigMap
	if err := r.Get(ctx, client.ObjectKey{Namespace: istiod.Namespace, Name: rootBundle}, &roots); optional(err) != nil {
		return fault("ConfigMap "+rootBundle, err)
	}
	f.Roots = fingerprints([]byte(roots.Data[constants.CACertNamespaceConfigMapDataName]))
	return nil
}

// flags are the environment variables of istiod that have literal values.
func flags(p *corev1.Pod) map[string]string {
	all := map[string]string{}
	for _, c := range p.Spec.Containers {
		if c.Name != "discovery" {
			continue
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				all[e.Name] = e.Value
			}
		}
	}
	return all
}

// argument is the value of a command line argument of istiod.
func argument(p *corev1.Pod, name string) string {
	for _, c := range p.Spec.Containers {
		for i, a := range c.Args {
			if v, ok := strings.CutPrefix(a, name+"="); ok {
				return v
			}
			if a == name && i+1 < len(c.Args) {
				return c.Args[i+1]
			}
		}
	}
	return ""
}

// fingerprints are the SHA-256 sums of the certificates in a PEM bundle, sorted.
func fingerprints(bundle []byte) (all []string) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		sum := sha256.Sum256(block.Bytes)
		all = append(all, hex.EncodeToString(sum[:]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (f *Cluster) readGateways(ctx context.Context, r client.Reader, class string, fault func(string, error) error) error {
	var crd apiext.CustomResourceDefinition
	if err := r.Get(ctx, client.ObjectKey{Name: "gateways." + gateway.GroupName}, &crd); optional(err) != nil {
		return fault("CRD of gateways", err)
	}
	f.GatewayAPI = strings.TrimSpace(crd.Annotations[consts.BundleVersionAnnotation] + " " + crd.Annotations[consts.ChannelAnnotation])
	all, err := Gateways(ctx, r, class)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fault("gateways", err)
	}
	f.HasGatewayAPI, f.Gateways = true, all
	return nil
}

// Gateways reads the gateways of a class.
func Gateways(ctx context.Context, r client.Reader, class string) (found []Gateway, err error) {
	var all gateway.GatewayList
	if err := r.List(ctx, &all); err != nil {
		return nil, err
	}
	for _, g := range all.Items {
		if string(g.Spec.GatewayClassName) != class {
			continue
		}
		x := Gateway{Namespace: g.Namespace, Name: g.Name, Network: g.Labels[label.TopologyNetwork.Name],
			Why: "no controller has set the condition"}
		if c := meta.FindStatusCondition(g.Status.Conditions, string(gateway.GatewayConditionProgrammed)); c != nil {
			x.Programmed, x.Why = c.Status == metav1.ConditionTrue, c.Reason+": "+c.Message
		}
		for _, a := range g.Status.Addresses {
			x.Addresses = append(x.Addresses, a.Value)
		}
		found = append(found, x)
	}
	return found, nil
}

// GatewayAddresses are the addresses of all east-west gateways.
func (f *Cluster) GatewayAddresses() (all []string) {
	for _, g := range f.Gateways {
		all = append(all, g.Addresses...)
	}
	return all
}

// FirstNode is the first node, or an empty one.
func (f *Cluster) FirstNode() Node {
	if len(f.Nodes) == 0 {
		return Node{}
	}
	return f.Nodes[0]
}

// Region is the region of the first node that has one.
func (f *Cluster) Region() string { return f.first(func(n Node) string { return n.Region }) }

// Zone is the zone of the first node that has one.
func (f *Cluster) Zone() string { return f.first(func(n Node) string { return n.Zone }) }

func (f *Cluster) first(of func(Node) string) string {
	for _, n := range f.Nodes {
		if s := of(n); s != "" {
			return s
		}
	}
	return ""
}
