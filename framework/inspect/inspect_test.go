package inspect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"istio.io/api/label"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
)

const istiosClass = "istio-east-west"

// root is a bundle of two PEM blocks; their content does not matter.
const root = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nYg==\n-----END CERTIFICATE-----\n"

var here = Where{Name: `context "ctx-1"`, Kubectl: "kubectl --context ctx-1"}

// parts are the objects of a cluster with an ambient multi-network mesh.
type parts struct {
	ns       *corev1.Namespace
	system   *corev1.Namespace
	istiod   *corev1.Pod
	ztunnel  *corev1.Pod
	cni      *corev1.Pod
	proxy    *corev1.Pod
	config   *corev1.ConfigMap
	roots    *corev1.ConfigMap
	node     *corev1.Node
	gateway  *gateway.Gateway
	services *networkingv1.ServiceCIDR
}

func good() *parts {
	in := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "istio-system", Name: name, Labels: labels}
	}
	pod := func(name string, labels map[string]string, container, image, id string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: in(name, labels),
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: container, Image: image}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
				{Name: "beside", Image: "other", ImageID: "sha256:other"}, {Name: container, Image: image, ImageID: id}}}}
	}
	p := &parts{
		ns: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system",
			Labels: map[string]string{label.TopologyNetwork.Name: "east"}}},
		system: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "uid-1"}},
		istiod: pod("istiod-1", map[string]string{"app": "istiod", "istio.io/rev": "default"}, "discovery", "istio/pilot:1",
			"docker.io/istio/pilot@sha256:1"),
		ztunnel: pod("ztunnel-1", map[string]string{"app": "ztunnel"}, "istio-proxy", "istio/ztunnel:1", "docker.io/istio/ztunnel@sha256:2"),
		cni:     pod("cni-1", map[string]string{"k8s-app": "istio-cni-node"}, "install-cni", "istio/install-cni:1", "sha256:local"),
		proxy:   pod("ew-1", map[string]string{gateway.GatewayClassNameLabelKey: istiosClass}, "istio-proxy", "istio/proxyv2:1", "sha256:id"),
		config: &corev1.ConfigMap{ObjectMeta: in("istio", nil),
			Data: map[string]string{"mesh": "trustDomain: corp.example\nrootNamespace: istio-system\n"}},
		roots: &corev1.ConfigMap{ObjectMeta: in("istio-ca-root-cert", nil), Data: map[string]string{"root-cert.pem": root}},
		node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1",
			Labels: map[string]string{corev1.LabelTopologyRegion: "r", corev1.LabelTopologyZone: "z"}},
			Status: corev1.NodeStatus{
				NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", KernelVersion: "6.1", Architecture: "amd64",
					ContainerRuntimeVersion: "containerd://2"},
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
				Images: []corev1.ContainerImage{{Names: []string{"istio/other@sha256:no", "istio/other:1"}},
					{Names: []string{"istio/proxyv2@sha256:node", "istio/proxyv2:1"}}}}},
		services: &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"},
			Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00::/112"}}},
		gateway: &gateway.Gateway{ObjectMeta: in("ew", nil), Spec: gateway.GatewaySpec{GatewayClassName: istiosClass}},
	}
	p.istiod.Spec.Containers[0].Args = []string{"discovery", "--domain", "corp.local"}
	p.istiod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "CLUSTER_ID", Value: "c-east"},
		{Name: "PILOT_ENABLE_AMBIENT", Value: "true"}, {Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{}}}
	p.istiod.OwnerReferences, p.istiod.Labels["pod-template-hash"] = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "istiod-77"}}, "77"
	p.ztunnel.Spec.NodeName = "n1"
	p.ztunnel.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	p.gateway.Labels = map[string]string{label.TopologyNetwork.Name: "east"}
	p.gateway.Status.Conditions = []metav1.Condition{{Type: "Programmed", Status: metav1.ConditionTrue, Reason: "Programmed"}}
	p.gateway.Status.Addresses = []gateway.GatewayStatusAddress{{Value: "203.0.113.7"}, {Value: "lb.example.com"}}
	return p
}

func (p *parts) client(without ...client.Object) client.WithWatch {
	return p.builder(without...).Build()
}

func (p *parts) builder(without ...client.Object) *fake.ClientBuilder {
	b := fake.NewClientBuilder().WithScheme(mesh.Scheme)
	ingress := &gateway.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "ingress"},
		Spec: gateway.GatewaySpec{GatewayClassName: "istio"}}
	ingress.Status.Addresses = []gateway.GatewayStatusAddress{{Value: "203.0.113.8"}}
next:
	for _, o := range []client.Object{p.ns, p.system, p.istiod, p.ztunnel, p.cni, p.proxy, p.config, p.roots, p.node, p.gateway,
		p.services, ingress} {
		for _, w := range without {
			if o == w {
				continue next
			}
		}
		b = b.WithObjects(o)
	}
	return b
}

// A gateway that a killed run left, and that the next one was deleting, was said to run.
func TestPodThatEndsDoesNotRun(t *testing.T) {
	ends := *good().ztunnel
	ends.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if got := running([]corev1.Pod{ends}); len(got) > 0 {
		t.Errorf("of a pod that is being deleted: got %v, want nothing", got)
	}
}

func TestObjects(t *testing.T) {
	got, err := objects(t.Context(), here, istiosClass, good().client())
	if err != nil {
		t.Fatal(err)
	}
	want := &Cluster{
		GatewayClass: istiosClass,
		Where:        here, UID: "uid-1", ServiceCIDR: "10.96.0.0/16,fd00::/112",
		Nodes: []Node{{Name: "n1", OS: "linux", Kernel: "6.1", Arch: "amd64", Runtime: "containerd://2", Region: "r", Zone: "z",
			Schedulable: true}},
		HasGatewayAPI: true,
		Network:       "east", Revisions: []string{"default"}, Revision: "default", Name: "c-east",
		// POD_NAME takes its value from the pod, so it is not a flag.
		Flags:      map[string]string{"CLUSTER_ID": "c-east", "PILOT_ENABLE_AMBIENT": "true"},
		MeshConfig: map[string]any{"trustDomain": "corp.example", "rootNamespace": "istio-system"},
		Domain:     "corp.local", TrustDomain: "corp.example", RootNamespace: "istio-system",
		Roots: []string{ // SHA-256 of "b" and of "a"
			"3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
			"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
		Gateways: []Gateway{{Namespace: "istio-system", Name: "ew", Network: "east", Programmed: true, Why: "Programmed: ",
			Addresses: []string{"203.0.113.7", "lb.example.com"}}},
		Ztunnels: []Ztunnel{{Pod: "ztunnel-1", Node: "n1", Running: true, Ready: true}},
		Images: []Image{
			{"pilot", mesh.ImageRef{Ref: "istio/pilot:1", Digest: "sha256:1", Source: Found}},
			{"install-cni", mesh.ImageRef{Ref: "istio/install-cni:1", Digest: "sha256:local", Source: Found}},
			{"ztunnel", mesh.ImageRef{Ref: "istio/ztunnel:1", Digest: "sha256:2", Source: Found}},
			{"proxyv2", mesh.ImageRef{Ref: "istio/proxyv2:1", Digest: "sha256:node", Source: Found}},
		},
		Running: map[string]string{
			"istiod/discovery": "docker.io/istio/pilot@sha256:1", "istiod/beside": "sha256:other",
			"ztunnel-1/istio-proxy": "docker.io/istio/ztunnel@sha256:2", "ztunnel-1/beside": "sha256:other",
			"cni-1/install-cni": "sha256:local", "cni-1/beside": "sha256:other",
			"ew-1/istio-proxy": "sha256:id", "ew-1/beside": "sha256:other",
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("facts (-want +got):\n%s", d)
	}
}

func TestImageOf(t *testing.T) {
	p := good()
	r := fake.NewClientBuilder().WithObjects(p.node).Build()
	const none = "<nil>"
	for name, c := range map[string]struct {
		pod       *corev1.Pod
		container string
		want      mesh.ImageRef
		err       string
	}{
		"by the registry's digest": {p.istiod, "discovery", mesh.ImageRef{Ref: "istio/pilot:1", Digest: "sha256:1", Source: Found}, none},
		"by the node's digest":     {p.proxy, "istio-proxy", mesh.ImageRef{Ref: "istio/proxyv2:1", Digest: "sha256:node", Source: Found}, none},
		"by the image's ID": {p.cni, "install-cni",
			mesh.ImageRef{Ref: "istio/install-cni:1", Digest: "sha256:local", Source: Found}, none},
		"no such container": {p.cni, "echo", mesh.ImageRef{}, `pod istio-system/cni-1 has no container "echo" that runs`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ImageOf(t.Context(), r, c.pod, c.container)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.err, fmt.Sprint(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRevisions(t *testing.T) {
	for name, tt := range map[string]struct {
		labels    []string // istio.io/rev of each istiod; empty has none
		revision  string
		revisions []string
	}{
		"one":             {[]string{"canary"}, "canary", []string{"canary"}},
		"without a label": {[]string{""}, "default", []string{"default"}},
		"default first":   {[]string{"default", "canary"}, "default", []string{"canary", "default"}},
		"no default":      {[]string{"v2", "v1"}, "v1", []string{"v1", "v2"}},
		"two replicas":    {[]string{"v1", "v1"}, "v1", []string{"v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := good()
			p.config.Name = istiod.ConfigMap(tt.revision)
			b := p.builder(p.istiod)
			for i, rev := range tt.labels {
				pod := p.istiod.DeepCopy()
				pod.Name += string(rune('a' + i))
				pod.Labels[label.IoIstioRev.Name] = rev
				b = b.WithObjects(pod)
			}
			got, err := objects(t.Context(), here, istiosClass, b.Build())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.revision, got.Revision); d != "" {
				t.Errorf("revision (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.revisions, got.Revisions); d != "" {
				t.Errorf("revisions (-want +got):\n%s", d)
			}
			if got.TrustDomain != "corp.example" {
				t.Errorf("trust domain is %q: it was not read from ConfigMap %s", got.TrustDomain, p.config.Name)
			}
		})
	}
}

// What is missing is empty, and no error: others judge it.
func TestObjectsMissing(t *testing.T) {
	p := good()
	p.ns.Labels = nil
	got, err := objects(t.Context(), here, istiosClass, p.client(p.istiod, p.ztunnel, p.cni, p.proxy, p.roots, p.gateway, p.services))
	if err != nil {
		t.Fatal(err)
	}
	want := &Cluster{Where: here, UID: "uid-1", Nodes: got.Nodes, HasGatewayAPI: true, GatewayClass: istiosClass,
		Domain: DefaultDomain, TrustDomain: DefaultDomain, RootNamespace: "istio-system", Running: map[string]string{}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("facts (-want +got):\n%s", d)
	}
}

func forbidGet(c client.WithWatch, kind client.Object) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if reflect.TypeOf(o) == reflect.TypeOf(kind) {
				return apierrors.NewForbidden(schema.GroupResource{}, key.Name, nil)
			}
			return c.Get(ctx, key, o, opts...)
		}})
}

// An API server before 1.33 does not tell its service range, and one with fewer rights than
// `amc rbac` prints does not tell us.
func TestObjectsWithoutServiceCIDR(t *testing.T) {
	p := good()
	for name, r := range map[string]client.Client{
		"older":     p.client(p.services),
		"forbidden": forbidGet(p.client(), &networkingv1.ServiceCIDR{}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := objects(t.Context(), here, istiosClass, r)
			if err != nil {
				t.Fatal(err)
			}
			if got.ServiceCIDR != "" {
				t.Errorf("service range is %q, want none", got.ServiceCIDR)
			}
		})
	}
}

func TestObjectsErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		cluster func(*parts) client.Client
		want    string
	}{
		"no namespace":    {func(p *parts) client.Client { return p.client(p.ns) }, "Istio is not installed"},
		"no mesh config":  {func(p *parts) client.Client { return p.client(p.config) }, "ConfigMap istio-system/istio"},
		"malformed":       {func(p *parts) client.Client { p.config.Data["mesh"] = "}{"; return p.client() }, "malformed"},
		"no right to get": {func(p *parts) client.Client { return forbidGet(p.client(), &corev1.Namespace{}) }, "amc rbac"},
		"no right to list": {func(p *parts) client.Client {
			return interceptor.NewClient(p.client(), interceptor.Funcs{
				List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
					if _, pods := l.(*corev1.PodList); pods {
						return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
					}
					return c.List(ctx, l, o...)
				}})
		}, "amc rbac"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := objects(t.Context(), here, istiosClass, tt.cluster(good()))
			if !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestGatewayWithoutStatus(t *testing.T) {
	p := good()
	p.gateway.Status = gateway.GatewayStatus{}
	got, err := objects(t.Context(), here, istiosClass, p.client())
	if err != nil {
		t.Fatal(err)
	}
	want := []Gateway{{Namespace: "istio-system", Name: "ew", Network: "east", Why: "no controller has set the condition"}}
	if d := cmp.Diff(want, got.Gateways); d != "" {
		t.Errorf("gateways (-want +got):\n%s", d)
	}
}

func TestJudgeStandIns(t *testing.T) {
	for name, tt := range map[string]struct {
		judge   func([]byte) string
		answer  string
		standIn bool
	}{
		"our node proxy": {judgeZtunnel, "istio_build{component=\"ztunnel\",tag=\"nodeproxy\"} 1\n", true},
		"another tag":    {judgeZtunnel, "# TYPE x gauge\nistio_build{component=\"ztunnel\",tag=\"1.31.0-nodeproxy\"} 1", false},
		"another metric": {judgeZtunnel, "istio_other{tag=\"nodeproxy\"} 1\n", false},
		"Istio's Envoy":  {judgeProxy, `{"extensions":[{"name":"istio.metadata_exchange"}]}`, false},
		"by type":        {judgeProxy, `{"extensions":[{"type_urls":["envoy.tcp.metadataexchange.config.MetadataExchange"]}]}`, false},
		"upstream Envoy": {judgeProxy, `{"extensions":[{"name":"envoy.filters.network.tcp_proxy"}]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.judge([]byte(tt.answer)) != ""; got != tt.standIn {
				t.Errorf("stand-in: got %t, want %t", got, tt.standIn)
			}
		})
	}
}

func TestMarkStandIns(t *testing.T) {
	f := &Cluster{Images: []Image{{"ztunnel", mesh.ImageRef{Ref: "z:1"}}, {"ztunnel", mesh.ImageRef{Ref: "z:2"}},
		{"pilot", mesh.ImageRef{Ref: "z:1"}}}}
	pod := corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "istio-proxy", Image: "z:1"}}}}
	f.MarkStandIns([]StandIn{{"ztunnel", "ours", pod}})
	want := []Image{{"ztunnel", mesh.ImageRef{Ref: "z:1", StandIn: "ours"}}, {"ztunnel", mesh.ImageRef{Ref: "z:2"}},
		{"pilot", mesh.ImageRef{Ref: "z:1"}}}
	if d := cmp.Diff(want, f.Images); d != "" {
		t.Errorf("images (-want +got):\n%s", d)
	}
}

// kubeconfig writes a kubeconfig with one context for a server.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: one\ncontexts: [{name: one, context: {cluster: c, user: u}}]\n" +
		"clusters: [{name: c, cluster: {server: '" + server + "', insecure-skip-tls-verify: true}}]\nusers: [{name: u, user: {token: secret}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A node that is paused takes connections and never answers: the wait must end, and say how to go
// on.
func TestServerVersionOfASilentCluster(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c := &mesh.Cluster{Name: "c-east", Kubeconfig: kubeconfig(t, "https://"+silent.Addr().String()), Context: "one"}
	_, err = ServerVersion(ctx, At(c), c)
	if err == nil {
		t.Fatal("a silent server has a version")
	}
	for _, part := range []string{silent.Addr().String(), "does not answer", "--context one version`"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
}

func TestServerVersionOfBadKubeconfigs(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("}{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*mesh.Cluster{
		"no file":       {Kubeconfig: filepath.Join(t.TempDir(), "none")},
		"malformed":     {Kubeconfig: broken},
		"wrong context": {Kubeconfig: kubeconfig(t, "https://one.example"), Context: "nope"},
		"refused":       {Kubeconfig: kubeconfig(t, "http://127.0.0.1:1")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ServerVersion(t.Context(), At(c), c)
			if !strings.Contains(fmt.Sprint(err), c.Kubeconfig) {
				t.Errorf("got %v, want an error that names %s", err, c.Kubeconfig)
			}
		})
	}
}
