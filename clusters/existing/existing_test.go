package existing

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/mesh"
)

// parts are the objects of a cluster with an ambient multi-network mesh.
type parts struct {
	ns       *corev1.Namespace
	system   *corev1.Namespace
	istiod   *corev1.Pod
	ztunnel  *corev1.Pod
	cni      *corev1.Pod
	proxy    *corev1.Pod
	config   *corev1.ConfigMap
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
		ns:      &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system", Labels: map[string]string{networkLabel: "east"}}},
		system:  &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "uid-1"}},
		istiod:  pod("istiod-1", map[string]string{"app": "istiod", "istio.io/rev": "default"}, "discovery", "istio/pilot:1", "docker.io/istio/pilot@sha256:1"),
		ztunnel: pod("ztunnel-1", map[string]string{"app": "ztunnel"}, "istio-proxy", "istio/ztunnel:1", "docker.io/istio/ztunnel@sha256:2"),
		cni:     pod("cni-1", map[string]string{"k8s-app": "istio-cni-node"}, "install-cni", "istio/install-cni:1", "sha256:local"),
		proxy:   pod("ew-1", map[string]string{gatewayClassLabel: GatewayClass}, "istio-proxy", "istio/proxyv2:1", "sha256:id"),
		config:  &corev1.ConfigMap{ObjectMeta: in("istio", nil), Data: map[string]string{"mesh": "trustDomain: corp.example\nrootNamespace: istio-system\n"}},
		node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{regionLabel: "r", zoneLabel: "z"}},
			Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{Names: []string{"istio/other@sha256:no", "istio/other:1"}}, {Names: []string{"istio/proxyv2@sha256:node", "istio/proxyv2:1"}}}}},
		services: &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00::/112"}}},
		gateway:  &gateway.Gateway{ObjectMeta: in("ew", nil), Spec: gateway.GatewaySpec{GatewayClassName: GatewayClass}},
	}
	p.istiod.Spec.Containers[0].Args = []string{"discovery", "--domain", "corp.local"}
	p.istiod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "CLUSTER_ID", Value: "c-east"}, {Name: "PILOT_ENABLE_AMBIENT", Value: "true"}, {Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{}}}
	p.gateway.Status.Addresses = []gateway.GatewayStatusAddress{{Value: "203.0.113.7"}, {Value: "lb.example.com"}}
	return p
}

func (p *parts) client(without ...client.Object) client.Client {
	b := fake.NewClientBuilder().WithScheme(mesh.Scheme)
	ingress := &gateway.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "ingress"}, Spec: gateway.GatewaySpec{GatewayClassName: "istio"}}
	ingress.Status.Addresses = []gateway.GatewayStatusAddress{{Value: "203.0.113.8"}}
next:
	for _, o := range []client.Object{p.ns, p.system, p.istiod, p.ztunnel, p.cni, p.proxy, p.config, p.node, p.gateway, p.services, ingress} {
		for _, w := range without {
			if o == w {
				continue next
			}
		}
		b = b.WithObjects(o)
	}
	return b.Build()
}

func TestLook(t *testing.T) {
	got, err := look(context.Background(), byContext("ctx", ""), good().client())
	if err != nil {
		t.Fatal(err)
	}
	// POD_NAME is no flag: its value comes from elsewhere.
	want := &mesh.Cluster{Name: "c-east", Network: "east", Region: "r", Zone: "z", ServiceCIDR: "10.96.0.0/16,fd00::/112", GatewayAddresses: []string{"203.0.113.7", "lb.example.com"}, Nodes: 1,
		Flags: map[string]string{"CLUSTER_ID": "c-east", "PILOT_ENABLE_AMBIENT": "true"}}
	if !reflect.DeepEqual(got.cluster, want) {
		t.Errorf("cluster is %+v", got.cluster)
	}
	if got.trustDomain != "corp.example" || got.domain != "corp.local" || got.uid != "uid-1" {
		t.Errorf("got %+v", got)
	}
	images := []running{
		{"pilot", mesh.ImageRef{Ref: "istio/pilot:1", Digest: "sha256:1", Source: Found}},
		{"install-cni", mesh.ImageRef{Ref: "istio/install-cni:1", Digest: "sha256:local", Source: Found}},
		{"ztunnel", mesh.ImageRef{Ref: "istio/ztunnel:1", Digest: "sha256:2", Source: Found}},
		{"proxyv2", mesh.ImageRef{Ref: "istio/proxyv2:1", Digest: "sha256:node", Source: Found}},
	}
	if !reflect.DeepEqual(got.images, images) {
		t.Errorf("images are %+v", got.images)
	}
}

func TestLookAtARevision(t *testing.T) {
	p := good()
	p.istiod.Labels["istio.io/rev"] = "canary"
	p.config.Name = "istio-canary"
	if got, err := look(context.Background(), byContext("ctx", ""), p.client()); err != nil || got.trustDomain != "corp.example" {
		t.Errorf("got %v, %v", got.trustDomain, err)
	}
}

// An API server before 1.33 does not tell its services' addresses, and one with fewer rights than `amc rbac` prints does not to us.
func TestLookWithoutServiceCIDR(t *testing.T) {
	p := good()
	forbid := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*networkingv1.ServiceCIDR); ok {
			return apierrors.NewForbidden(networkingv1.Resource("servicecidrs"), key.Name, nil)
		}
		return c.Get(ctx, key, o, opts...)
	}}
	for name, r := range map[string]client.Client{"older": p.client(p.services), "forbidden": interceptor.NewClient(p.client().(client.WithWatch), forbid)} {
		if got, err := look(context.Background(), byContext("ctx", ""), r); err != nil || got.cluster.ServiceCIDR != "" {
			t.Errorf("%s: %q, %v", name, got.cluster.ServiceCIDR, err)
		}
	}
}

func TestLookSaysWhatIsWrong(t *testing.T) {
	for want, c := range map[string]func(*parts) client.Client{
		"Istio is not installed":       func(p *parts) client.Client { return p.client(p.ns) },
		"label namespace istio-system": func(p *parts) client.Client { p.ns.Labels = nil; return p.client() },
		"no pod of istiod runs":        func(p *parts) client.Client { p.istiod.Status.Phase = corev1.PodPending; return p.client() },
		"ambient profile":              func(p *parts) client.Client { p.istiod.Spec.Containers[0].Env[1].Value = "false"; return p.client() },
		"no ztunnel runs":              func(p *parts) client.Client { return p.client(p.ztunnel) },
		"clusterName":                  func(p *parts) client.Client { p.istiod.Spec.Containers[0].Env[0].Value = ""; return p.client() },
		"ConfigMap istio-system/istio": func(p *parts) client.Client { return p.client(p.config) },
		"malformed":                    func(p *parts) client.Client { p.config.Data["mesh"] = "}{"; return p.client() },
		"no east-west gateway":         func(p *parts) client.Client { p.gateway.Spec.GatewayClassName = "istio"; return p.client() },
		"no address yet":               func(p *parts) client.Client { p.gateway.Status.Addresses = nil; return p.client() },
		"amc rbac": func(p *parts) client.Client {
			return interceptor.NewClient(p.client().(client.WithWatch), interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
				if _, pods := l.(*corev1.PodList); pods {
					return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
				}
				return c.List(ctx, l, o...)
			}})
		},
	} {
		_, err := look(context.Background(), byContext("ctx-1", ""), c(good()))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"ctx-1"`) {
			t.Errorf("got %v, want the context and %q", err, want)
		}
	}
}

func TestAgree(t *testing.T) {
	one := func(context, cluster string, uid types.UID, istio, trust, domain string) finding {
		return finding{context: context, uid: uid, cluster: &mesh.Cluster{Name: cluster, Istio: istio}, trustDomain: trust, domain: domain}
	}
	f := &mesh.Fleet{}
	if err := agree(f, []finding{one("a", "c1", "1", "1.31.0", "t", "d"), one("b", "c2", "2", "1.30.2", "t", "d"), one("c", "c3", "3", "unknown", "t", "d")}); err != nil || f.TrustDomain != "t" || f.Domain != "d" || f.Istio != "1.30.2" {
		t.Errorf("got %v, %+v", err, f)
	}
	err := agree(f, []finding{one("a", "c1", "1", "1.31.0", "t", "d"), one("b", "c1", "2", "1.31.0", "u", "e")})
	for _, want := range []string{`both call themselves "c1"`, `trust domain "t"`, `DNS domain "d"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q too", err, want)
		}
	}
	var misuse Usage
	if err := agree(f, []finding{one("a", "c1", "1", "1.31.0", "t", "d"), one("b", "c1", "1", "1.31.0", "t", "d")}); !errors.As(err, &misuse) || !strings.Contains(err.Error(), "lead to the same cluster") {
		t.Errorf("got %v", err)
	}
}

func TestImagesOfAllClusters(t *testing.T) {
	x := func(cluster string, images ...running) finding {
		return finding{cluster: &mesh.Cluster{Name: cluster}, images: images}
	}
	a, b, c := mesh.ImageRef{Ref: "a"}, mesh.ImageRef{Ref: "b"}, mesh.ImageRef{Ref: "c", StandIn: "ours"}
	got := images([]finding{x("c1", running{"ztunnel", a}, running{"pilot", a}), x("c2", running{"ztunnel", b}, running{"ztunnel", c}, running{"pilot", a}), x("c3", running{"ztunnel", a})})
	want := map[string]mesh.ImageRef{"pilot": a, "ztunnel": c, "ztunnel@c1": a, "ztunnel@c2": b, "ztunnel@c3": a}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestStandInsSayWhatTheyAre(t *testing.T) {
	for metrics, want := range map[string]bool{
		"istio_build{component=\"ztunnel\",tag=\"nodeproxy\"} 1\n":                      true,
		"# TYPE x gauge\nistio_build{component=\"ztunnel\",tag=\"1.31.0-nodeproxy\"} 1": false,
		"istio_other{tag=\"nodeproxy\"} 1\n":                                            false,
	} {
		if got := judgeZtunnel([]byte(metrics)) != ""; got != want {
			t.Errorf("%q: stand-in: %t", metrics, got)
		}
	}
	for bootstrap, want := range map[string]bool{
		`{"extensions":[{"name":"istio.metadata_exchange"}]}`:                                   false,
		`{"extensions":[{"type_urls":["envoy.tcp.metadataexchange.config.MetadataExchange"]}]}`: false,
		`{"extensions":[{"name":"envoy.filters.network.tcp_proxy"}]}`:                           true,
	} {
		if got := judgeProxy([]byte(bootstrap)) != ""; got != want {
			t.Errorf("%q: stand-in: %t", bootstrap, got)
		}
	}
}

func TestAppImage(t *testing.T) {
	for istio, want := range map[string]string{
		"1.31.2":                        "docker.io/istio/app:1.31.2",
		"1.31.0-0123abc-Clean":          "docker.io/istio/app:1.31.0",
		"1.31-alpha.eed52ebb66ad-Clean": "gcr.io/istio-testing/app:1.31-alpha.eed52ebb66ad",
		"unknown-unknown-Clean":         "docker.io/istio/app:latest",
	} {
		if got := AppImage(istio); got != want {
			t.Errorf("%s: %s, want %s", istio, got, want)
		}
	}
}

func TestSame(t *testing.T) {
	p := good()
	if err := same(context.Background(), &mesh.Cluster{Name: "c-east", Network: "east"}, p.client()); err != nil {
		t.Error(err)
	}
	if err := same(context.Background(), &mesh.Cluster{Name: "c-east", Network: "west"}, p.client()); err == nil || !strings.Contains(err.Error(), "amc fleet init") {
		t.Errorf("got %v", err)
	}
}

// kubeconfig writes a file with two contexts, one of which names a file, and a third that leads nowhere.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, []byte("CA"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["one"] = &clientcmdapi.Cluster{Server: server}
	c.Clusters["two"] = &clientcmdapi.Cluster{Server: "https://two.example", CertificateAuthority: ca}
	c.AuthInfos["u1"] = &clientcmdapi.AuthInfo{Token: "secret-1"}
	c.AuthInfos["u2"] = &clientcmdapi.AuthInfo{Token: "secret-2"}
	c.Contexts["admin@one"] = &clientcmdapi.Context{Cluster: "one", AuthInfo: "u1"}
	c.Contexts["two"] = &clientcmdapi.Context{Cluster: "two", AuthInfo: "u2"}
	c.CurrentContext = "two"
	path := filepath.Join(dir, "config")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMinimal(t *testing.T) {
	config, err := clientcmd.LoadFromFile(kubeconfig(t, "https://one.example"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := minimal(config, []string{"admin@one", "two"})
	if err != nil {
		t.Fatal(err)
	}
	if c := got[0]; len(c.Contexts) != 1 || len(c.Clusters) != 1 || len(c.AuthInfos) != 1 || c.CurrentContext != "admin@one" || c.AuthInfos["u1"].Token != "secret-1" {
		t.Errorf("the copy holds more or less than its context: %+v", c)
	}
	if c := got[1].Clusters["two"]; c.CertificateAuthority != "" || string(c.CertificateAuthorityData) != "CA" {
		t.Errorf("the copy depends on a file: %+v", c)
	}
	if len(config.Contexts) != 2 || config.CurrentContext != "two" {
		t.Error("the original was changed")
	}
	for want, contexts := range map[string][]string{`it has: admin@one, two`: {"nope"}, "--contexts": {}, "once": {"two", "two"}} {
		if _, err := minimal(config, contexts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", contexts, err, want)
		}
	}
	if got := fileName("arn:aws:eks:eu/../../etc"); strings.ContainsAny(got, "/:") {
		t.Errorf("file name %q leads elsewhere", got)
	}
}

func TestDiscoverWritesNothingWhenItFails(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer refuses.Close()
	path := kubeconfig(t, refuses.URL)
	before, _ := os.ReadFile(path)
	dir := filepath.Join(t.TempDir(), "out")
	for want, o := range map[string]Options{
		"does not know our credentials": {Contexts: []string{"admin@one"}, Kubeconfig: path},
		"it has:":                       {Contexts: []string{"nope"}, Kubeconfig: path},
		"kubeconfig":                    {Contexts: []string{"a"}, Kubeconfig: filepath.Join(dir, "none")},
	} {
		o.Dir = dir
		if _, err := Discover(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		} else if strings.Contains(err.Error(), "secret-1") {
			t.Errorf("a token is in %v", err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the user's kubeconfig was changed")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Discover(context.Background(), Options{Contexts: []string{"two"}, Kubeconfig: path, Dir: dir}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a fleet file is overwritten: %v", err)
	}
}

func TestHealthNamesTheCluster(t *testing.T) {
	path := kubeconfig(t, "http://127.0.0.1:1")
	f := &mesh.Fleet{Clusters: []*mesh.Cluster{{Name: "c-east", Kubeconfig: path}}}
	c, _ := clientcmd.LoadFromFile(path)
	c.CurrentContext = "admin@one"
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	if err := Health(context.Background(), f); err == nil || !strings.Contains(err.Error(), "c-east") || !strings.Contains(err.Error(), "kubectl") {
		t.Errorf("got %v", err)
	}
}

// The rights may grow with the suite, but never to these.
func TestRBACIsNarrow(t *testing.T) {
	objects := RBAC(Rights{Namespaces: []string{"amc-mesh", "amc-plain"}})
	writes := func(r rbacv1.PolicyRule) bool {
		for _, v := range r.Verbs {
			if v != "get" && v != "list" && v != "watch" {
				return true
			}
		}
		return false
	}
	for _, o := range objects {
		var rules []rbacv1.PolicyRule
		where := o.GetNamespace()
		switch o := o.Object.(type) {
		case *rbacv1.ClusterRole:
			rules = o.Rules
		case *rbacv1.Role:
			rules = o.Rules
		}
		if len(o.Why) != len(rules) {
			t.Errorf("%s %s: %d reasons for %d rules", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), len(o.Why), len(rules))
		}
		for _, r := range rules {
			for _, res := range r.Resources {
				switch {
				case res == "secrets" || res == "pods/exec" || strings.HasSuffix(res, "roles") || strings.HasSuffix(res, "rolebindings"):
					t.Errorf("in %q: %s of %s", where, r.Verbs, res)
				case res == "*" && writes(r) && !strings.HasPrefix(where, "amc-"), r.APIGroups[0] == "*", r.Verbs[0] == "*":
					t.Errorf("in %q: %s of %s in %s", where, r.Verbs, res, r.APIGroups)
				case writes(r) && !strings.HasPrefix(where, "amc-") && res != "pods/portforward" && len(r.ResourceNames) == 0:
					t.Errorf("in %q: %s of %s reaches beyond the suite's namespaces", where, r.Verbs, res)
				}
			}
		}
	}
	b, err := YAML(objects)
	if err != nil {
		t.Fatal(err)
	}
	docs := 0
	for _, doc := range strings.Split(string(b), "---\n")[1:] {
		var m struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
		}
		if err := yaml.Unmarshal([]byte(doc), &m); err != nil || m.Kind == "" || m.Name == "" || m.APIVersion == "" {
			t.Errorf("%v in %s", err, doc)
		}
		docs++
	}
	if n := strings.Count(string(b), "\n# "); n != strings.Count(string(b), "- apiGroups:") || n == 0 {
		t.Errorf("%d reasons in the YAML:\n%s", n, b)
	}
	changesIstioSystem := func(o Rights) bool {
		for _, g := range RBAC(o) {
			if c, ok := g.Object.(*rbacv1.ClusterRole); ok {
				for _, r := range c.Rules {
					if writes(r) && slices.Contains(r.ResourceNames, "istio-system") {
						return true
					}
				}
			}
		}
		return false
	}
	if changesIstioSystem(Rights{Namespaces: []string{"amc-mesh"}}) || !changesIstioSystem(Rights{MeshAdmin: true}) {
		t.Error("istio-system may be changed with --allow-mesh-changes, and only then")
	}
	if docs != len(objects) {
		t.Errorf("%d documents for %d objects", docs, len(objects))
	}
}

// A node that is paused takes connections and never answers: the wait must end, and say which cluster it was.
func TestSilentClusterIsNamed(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	path := kubeconfig(t, "https://"+silent.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "out")
	_, err = Discover(ctx, Options{Contexts: []string{"admin@one"}, Kubeconfig: path, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), `context "admin@one"`) || !strings.Contains(err.Error(), "does not answer") || !strings.Contains(err.Error(), "--context admin@one version`") {
		t.Errorf("got %v", err)
	}
	err = Health(ctx, &mesh.Fleet{Clusters: []*mesh.Cluster{{Name: "c-east", Kubeconfig: path, Context: "admin@one"}}})
	if err == nil || !strings.Contains(err.Error(), "c-east") || !strings.Contains(err.Error(), silent.Addr().String()) || !strings.Contains(err.Error(), "--context admin@one version`") {
		t.Errorf("got %v", err)
	}
}

func TestHealthOfBadKubeconfigs(t *testing.T) {
	good := kubeconfig(t, "https://one.example")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("}{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*mesh.Cluster{
		"no file":       {Name: "c-east", Kubeconfig: filepath.Join(t.TempDir(), "none")},
		"malformed":     {Name: "c-east", Kubeconfig: broken},
		"wrong context": {Name: "c-east", Kubeconfig: good, Context: "nope"},
	} {
		err := Health(t.Context(), &mesh.Fleet{Clusters: []*mesh.Cluster{c}})
		if err == nil || !strings.Contains(err.Error(), "c-east") || !strings.Contains(err.Error(), c.Kubeconfig) || !strings.Contains(err.Error(), "`amc fleet init`") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
