package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/remotesecret"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file under testdata.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run `go test ./framework/install -update` if that is meant); got:\n%s", path, got)
	}
}

func testFleet() (*mesh.Fleet, map[string]mesh.ImageRef) {
	f := &mesh.Fleet{RunID: "r", Provider: mesh.ProviderKind, Clusters: []*mesh.Cluster{
		{
			Name: "cluster1", Network: "network1", Kubeconfig: "k1", APIServer: "https://192.0.2.11:6443",
			Kind: &mesh.KindCluster{GatewayPool: "192.0.2.100-192.0.2.109"},
		},
		{
			Name: "cluster2", Network: "network2", Kubeconfig: "k2", APIServer: "https://192.0.2.12:6443",
			Kind: &mesh.KindCluster{GatewayPool: "192.0.2.110-192.0.2.119"},
		},
	}}
	images := map[string]mesh.ImageRef{}
	for _, n := range []string{"pilot", "install-cni", "ztunnel", "proxyv2", "metallb-controller", "metallb-speaker"} {
		images[n] = mesh.ImageRef{Ref: "test.local/" + n + ":t"}
	}
	return f, images
}

// moduleDir is the folder of a module that this project requires, from the module cache.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	b, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	dir := strings.TrimSpace(string(b))
	if err != nil {
		t.Fatalf("module %s: %v: run `go mod download %s`", module, err, module)
	}
	if dir == "" {
		t.Fatalf("module %s is not in the module cache: run `go mod download %s`", module, module)
	}
	return dir
}

// rendered are the objects of Istio's own charts for the first cluster.
func rendered(t *testing.T, f *mesh.Fleet, images map[string]mesh.ImageRef) []client.Object {
	t.Helper()
	return renderedFor(t, f, f.Clusters[0], images)
}

func renderedFor(t *testing.T, f *mesh.Fleet, c *mesh.Cluster, images map[string]mesh.ImageRef) (all []client.Object) {
	t.Helper()
	dir := filepath.Join(moduleDir(t, "istio.io/istio"), "manifests", "charts")
	for _, ch := range charts(f, c, images) {
		text, err := render(dir, namespace, ch)
		if err != nil {
			t.Fatalf("%s: %v", ch.release, err)
		}
		objs, err := manifest([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", ch.release, err)
		}
		all = append(all, objs...)
	}
	return all
}

func TestValues(t *testing.T) {
	f, images := testFleet()
	values := map[string]any{}
	for _, c := range charts(f, f.Clusters[0], images) {
		values[c.release] = c.values
	}
	golden(t, "values.yaml", values)
}

// Values of the variants that change them.
func TestValuesOfVariants(t *testing.T) {
	f, images := testFleet()
	f.Domain, f.TrustDomain, f.Replicas, f.Clusters[0].Revision = "corp.example", "mesh.example", 2, "stable"
	values := map[string]any{}
	for _, c := range charts(f, f.Clusters[0], images) {
		values[c.release] = c.values
	}
	golden(t, "values-variants.yaml", values)
}

// The clusters of primary-remote: the primary exposes its istiod, and the remote has none.
func TestPrimaryRemote(t *testing.T) {
	f, images := testFleet()
	a, b := f.Clusters[0], f.Clusters[1]
	a.IstiodAddress, b.Primary = "192.0.2.109", a.Name
	values := map[string]any{}
	for _, c := range f.Clusters {
		for _, ch := range charts(f, c, images) {
			values[c.Name+"/"+ch.release] = ch.values
		}
	}
	golden(t, "values-primary-remote.yaml", values)

	made := map[string]client.Object{}
	for _, c := range f.Clusters {
		for _, o := range renderedFor(t, f, c, images) {
			made[c.Name+" "+o.GetObjectKind().GroupVersionKind().Kind+"/"+o.GetName()] = o
		}
	}
	for _, want := range []string{"cluster1 Deployment/istiod", "cluster1 Deployment/" + IstiodGateway, "cluster1 Service/" + IstiodGateway,
		"cluster2 Service/istiod", "cluster2 EndpointSlice/istiod", "cluster2 DaemonSet/ztunnel"} {
		if made[want] == nil {
			t.Errorf("the charts do not make %s", want)
		}
	}
	if made["cluster2 Deployment/istiod"] != nil {
		t.Error("the remote cluster has an istiod of its own")
	}
	if s, is := made["cluster1 Service/"+IstiodGateway].(*corev1.Service); is && s.Spec.LoadBalancerIP != a.IstiodAddress {
		t.Errorf("the gateway has the address %q, want %s", s.Spec.LoadBalancerIP, a.IstiodAddress)
	}
}

// Names that change with the revision are those that the charts give.
func TestRevisionOfCharts(t *testing.T) {
	f, images := testFleet()
	f.Replicas, f.Clusters[0].Revision = 2, "stable"
	got := map[string]bool{}
	for _, o := range rendered(t, f, images) {
		got[o.GetObjectKind().GroupVersionKind().Kind+"/"+o.GetName()] = true
		if d, is := o.(*appsv1.Deployment); is {
			if diff := cmp.Diff(ptr.To(int32(2)), d.Spec.Replicas); diff != "" {
				t.Errorf("replicas of Deployment %s (-want +got):\n%s", d.Name, diff)
			}
		}
	}
	for _, want := range []string{"Deployment/" + istiod.Deployment("stable"), "Service/" + istiod.Deployment("stable"),
		"ConfigMap/" + istiod.ConfigMap("stable"), "DaemonSet/ztunnel", "DaemonSet/istio-cni-node"} {
		if !got[want] {
			t.Errorf("the charts do not make %s", want)
		}
	}
}

func env(containers []corev1.Container) map[string]string {
	m := map[string]string{}
	for _, e := range containers[0].Env {
		m[e.Name] = e.Value
	}
	return m
}

// The charts themselves must take the values as meant: this renders Istio's own.
func TestRendered(t *testing.T) {
	f, images := testFleet()
	images["proxyv2"] = mesh.ImageRef{Ref: "test.local/proxyv2:t", StandIn: "upstream Envoy"}
	deployments, daemonSets, maps := map[string]*appsv1.Deployment{}, map[string]*appsv1.DaemonSet{}, map[string]*corev1.ConfigMap{}
	kinds := map[string]int{}
	for _, o := range rendered(t, f, images) {
		kinds[o.GetObjectKind().GroupVersionKind().Kind]++
		switch o := o.(type) {
		case *appsv1.Deployment:
			deployments[o.Name] = o
		case *appsv1.DaemonSet:
			daemonSets[o.Name] = o
		case *corev1.ConfigMap:
			maps[o.Name] = o
		}
	}
	d := deployments["istiod"].Spec.Template.Spec.Containers
	e := env(d)
	for k, want := range map[string]string{
		"AMBIENT_ENABLE_MULTI_NETWORK": "true", "PILOT_ENABLE_AMBIENT": "true",
		"CLUSTER_ID": "cluster1", "AMBIENT_ENABLE_BAGGAGE": "",
	} {
		t.Run(k, func(t *testing.T) {
			// PILOT_ENABLE_AMBIENT comes from the ambient profile, through pilot.env or env; what counts is
			// that istiod has it.
			if e[k] != want {
				t.Errorf("istiod has %s=%q, want %q", k, e[k], want)
			}
		})
	}
	z := daemonSets["ztunnel"].Spec.Template.Spec.Containers
	got := map[string]string{"NETWORK": env(z)["NETWORK"], "ISTIO_META_CLUSTER_ID": env(z)["ISTIO_META_CLUSTER_ID"]}
	if diff := cmp.Diff(map[string]string{"NETWORK": "network1", "ISTIO_META_CLUSTER_ID": "cluster1"}, got); diff != "" {
		t.Errorf("ztunnel's environment (-want +got):\n%s", diff)
	}
	n := daemonSets["istio-cni-node"].Spec.Template.Spec.Containers
	for name, got := range map[string]string{"pilot": d[0].Image, "ztunnel": z[0].Image, "install-cni": n[0].Image} {
		if want := images[name].Ref; got != want {
			t.Errorf("image of %s is %q, want exactly %q", name, got, want)
		}
	}
	for name, c := range map[string]corev1.Container{"istiod": d[0], "ztunnel": z[0], "istio-cni": n[0]} {
		if got := c.Resources.Requests.Cpu().String(); got != "10m" {
			t.Errorf("%s requests %s CPU, want 10m", name, got)
		}
		if c.ImagePullPolicy != corev1.PullIfNotPresent {
			t.Errorf("%s has pull policy %q", name, c.ImagePullPolicy)
		}
	}
	for name, c := range map[string]corev1.Container{"ztunnel": z[0], "istio-cni": n[0]} {
		if got := c.ReadinessProbe.PeriodSeconds; got != probeSeconds {
			t.Errorf("%s is probed every %d s, want %d", name, got, probeSeconds)
		}
		if c.ReadinessProbe.HTTPGet == nil {
			t.Errorf("%s has readiness probe %+v, want one by HTTP", name, c.ReadinessProbe)
		}
	}
	if maps["istio-cni-config"].Data["AMBIENT_ENABLED"] != "true" {
		t.Errorf("istio-cni does not enable ambient: %v", maps["istio-cni-config"].Data)
	}
	var meshConfig struct {
		AccessLogFile      string
		ServiceScopeConfig []any `json:"serviceScopeConfigs"`
	}
	if err := yaml.Unmarshal([]byte(maps["istio"].Data["mesh"]), &meshConfig); err != nil {
		t.Error(err)
	}
	if got := meshConfig.AccessLogFile; got != "/dev/stdout" {
		t.Errorf("mesh config: got access log %q, want /dev/stdout", got)
	}
	if got := meshConfig.ServiceScopeConfig; len(got) != 1 {
		t.Errorf("mesh config: got scope rules %v, want the profile's one", got)
	}
	var injector struct {
		Global struct {
			Proxy, Waypoint struct {
				Image     string
				Resources corev1.ResourceRequirements
			}
		}
	}
	if err := json.Unmarshal([]byte(maps["istio-sidecar-injector"].Data["values"]), &injector); err != nil {
		t.Fatal(err)
	}
	if got, want := injector.Global.Proxy.Image, images["proxyv2"].Ref; got != want {
		t.Errorf("gateways and waypoints get image %q, want %q", got, want)
	}
	resources := injector.Global.Waypoint.Resources
	cpu := []string{resources.Requests.Cpu().String(), resources.Limits.Cpu().String()}
	if diff := cmp.Diff([]string{"10m", "2"}, cpu); diff != "" {
		t.Errorf("gateways and waypoints request and are limited to (-want +got):\n%s", diff)
	}
	if n := kinds["CustomResourceDefinition"]; n < 10 {
		t.Errorf("rendered %d CustomResourceDefinitions, want at least 10", n)
	}
	if n := kinds["HorizontalPodAutoscaler"]; n != 0 {
		t.Errorf("rendered %d HorizontalPodAutoscalers, want none", n)
	}
}

func TestBaggage(t *testing.T) {
	f, images := testFleet()
	has := func() bool {
		i := slices.IndexFunc(charts(f, f.Clusters[0], images), func(c chart) bool { return c.release == "istiod" })
		_, has := charts(f, f.Clusters[0], images)[i].values["env"].(map[string]any)["AMBIENT_ENABLE_BAGGAGE"]
		return has
	}
	if !has() {
		t.Error("with Istio's own proxy the documents want AMBIENT_ENABLE_BAGGAGE")
	}
	images["proxyv2"] = mesh.ImageRef{Ref: "test.local/proxyv2:t", StandIn: "upstream Envoy"}
	if has() {
		t.Error("with a stand-in AMBIENT_ENABLE_BAGGAGE makes listeners that Envoy refuses")
	}
}

func TestEagerProbesRefusesOtherShape(t *testing.T) {
	for name, text := range map[string]string{
		"no daemon set": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n",
		"no probe":      "kind: DaemonSet\napiVersion: apps/v1\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: c}]}}}\n",
	} {
		if _, err := (eagerProbes{}).Run(bytes.NewBufferString(text)); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func TestRemoteSecret(t *testing.T) {
	f, _ := testFleet()
	s, err := remotesecret.New(f.Clusters[0], []byte("token-for-tests"), []byte("ca-for-tests"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := apply.Unstructured(s)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "remote-secret.yaml", u.Object)
	config, err := clientcmd.Load(s.Data["cluster1"])
	if err != nil {
		t.Fatal(err)
	}
	c := config.Clusters[config.Contexts[config.CurrentContext].Cluster]
	got := []string{c.Server, string(c.CertificateAuthorityData)}
	if diff := cmp.Diff([]string{"https://192.0.2.11:6443", "ca-for-tests"}, got); diff != "" {
		t.Errorf("the kubeconfig's server and authority (-want +got):\n%s", diff)
	}
	f.Clusters[0].APIServer = ""
	if _, err := remotesecret.New(f.Clusters[0], []byte("t"), []byte("ca")); err == nil {
		t.Error("a secret without a server was made")
	}
}

func TestEastWest(t *testing.T) {
	f, _ := testFleet()
	for _, c := range []struct {
		name     string
		revision string
		replicas int32
		nodes    []string
	}{
		{"eastwest.yaml", "", 0, []string{"a"}},
		{"eastwest-variants.yaml", "stable", 2, []string{"a"}},
		{"eastwest-nodes.yaml", "", 0, []string{"a", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.Clusters[1].Revision, f.Replicas, f.Clusters[1].Kind.Nodes = c.revision, c.replicas, c.nodes
			var all []any
			for _, o := range eastWest(f, f.Clusters[1]) {
				u, err := apply.Unstructured(o)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, u.Object)
			}
			golden(t, c.name, all)
		})
	}
}

// metallbManifest has the shape of MetalLB's own, cut down to what the patch touches, one object of
// a kind that it leaves alone, and one per cut.
const metallbManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ipaddresspools.metallb.io}
---
apiVersion: v1
kind: Secret
metadata: {name: metallb-webhook-cert, namespace: metallb-system}
---
apiVersion: v1
kind: Service
metadata: {name: metallb-webhook-service, namespace: metallb-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: metallb-system}
spec:
  template:
    spec:
      containers:
      - name: controller
        image: upstream.test/metallb/controller:v1
        args: [--port=7472]
        env: [{name: METALLB_ML_SECRET_NAME, value: memberlist}, {name: METALLB_DEPLOYMENT, value: controller}]
        ports: [{containerPort: 7472, name: monitoring}, {containerPort: 9443, name: webhook-server}]
        readinessProbe: {initialDelaySeconds: 10, periodSeconds: 10, httpGet: {path: /metrics, port: monitoring}}
        livenessProbe: {httpGet: {path: /metrics, port: monitoring}}
        volumeMounts: [{name: cert, mountPath: /certs}]
      volumes: [{name: cert, secret: {secretName: metallb-webhook-cert}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: speaker, namespace: metallb-system}
spec:
  template:
    spec:
      containers:
      - name: speaker
        image: upstream.test/metallb/speaker:v1
        env:
        - {name: METALLB_NODE_NAME, value: node}
        - {name: METALLB_ML_BIND_ADDR, value: a}
        - {name: METALLB_ML_LABELS, value: l}
        - {name: METALLB_ML_SECRET_KEY_PATH, value: p}
        ports:
        - {containerPort: 7472, name: monitoring}
        - {containerPort: 7946, name: memberlist-tcp}
        - {containerPort: 7946, name: memberlist-udp, protocol: UDP}
        readinessProbe: {initialDelaySeconds: 10, httpGet: {path: /metrics, port: monitoring}}
        livenessProbe: {httpGet: {path: /metrics, port: monitoring}}
        volumeMounts: [{name: memberlist, mountPath: /m}, {name: metallb-excludel2, mountPath: /e}]
      volumes: [{name: memberlist, secret: {secretName: memberlist}}, {name: metallb-excludel2, configMap: {name: metallb-excludel2}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: metallb-webhook-configuration}
`

func TestPatchMetalLB(t *testing.T) {
	objs, err := patchMetalLB([]byte(metallbManifest), "test.local/c:1", "test.local/s:1")
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, o := range objs {
		u, err := apply.Unstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u.Object)
	}
	golden(t, "metallb.yaml", all)
	b, _ := yaml.Marshal(all)
	for part, times := range map[string]int{"test.local/c:1": 1, "test.local/s:1": 1, "upstream.test": 0, "webhook-cert": 0, "memberlist": 0} {
		if n := bytes.Count(b, []byte(part)); n != times {
			t.Errorf("%q is there %d times, want %d", part, n, times)
		}
	}
}

func TestPatchMetalLBRefusesOtherShape(t *testing.T) {
	for name, tt := range map[string]struct{ old, new, says string }{
		"another container beside": {
			"      - name: speaker\n",
			"      - name: frr\n        image: upstream.test/frr:1\n      - name: speaker\n",
			"one container",
		},
		"deployment has another name": {
			"kind: Deployment\nmetadata: {name: controller,",
			"kind: Deployment\nmetadata: {name: boss,",
			"unexpected workload Deployment/boss",
		},
		"no webhooks": {
			"kind: ValidatingWebhookConfiguration\nmetadata: {name: metallb-webhook-configuration}",
			"kind: ConfigMap\nmetadata: {name: other}",
			"lacks [ValidatingWebhookConfiguration/metallb-webhook-configuration]",
		},
		"no memberlist volume": {"{name: memberlist, mountPath: /m}, ", "", "volume memberlist"},
		"variable renamed":     {"METALLB_ML_SECRET_NAME", "METALLB_SECRET", "METALLB_ML_SECRET_NAME"},
		"another daemon set": {
			"kind: Namespace\nmetadata: {name: metallb-system}",
			"kind: Namespace\nmetadata: {name: metallb-system}\n---\n" +
				"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: frr-k8s}\nspec: {template: {spec: {containers: []}}}",
			"DaemonSet/frr-k8s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(metallbManifest, tt.old) {
				t.Fatal("the case changes nothing")
			}
			_, err := patchMetalLB([]byte(strings.Replace(metallbManifest, tt.old, tt.new, 1)), "test.local/c:1", "test.local/s:1")
			if !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("got %v, want a refusal that says %q", err, tt.says)
			}
		})
	}
}

func TestSameBundle(t *testing.T) {
	crd := func(name, version string) client.Object {
		return &unstructured.Unstructured{
			Object: map[string]any{"metadata": map[string]any{"name": name, "annotations": map[string]any{consts.BundleVersionAnnotation: version}}},
		}
	}
	has := func(name, version string) apiext.CustomResourceDefinition {
		return apiext.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{consts.BundleVersionAnnotation: version}},
		}
	}
	want := []client.Object{crd("a", "v1"), crd("b", "v1")}
	for name, tt := range map[string]struct {
		have []apiext.CustomResourceDefinition
		same bool
	}{
		"all there":          {[]apiext.CustomResourceDefinition{has("a", "v1"), has("b", "v1"), has("c", "v0")}, true},
		"none there":         {nil, false},
		"one missing":        {[]apiext.CustomResourceDefinition{has("a", "v1")}, false},
		"one of another age": {[]apiext.CustomResourceDefinition{has("a", "v1"), has("b", "v0")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameBundle(want, tt.have); got != tt.same {
				t.Errorf("%s: %v, want %v", name, got, tt.same)
			}
		})
	}
}

func TestGatewayAPIModule(t *testing.T) {
	objs, err := gatewayAPI(moduleDir(t, "sigs.k8s.io/gateway-api"))
	if err != nil {
		t.Fatal(err)
	}
	crds, rest, names := split(objs)
	if want := "gateways.gateway.networking.k8s.io"; !slices.Contains(names, want) {
		t.Errorf("got %v, want %s too", names, want)
	}
	if len(crds) != len(names) {
		t.Errorf("got %d definitions of the kinds %v", len(crds), names)
	}
	if len(rest) == 0 {
		t.Error("got no other objects")
	}
	for _, c := range crds {
		if c.GetAnnotations()[consts.BundleVersionAnnotation] == "" {
			t.Errorf("%s has no bundle version: sameBundle would be blind", c.GetName())
		}
	}
	if _, err := gatewayAPI(t.TempDir()); err == nil {
		t.Error("a folder without CRDs was taken")
	}
}

func TestDiff(t *testing.T) {
	before := &inventory{
		Objects: map[string]string{"namespaces default": "a=1", "configmaps default/x": "", "nodes n": "z=1"},
		Nodes:   map[string]string{"n: file /etc/cni/net.d/10.conflist": "h1", "n: file /opt/cni/bin/ptp": "h2"},
	}
	now := &inventory{
		Objects: map[string]string{"namespaces default": "a=1,istio.io/dataplane-mode=ambient", "configmaps default/x": "", "nodes n": "z=1",
			"configmaps default/istio-ca-root-cert": "", "clusterroles.rbac.authorization.k8s.io istiod": "",
			"namespaces other": "", "configmaps other/y": "", "configmaps other/istio-ca-root-cert": ""},
		Nodes: map[string]string{"n: file /etc/cni/net.d/10.conflist": "h9", "n: iptables-save rule -N ISTIO_POSTRT": ""},
	}
	var got, ours []string
	for _, l := range before.diff(now) {
		got = append(got, l.what)
		if !foreign(l, before) {
			ours = append(ours, l.what)
		}
	}
	want := []string{
		"clusterroles.rbac.authorization.k8s.io istiod is left",
		"configmaps default/istio-ca-root-cert is left",
		"configmaps other/istio-ca-root-cert is left",
		"configmaps other/y is left",
		"n: file /etc/cni/net.d/10.conflist was changed and not put back",
		"n: file /opt/cni/bin/ptp is gone",
		"n: iptables-save rule -N ISTIO_POSTRT is left",
		`namespaces default has labels "a=1,istio.io/dataplane-mode=ambient", it had "a=1"`,
		"namespaces other is left",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what differs (-want +got):\n%s", diff)
	}
	want = slices.DeleteFunc(want, func(s string) bool { return s == "configmaps other/y is left" || s == "namespaces other is left" })
	if diff := cmp.Diff(want, ours); diff != "" {
		t.Errorf("what the mesh left (-want +got):\n%s", diff)
	}
	if l := before.diff(before); len(l) != 0 {
		t.Errorf("a cluster differs from itself: %v", l)
	}
}

func TestByKubernetes(t *testing.T) {
	const configmaps, serviceaccounts = "configmaps", "serviceaccounts"
	helm := map[string]string{"app.kubernetes.io/managed-by": "Helm"}
	for _, c := range []struct {
		kind, namespace, name string
		labels                map[string]string
		want                  bool
	}{
		{configmaps, "istio-system", "kube-root-ca.crt", nil, true},
		{configmaps, "istio-system", "istio-ca-root-cert", nil, false},
		{serviceaccounts, "istio-system", "default", nil, true},
		{serviceaccounts, "kube-system", "token-cleaner", nil, true},
		{serviceaccounts, "kube-system", "istio-cni", helm, false},
		{serviceaccounts, "istio-system", "istiod", nil, false},
		{"secrets", "kube-system", "default", nil, false},
	} {
		t.Run(c.kind+" "+c.namespace+"/"+c.name, func(t *testing.T) {
			o := &metav1.ObjectMeta{Namespace: c.namespace, Name: c.name, Labels: c.labels}
			if got := byKubernetes(schema.GroupResource{Resource: c.kind}, o); got != c.want {
				t.Errorf("%s %s/%s: %v, want %v", c.kind, c.namespace, c.name, got, c.want)
			}
		})
	}
}

func TestSnapshotFiles(t *testing.T) {
	f, _ := testFleet()
	if err := f.Save(filepath.Join(t.TempDir(), "fleet.yaml")); err != nil {
		t.Fatal(err)
	}
	c := f.Clusters[0]
	if _, err := readSnapshot(f, c); !errors.Is(err, errNoSnapshot) {
		t.Errorf("got %v, want errNoSnapshot", err)
	}
	for _, tt := range []struct{ path, holds string }{{undonePath(f, c), "old"}, {snapshotPath(f, c), "new"}} { // a newer install's wins
		if err := os.MkdirAll(filepath.Dir(tt.path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := writePrivate(tt.path, []byte(`{"objects":{"`+tt.holds+`":""}}`)); err != nil {
			t.Fatal(err)
		}
		h, err := readSnapshot(f, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, has := h.Objects[tt.holds]; !has {
			t.Errorf("got %+v, want the one that holds %q", h, tt.holds)
		}
	}
}

func TestCanonical(t *testing.T) {
	// The same configuration, and then another, in base64 as a node sends it.
	a, b, c := canonical("eyJhIjoxLCJiIjpbMV19"), canonical("ewogICJiIjogWyAxIF0sCiAgImEiOiAxCn0K"), canonical("eyJhIjoyLCJiIjpbMV19")
	if a != b {
		t.Errorf("layout must not count: %s, %s", a, b)
	}
	if a == c {
		t.Errorf("content must count: %s for both", a)
	}
}

func TestNewPlanRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*mesh.Fleet, map[string]mesh.ImageRef)
		says  string
	}{
		"not ours":       {func(f *mesh.Fleet, _ map[string]mesh.ImageRef) { f.Provider = mesh.ProviderExisting }, "not ours to change"},
		"image missing":  {func(_ *mesh.Fleet, i map[string]mesh.ImageRef) { delete(i, "ztunnel") }, "image ztunnel"},
		"short image":    {func(_ *mesh.Fleet, i map[string]mesh.ImageRef) { i["pilot"] = mesh.ImageRef{Ref: "pilot:1"} }, "image pilot"},
		"no API address": {func(f *mesh.Fleet, _ map[string]mesh.ImageRef) { f.Clusters[1].APIServer = "" }, "cluster2"},
		"no pool":        {func(f *mesh.Fleet, _ map[string]mesh.ImageRef) { f.Clusters[0].Kind = nil }, "gatewayPool"},
	} {
		t.Run(name, func(t *testing.T) {
			f, images := testFleet()
			if err := f.Save(filepath.Join(t.TempDir(), "fleet.yaml")); err != nil {
				t.Fatal(err)
			}
			tt.spoil(f, images)
			if _, err := newPlan(f, Options{Images: images}); !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%s: got %v, want a refusal that says %q", name, err, tt.says)
			}
		})
	}
}

// The digest must change with everything that a reinstall would change, and with nothing else.
func TestDigest(t *testing.T) {
	dir := t.TempDir()
	digest := func(spoil func(*mesh.Fleet, *Options)) string {
		f, images := testFleet()
		if err := f.Save(filepath.Join(dir, "fleet.yaml")); err != nil {
			t.Fatal(err)
		}
		metallbDir := filepath.Join(dir, "metallb")
		if err := os.MkdirAll(filepath.Join(metallbDir, "config", "manifests"), 0o755); err != nil {
			t.Fatal(err)
		}
		native := filepath.Join(metallbDir, "config", "manifests", "metallb-native.yaml")
		if err := os.WriteFile(native, []byte(metallbManifest), 0o644); err != nil {
			t.Fatal(err)
		}
		o := Options{
			Images: images, Istio: "v1", ChartsDir: filepath.Join(moduleDir(t, "istio.io/istio"), "manifests", "charts"),
			GatewayCRDs: moduleDir(t, "sigs.k8s.io/gateway-api"), MetalLB: metallbDir,
		}
		spoil(f, &o)
		p, err := newPlan(f, o)
		if err != nil {
			t.Fatal(err)
		}
		return p.digest
	}
	same := digest(func(*mesh.Fleet, *Options) {})
	if again := digest(func(f *mesh.Fleet, _ *Options) { f.MeshReady = "x" }); again != same {
		t.Error("the same mesh has two digests")
	}
	for name, spoil := range map[string]func(*mesh.Fleet, *Options){
		"image": func(_ *mesh.Fleet, o *Options) { o.Images["ztunnel"] = mesh.ImageRef{Ref: "test.local/other:1"} },
		"build": func(_ *mesh.Fleet, o *Options) {
			o.Images["ztunnel"] = mesh.ImageRef{Ref: o.Images["ztunnel"].Ref, Digest: "sha256:1"}
		},
		"network": func(f *mesh.Fleet, _ *Options) { f.Clusters[0].Network = "other" },
		"address": func(f *mesh.Fleet, _ *Options) { f.Clusters[0].APIServer = "https://192.0.2.99:6443" },
		"istio":   func(_ *mesh.Fleet, o *Options) { o.Istio = "v2" },
		"trust":   func(f *mesh.Fleet, _ *Options) { f.TrustDomain = "td.test" },
	} {
		t.Run(name, func(t *testing.T) {
			if digest(spoil) == same {
				t.Errorf("another %s gives the same digest", name)
			}
		})
	}
}
