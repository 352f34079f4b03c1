// Package mesh holds the handles a spec and the installer work with: a Fleet of Clusters, each on a
// Network of its own.
//
// Every call has a cluster in its receiver; nothing acts on "the" cluster.
package mesh

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"istio.io/istio/pkg/config/constants"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/internal/wholefile"
	"ambient.test/conformance/reports/api"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// FleetVersion is the newest fleet file version this code reads and writes.
const FleetVersion = api.Group + "/v1alpha1"

// Providers of clusters.
const (
	ProviderKind     = v1alpha2.ProviderKind     // made by clusters/kind and owned by the run
	ProviderExisting = v1alpha2.ProviderExisting // made by somebody else, never to be changed beyond what the spec's namespaces need
)

// Fleet is a set of clusters that form one mesh, as written to the fleet file (mode 0600).
type Fleet struct {
	APIVersion string    `json:"apiVersion"`
	RunID      string    `json:"runID"` // part of the name of everything the run created
	Provider   string    `json:"provider"`
	Created    time.Time `json:"created"`
	// Domain is the DNS domain of the clusters, default cluster.local. TrustDomain is the mesh's,
	// default cluster.local.
	Domain      string `json:"domain,omitempty"`
	TrustDomain string `json:"trustDomain,omitempty"`
	// Variants name how a fleet of ours differs from the default one; see clusters/variant. The fields
	// of fleet and clusters hold what follows from them.
	Variants []string `json:"variants,omitempty"`
	// Replicas is how many pods istiod, the east-west gateway and the echo server have in each cluster
	// of ours; 0 stands for one.
	Replicas int32 `json:"replicas,omitempty"`
	// Strict is set when the mesh that we install demands mutual TLS of all its workloads.
	Strict bool `json:"strict,omitempty"`
	// PodSecurity is the level of Pod Security that the suite's namespaces enforce; empty for none.
	PodSecurity string `json:"podSecurity,omitempty"`
	// Istio is the version of the control plane that is (to be) installed, for example
	// v0.0.0-20260827124520-eed52ebb66ad.
	Istio    string     `json:"istio,omitempty"`
	Clusters []*Cluster `json:"clusters"`
	// Unlisted are clusters of ours that belong to the mesh and are not under test: a mesh may have
	// more clusters than a tester names.
	Unlisted []*Cluster `json:"unlisted,omitempty"`
	// Kind holds what only clusters/kind needs to find its things again; nil for other providers.
	Kind *KindState `json:"kind,omitempty"`
	// Images says for each image name which reference the pods run; see clusters/images.
	Images map[string]ImageRef `json:"images,omitempty"`
	// MeshReady is set when framework/install has finished, with a digest over what it installed.
	MeshReady string `json:"meshReady,omitempty"`
	// CADir holds the root and intermediate CAs of a mesh that we made (files are 0600); empty when
	// the CA is not ours.
	CADir string `json:"caDir,omitempty"`
	// Isolation is the result of the isolation proof; nil until it ran.
	Isolation *v1alpha2.Isolation `json:"isolation,omitempty"`

	// MeshAdmin is set when the owner of clusters that are not ours lets specs change istio-system
	// (they put back what they change).
	MeshAdmin bool `json:"meshAdmin,omitempty"`

	// Took is how many seconds making it took, by step: images, clusters, mesh, isolation.
	Took map[string]float64 `json:"took,omitempty"`

	path string
}

// ImageRef is one image as it is used in the fleet.
type ImageRef struct {
	Ref     string `json:"ref"`               // reference used in pod specs
	Digest  string `json:"digest"`            // sha256:... of the image's config or manifest
	Source  string `json:"source"`            // pulled, built, override; found: it ran there already
	StandIn string `json:"standIn,omitempty"` // what it stands in for, in one sentence; empty for real parts
}

// Cluster is one Kubernetes cluster and primary of the mesh.
type Cluster struct {
	Name    string `json:"name"`    // Istio's cluster name, for example cluster1
	Network string `json:"network"` // Istio's network name, for example network1
	Region  string `json:"region,omitempty"`
	Zone    string `json:"zone,omitempty"`
	// Kubeconfig is the path of the cluster's own kubeconfig file (0600); Context selects in it, empty
	// = current.
	Kubeconfig string `json:"kubeconfig"`
	Context    string `json:"context,omitempty"`
	// APIServer is the URL at which the other clusters reach this API server.
	APIServer string `json:"apiServer,omitempty"`
	// PodCIDR is known for clusters of ours, ServiceCIDR also for others whose API server tells it.
	// Clusters of two address families have two ranges, with a comma between them.
	PodCIDR     string `json:"podCIDR,omitempty"`
	ServiceCIDR string `json:"serviceCIDR,omitempty"`
	// GatewayAddresses are the east-west gateway's addresses (IP or host name), filled by
	// framework/install or existing.
	GatewayAddresses []string `json:"gatewayAddresses,omitempty"`
	// Primary is the cluster whose istiod serves this one, which has none of its own; empty for a
	// primary.
	Primary string `json:"primary,omitempty"`
	// IstiodAddress is where the clusters that it serves reach the istiod of a primary; empty without
	// any.
	IstiodAddress string `json:"istiodAddress,omitempty"`
	// Revision is that of the cluster's istiod; empty for the default one.
	Revision string `json:"revision,omitempty"`
	// GatewayClass and WaypointClass are the classes of the cluster's east-west gateways and
	// waypoints, where a vendor has classes of its own; empty for Istio's. Read them by
	// [Cluster.EastWestClass] and [Cluster.ClassOfWaypoints].
	GatewayClass  string `json:"gatewayClass,omitempty"`
	WaypointClass string `json:"waypointClass,omitempty"`
	// Kubernetes and Istio are the versions that API server and istiod say of themselves, Nodes is how
	// many there are and Flags is the plain environment of istiod: what clusters/existing found in
	// clusters that somebody else made.
	Kubernetes string            `json:"kubernetes,omitempty"`
	Istio      string            `json:"istio,omitempty"`
	Nodes      int               `json:"nodes,omitempty"`
	Flags      map[string]string `json:"flags,omitempty"`
	// Kind is set for clusters of clusters/kind.
	Kind *KindCluster `json:"kind,omitempty"`

	clients
}

// Names are the names of the clusters that are tested.
func (f *Fleet) Names() (all []string) {
	for _, c := range f.Clusters {
		all = append(all, c.Name)
	}
	return all
}

// EastWestClass is the GatewayClass of the cluster's east-west gateways.
func (c *Cluster) EastWestClass() string {
	return cmp.Or(c.GatewayClass, constants.EastWestGatewayClassName)
}

// DualStack reports whether the cluster's services have addresses of two families.
func (c *Cluster) DualStack() bool { return strings.Contains(c.ServiceCIDR, ",") }

// ClassOfWaypoints is the GatewayClass of the cluster's waypoints.
func (c *Cluster) ClassOfWaypoints() string {
	return cmp.Or(c.WaypointClass, constants.WaypointGatewayClassName)
}

// IsPrimary reports whether the cluster has an istiod of its own.
func (c *Cluster) IsPrimary() bool { return c.Primary == "" }

// KindState is what clusters/kind needs to find its things again.
type KindState struct {
	// Unfinished says that the clusters are still being made, or that making them was cut off.
	Unfinished     bool   `json:"unfinished,omitempty"`
	DockerHost     string `json:"dockerHost"` // unix:///...
	TransitNetwork string `json:"transitNetwork"`
	TransitCIDR    string `json:"transitCIDR"`
	NodeImage      string `json:"nodeImage"`
}

// KindCluster is the kind side of one cluster.
type KindCluster struct {
	Name        string   `json:"name"`                // kind's cluster name
	Network     string   `json:"network"`             // the container network of its own
	NetworkCIDR string   `json:"networkCIDR"`         // of that network
	Nodes       []string `json:"nodes"`               // container names, which are those of the nodes
	TransitIP   string   `json:"transitIP"`           // of the first node, which has the API server
	WorkerIPs   []string `json:"workerIPs,omitempty"` // transit addresses of the other nodes
	GatewayPool string   `json:"gatewayPool"`         // first-last, for MetalLB; two with a comma for two address families
	OpenPorts   []int    `json:"openPorts,omitempty"` // of gateways, open to other networks beside those of east-west gateways
}

// Errors of Load that a caller can tell apart.
var (
	ErrNoFleet    = errors.New("no fleet file")
	ErrFleetNewer = errors.New("fleet file is of a newer version")
)

// anew is the next command for a file that cannot be mended.
const anew = "run `amc down` and `amc up` to make it anew; for clusters that somebody else made, delete it and run `amc fleet init`"

// Load reads and checks a fleet file. The file must be readable by its owner alone (0600), because
// the kubeconfigs it names hold credentials.
func Load(path string) (*Fleet, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: run `amc up` or `amc fleet init` first", ErrNoFleet, path)
	}
	if err != nil {
		return nil, fmt.Errorf("fleet file %s cannot be read: %w", path, err)
	}
	if p := st.Mode().Perm(); p&0o077 != 0 {
		return nil, fmt.Errorf("fleet file %s has mode %04o, others could read it: run `chmod 600 %s`", path, p, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("fleet file %s cannot be read: %w", path, err)
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fmt.Errorf("fleet file %s is empty: %s", path, anew)
	}
	if err := yaml.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("fleet file %s is malformed: %w: %s", path, err, anew)
	}
	switch group, _, _ := strings.Cut(head.APIVersion, "/"); {
	case head.APIVersion == FleetVersion:
	case strings.HasPrefix(FleetVersion, group+"/"):
		return nil, fmt.Errorf("%w: %s says apiVersion %q, this amc reads %q: use the amc that made it, or `amc down` with that one",
			ErrFleetNewer, path, head.APIVersion, FleetVersion)
	default:
		return nil, fmt.Errorf("%s is no fleet file: its apiVersion is %q, expected %q: name the file that `amc up` or `amc fleet init` wrote",
			path, head.APIVersion, FleetVersion)
	}
	f := &Fleet{path: path}
	if err := yaml.UnmarshalStrict(b, f); err != nil {
		return nil, fmt.Errorf("fleet file %s is malformed: %w: %s", path, err, anew)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("fleet file %s: %w: %s", path, err, anew)
	}
	return f, nil
}

func (f *Fleet) check() error {
	if f.RunID == "" {
		return errors.New("runID is missing")
	}
	if len(f.Clusters) == 0 {
		return errors.New("it names no cluster")
	}
	seen := map[string]bool{}
	for i, c := range f.Members() {
		switch {
		case c == nil || c.Name == "" || c.Network == "" || c.Kubeconfig == "":
			return fmt.Errorf("clusters[%d] needs name, network and kubeconfig", i)
		case seen[c.Name]:
			return fmt.Errorf("cluster name %q stands twice; names must be unique in a mesh", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// Save writes the fleet file with mode 0600, whole or not at all, and through no link.
func (f *Fleet) Save(path string) error {
	f.APIVersion, f.path = FleetVersion, path
	b, err := yaml.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return wholefile.Write(root, filepath.Base(path), b, 0o600)
}

// Path is where the fleet was loaded from or saved to last.
func (f *Fleet) Path() string { return f.path }

// Cluster finds a cluster by its Istio name; nil if there is none.
func (f *Fleet) Cluster(name string) *Cluster {
	for _, c := range f.Clusters {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Members are all clusters of the mesh that we know, also those that are not under test.
func (f *Fleet) Members() []*Cluster { return slices.Concat(f.Clusters, f.Unlisted) }

// OneNetwork reports whether all of several clusters are on the same network, so that pods reach
// each other without a gateway.
func (f *Fleet) OneNetwork() bool {
	all := f.Members()
	return len(all) > 1 && !slices.ContainsFunc(all, func(c *Cluster) bool { return c.Network != all[0].Network })
}

// Others are all clusters of the fleet but c.
func (f *Fleet) Others(c *Cluster) []*Cluster {
	var o []*Cluster
	for _, x := range f.Clusters {
		if x != c {
			o = append(o, x)
		}
	}
	return o
}
