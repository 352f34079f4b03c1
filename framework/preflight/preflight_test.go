package preflight

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	istionetworkingapi "istio.io/api/networking/v1alpha3"
	istiosecurityapi "istio.io/api/security/v1beta1"
	istiotypeapi "istio.io/api/type/v1beta1"
	istionetworking "istio.io/client-go/pkg/apis/networking/v1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// world is a healthy mesh of two clusters, as the checks see it. A test breaks one part.
type world struct {
	fleet    *mesh.Fleet
	facts    []*inspect.Cluster
	versions []error
	remotes  [][]istiod.RemoteCluster
	standIns [][]inspect.StandIn
	objects  [][]client.Object
	forbid   bool // reading policies
}

func healthy() *world {
	w := &world{fleet: &mesh.Fleet{Provider: mesh.ProviderExisting, Isolation: &v1alpha2.Isolation{Proven: true},
		Images: map[string]mesh.ImageRef{"app": {Ref: "istio/app:1"}}}}
	for i, name := range []string{"east", "west"} {
		w.fleet.Clusters = append(w.fleet.Clusters, &mesh.Cluster{Name: name, Network: "net-" + name, Kubeconfig: "kc-" + name})
		w.facts = append(w.facts, &inspect.Cluster{
			Where: inspect.Where{Name: name, Kubectl: "kubectl --kubeconfig kc-" + name}, Kubernetes: "v1.36.1", Istio: "1.31.0",
			HasGatewayAPI: true,
			Network:       "net-" + name, Revisions: []string{"default"}, Revision: "default", Name: name,
			Flags:  map[string]string{"PILOT_ENABLE_AMBIENT": "true"},
			Domain: "cluster.local", TrustDomain: "cluster.local", RootNamespace: "istio-system",
			MeshConfig: map[string]any{"serviceScopeConfigs": []any{map[string]any{"scope": "GLOBAL", "servicesSelector": map[string]any{
				"matchExpressions": []any{map[string]any{"key": "istio.io/global", "operator": "In", "values": []any{"true"}}}}}}},
			Roots: []string{strings.Repeat("ab", 32), strings.Repeat(fmt.Sprint(i), 64)},
			Nodes: []inspect.Node{{Name: "n1", OS: "linux", Schedulable: true}, {Name: "win", OS: "windows", Schedulable: true},
				{Name: "down", OS: "linux"}},
			Ztunnels: []inspect.Ztunnel{{Pod: "z", Node: "n1", Network: "net-" + name, Running: true, Ready: true}},
			Gateways: []inspect.Gateway{{Namespace: "istio-system", Name: "ew", Programmed: true, Addresses: []string{"203.0.113.7"}}},
		})
		w.versions = append(w.versions, nil)
		w.remotes = append(w.remotes, []istiod.RemoteCluster{{Name: "east", Status: istiod.Synced, Istiod: "i"},
			{Name: "west", Status: istiod.Synced, Istiod: "i"}})
		w.standIns, w.objects = append(w.standIns, nil), append(w.objects, nil)
	}
	return w
}

func (w *world) run(ctx context.Context) []v1alpha2.Check {
	var all []*member
	for i, c := range w.fleet.Clusters {
		b := fake.NewClientBuilder().WithScheme(mesh.Scheme).WithObjects(w.objects[i]...)
		if w.forbid {
			b = b.WithInterceptorFuncs(interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList,
				...client.ListOption) error {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "policies"}, "", nil)
			}})
		}
		r := b.Build()
		all = append(all, &member{Cluster: c,
			version: func() (string, error) { return "v1.36.1", w.versions[i] },
			facts: func() (*inspect.Cluster, error) {
				if w.facts[i] == nil {
					return nil, errors.New("no right to read pods")
				}
				return w.facts[i], nil
			},
			remotes:  func() ([]istiod.RemoteCluster, error) { return w.remotes[i], nil },
			standIns: func() ([]inspect.StandIn, error) { return w.standIns[i], nil },
			reader:   func() (client.Reader, error) { return r, nil },
		})
	}
	return run(ctx, checks(w.fleet, []string{"amc-mesh", "amc-plain"}, all))
}

func TestHealthyFleet(t *testing.T) {
	rows := healthy().run(t.Context())
	if err := failed(rows); err != nil {
		t.Errorf("a healthy fleet fails: %v", err)
	}
	names := map[string]bool{}
	for _, r := range rows {
		if d := cmp.Diff(v1alpha2.Check{Name: r.Name, Status: ok, Detail: r.Detail}, r); d != "" {
			t.Errorf("row (-want +got):\n%s", d)
		}
		if r.Detail == "" {
			t.Errorf("%s does not say what it saw", r.Name)
		}
		if names[r.Name] {
			t.Errorf("two checks are called %s", r.Name)
		}
		names[r.Name] = true
	}
}

// namespace is one of the suite's, under a level of PodSecurity.
func namespace(name, level string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": level}}}
}

func authorization(namespace string, spec *istiosecurityapi.AuthorizationPolicy) *istiosecurity.AuthorizationPolicy {
	p := &istiosecurity.AuthorizationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "allow-nothing"}}
	spec.DeepCopyInto(&p.Spec)
	return p
}

// from is one rule for calls from namespaces.
func from(namespaces ...string) []*istiosecurityapi.Rule {
	return []*istiosecurityapi.Rule{{From: []*istiosecurityapi.Rule_From{{Source: &istiosecurityapi.Source{Namespaces: namespaces}}}}}
}

// Every fault turns its own check red, or yellow where it need not stop a run, and no other one.
func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  func(*world)
		check  string
		status v1alpha2.CheckStatus
		says   string
	}{
		"istiod is down":       {func(w *world) { w.facts[1].Revisions = nil }, "control plane", fail, "west: no pod of istiod runs"},
		"facts cannot be read": {func(w *world) { w.facts[1] = nil }, "control plane", fail, "west: no right to read pods"},
		"no ambient": {func(w *world) { w.facts[0].Flags = nil }, "control plane", fail,
			"east: istiod is not set up for ambient"},
		"no cluster name": {func(w *world) { w.facts[0].Name = "" }, "control plane", fail, "global.multiCluster.clusterName"},
		"old Kubernetes": {func(w *world) { w.facts[0].Kubernetes = "v1.30.2" }, "Kubernetes versions", warn,
			"v1.30.2 is outside the support window of Istio 1.31.0: 1.34, 1.35, 1.36"},
		"old Istio": {func(w *world) { w.facts[0].Istio = "1.20.1" }, "Istio versions", warn,
			`Istio "1.20.1" is outside the support window: 1.31, 1.30, 1.29`},
		"another cluster": {func(w *world) { w.facts[1].Name = "north" }, "cluster names", fail,
			`west: istiod calls the cluster "north"`},
		"no network": {func(w *world) { w.facts[0].Network = "" }, "networks", fail,
			"kubectl --kubeconfig kc-east label namespace istio-system topology.istio.io/network=<network>"},
		"network taken away for a run": {func(w *world) { w.facts[0].Network, w.fleet.Provider = "", mesh.ProviderKind }, "networks",
			warn, "the next `amc run` does that"},
		"no proof of isolation": {func(w *world) { w.fleet.Provider, w.fleet.Isolation = mesh.ProviderKind, nil }, "isolation", fail,
			"is not proven"},
		"not isolated": {func(w *world) { w.fleet.Provider, w.fleet.Isolation = mesh.ProviderKind, &v1alpha2.Isolation{} }, "isolation", fail,
			"seen not to be apart"},
		"another network": {func(w *world) { w.facts[0].Network = "other" }, "networks", fail,
			`east: it is on network "other", the fleet file says "net-east"`},
		"one network": {func(w *world) {
			w.facts[1].Network, w.fleet.Clusters[1].Network, w.facts[1].Ztunnels[0].Network = "net-east", "net-east", "net-east"
		}, "networks", fail, `east and west are on the same network "net-east"`},
		"another trust domain": {func(w *world) { w.facts[1].TrustDomain = "corp" }, "domains", fail,
			`west: its trust domain is "corp", the fleet file says "cluster.local"`},
		"another DNS domain": {func(w *world) { w.fleet.Domain = "corp" }, "domains", fail,
			`east: its DNS domain is "cluster.local", the fleet file says "corp"`},
		"no common root": {func(w *world) { w.facts[1].Roots = w.facts[1].Roots[1:] }, "root certificates", fail,
			"trust no common root"},
		"root cannot be read": {func(w *world) { w.facts[1].Roots = nil }, "root certificates", warn, "west: ConfigMap istio-ca-root-cert"},
		"no scope rule":       {func(w *world) { w.facts[1].MeshConfig = nil }, "scope rules", warn, "west: no rule of its mesh configuration"},
		"scope rule of some namespaces": {func(w *world) {
			rule := w.facts[0].MeshConfig["serviceScopeConfigs"].([]any)[0].(map[string]any)
			rule["namespaceSelector"] = map[string]any{"matchLabels": map[string]any{"a": "b"}}
		}, "scope rules", warn, "east: no rule of its mesh configuration"},
		"malformed scope rule": {func(w *world) { w.facts[1].MeshConfig["serviceScopeConfigs"] = "GLOBAL" }, "scope rules", warn, "malformed"},
		"remote secret is missing": {func(w *world) { w.remotes[1] = w.remotes[1][1:] }, "remote secrets", fail,
			"west: istiod i does not know cluster east"},
		"remote secret is not read": {func(w *world) {
			w.remotes[0] = []istiod.RemoteCluster{w.remotes[0][0], {Name: "west", Status: "syncing", Istiod: "i"}}
		}, "remote secrets", fail, `east: istiod i shows cluster west as "syncing"`},
		"no gateway": {func(w *world) { w.facts[0].Gateways = nil }, "east-west gateways", fail,
			"east: there is no east-west gateway"},
		"gateway without address": {func(w *world) { w.facts[0].Gateways[0].Addresses = nil }, "east-west gateways", fail, "no address yet"},
		"gateway not programmed": {func(w *world) {
			w.facts[0].Gateways[0].Programmed, w.facts[0].Gateways[0].Why = false, "Invalid: no listener"
		}, "east-west gateways", fail, "Invalid: no listener"},
		"no Gateway API":    {func(w *world) { w.facts[0].HasGatewayAPI = false }, "east-west gateways", fail, "no Gateway API"},
		"ztunnel not ready": {func(w *world) { w.facts[1].Ztunnels[0].Ready = false }, "ztunnel", fail, "west: no ready ztunnel on n1"},
		"ztunnel on no network": {func(w *world) { w.facts[1].Ztunnels[0].Network = "" }, "ztunnel", fail,
			`west: ztunnel on n1 is on network "", its cluster on "net-west"`},
		"ztunnel on another network": {func(w *world) { w.facts[0].Ztunnels[0].Network = "net-west" }, "ztunnel", fail,
			`east: ztunnel on n1 is on network "net-west", its cluster on "net-east"`},
		"node without ztunnel": {func(w *world) {
			w.facts[1].Nodes = append(w.facts[1].Nodes, inspect.Node{Name: "n2", Schedulable: true})
		}, "ztunnel", fail, "no ready ztunnel on n2"},
		"no node": {func(w *world) { w.facts[1].Nodes = nil }, "ztunnel", fail, "west: no node is ready"},
		"allow nothing": {func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system", &istiosecurityapi.AuthorizationPolicy{})}
		}, "mesh-wide authorization policies", fail, "east: AuthorizationPolicy istio-system/allow-nothing allows nothing"},
		"policies cannot be read": {func(w *world) { w.facts[0].RootNamespace, w.forbid = "root", true },
			"mesh-wide authorization policies", warn, "east: policies in root namespace root cannot be read"},
		"deny all": {func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system", &istiosecurityapi.AuthorizationPolicy{
				Action: istiosecurityapi.AuthorizationPolicy_DENY, Rules: []*istiosecurityapi.Rule{{}}})}
		}, "mesh-wide authorization policies", fail, "east: AuthorizationPolicy istio-system/allow-nothing denies calls"},
		"allow some by a label of ours": {func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system", &istiosecurityapi.AuthorizationPolicy{
				Selector: &istiotypeapi.WorkloadSelector{MatchLabels: map[string]string{"app": "echo"}}, Rules: from("apps")})}
		}, "mesh-wide authorization policies", fail, "allow-nothing allows only what it names: it selects the suite's workloads too"},
		"deny our namespaces": {func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system", &istiosecurityapi.AuthorizationPolicy{
				Action: istiosecurityapi.AuthorizationPolicy_DENY, Rules: from("apps", "amc-*")})}
		}, "mesh-wide authorization policies", fail, "denies calls"},
		"deny at every waypoint": {func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system", &istiosecurityapi.AuthorizationPolicy{
				Action: istiosecurityapi.AuthorizationPolicy_DENY, Rules: []*istiosecurityapi.Rule{{}},
				TargetRefs: []*istiotypeapi.PolicyTargetReference{{Kind: "GatewayClass", Name: "istio-waypoint"}}})}
		}, "mesh-wide authorization policies", fail, "denies calls"},
		"istiod does not look at our namespaces": {func(w *world) {
			w.facts[0].MeshConfig["discoverySelectors"] = []any{map[string]any{"matchLabels": map[string]any{"istio-discovery": "enabled"}}}
		}, "discovery selectors", fail, "east: istiod does not look at the suite's namespace amc-mesh"},
		"outlier detection for all": {func(w *world) {
			w.objects[0] = []client.Object{&istionetworking.DestinationRule{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "all"},
				Spec: istionetworkingapi.DestinationRule{Host: "*.svc.cluster.local", TrafficPolicy: &istionetworkingapi.TrafficPolicy{
					OutlierDetection: &istionetworkingapi.OutlierDetection{}}}}}
		}, "mesh-wide destination rules", fail, "east: DestinationRule istio-system/all is for *.svc.cluster.local"},
		"bad label of PodSecurity": {func(w *world) { w.objects[0] = []client.Object{namespace("amc-mesh", "most")} }, "pod security",
			fail, "east: namespace amc-mesh: labels of PodSecurity"},
		"undeclared stand-in": {func(w *world) { w.standIns[0] = []inspect.StandIn{{Part: "ztunnel", What: "ours"}} }, "stand-ins",
			fail, "ztunnel is a stand-in (ours)"},
		"a stand-in of another's name": {func(w *world) {
			w.standIns[0], w.fleet.Images["proxyv2"] = []inspect.StandIn{{Part: "ztunnel", What: "ours"}}, mesh.ImageRef{StandIn: "x"}
		}, "stand-ins", fail, "ztunnel is a stand-in"},
	} {
		t.Run(name, func(t *testing.T) {
			w := healthy()
			tt.fault(w)
			rows := w.run(t.Context())
			i := slices.IndexFunc(rows, func(r v1alpha2.Check) bool { return r.Name == tt.check })
			if i < 0 {
				t.Fatalf("no check is called %q", tt.check)
			}
			r := rows[i]
			if r.Status != tt.status {
				t.Errorf("%s is %s (%s), want %s", r.Name, r.Status, r.Detail, tt.status)
			}
			if !strings.Contains(r.Detail, tt.says) {
				t.Errorf("%s says %q, want %q", r.Name, r.Detail, tt.says)
			}
			if r.Fix == "" {
				t.Errorf("%s has no hint", r.Name)
			}
			if err := failed(rows); (err != nil) != (tt.status == fail) {
				t.Errorf("the fleet fails: %v; the check is %s", err, tt.status)
			}
			for _, o := range rows {
				if o.Name != tt.check && o.Status == fail {
					t.Errorf("%s fails too: %s", o.Name, o.Detail)
				}
			}
		})
	}
}

// What is no fault must not look like one.
func TestNoFaults(t *testing.T) {
	selected := &istiosecurityapi.AuthorizationPolicy{Selector: &istiotypeapi.WorkloadSelector{MatchLabels: map[string]string{"app": "x"}}}
	for name, w := range map[string]func(*world){
		"policy with a selector": func(w *world) { w.objects[0] = []client.Object{authorization("istio-system", selected)} },
		"policy of another namespace": func(w *world) {
			w.objects[0] = []client.Object{authorization("apps", &istiosecurityapi.AuthorizationPolicy{})}
		},
		"allow all": func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system",
				&istiosecurityapi.AuthorizationPolicy{Rules: []*istiosecurityapi.Rule{{}}})}
		},
		"deny without a rule": func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system",
				&istiosecurityapi.AuthorizationPolicy{Action: istiosecurityapi.AuthorizationPolicy_DENY})}
		},
		"deny another namespace": func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system",
				&istiosecurityapi.AuthorizationPolicy{Action: istiosecurityapi.AuthorizationPolicy_DENY, Rules: from("apps", "*-dev")})}
		},
		"policy of one gateway": func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system", &istiosecurityapi.AuthorizationPolicy{
				TargetRefs: []*istiotypeapi.PolicyTargetReference{{Kind: "Gateway", Name: "ew"}}})}
		},
		"audit only": func(w *world) {
			w.objects[0] = []client.Object{authorization("istio-system",
				&istiosecurityapi.AuthorizationPolicy{Action: istiosecurityapi.AuthorizationPolicy_AUDIT})}
		},
		"second gateway not programmed": func(w *world) {
			w.facts[0].Gateways = append(w.facts[0].Gateways, inspect.Gateway{Name: "spare", Addresses: []string{"x"}})
		},
		"namespaces under baseline": func(w *world) {
			w.objects[0] = []client.Object{namespace("amc-mesh", "baseline"), namespace("amc-plain", "privileged")}
		},
		"a namespace that is not ours": func(w *world) { w.objects[0] = []client.Object{namespace("apps", "restricted")} },
		"declared stand-in": func(w *world) {
			w.standIns[0], w.fleet.Images["ztunnel@east"] = []inspect.StandIn{{Part: "ztunnel", What: "ours"}}, mesh.ImageRef{StandIn: "ours"}
		},
		"roots in part the same":         func(w *world) { w.facts[0].Roots = append([]string{"00"}, w.facts[0].Roots...) },
		"domains as the fleet file says": func(w *world) { w.fleet.Domain, w.facts[0].Domain, w.facts[1].Domain = "corp", "corp", "corp" },
		"development build": func(w *world) {
			w.facts[0].Istio, w.facts[1].Istio = "1.31-alpha.eed52ebb66ad-Clean", "1.31-alpha.eed52ebb66ad-Clean"
		},
		"a larger mesh than the fleet": func(w *world) {
			w.remotes[0] = append(w.remotes[0], istiod.RemoteCluster{Name: "north", Status: "timeout", Istiod: "i"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := healthy()
			w(x)
			for _, r := range x.run(t.Context()) {
				if r.Status != ok {
					t.Errorf("%s: got %s (%s), want %s", r.Name, r.Status, r.Detail, ok)
				}
			}
		})
	}
}

// The pod that the suite deploys is judged, not one that a test makes up.
func TestPodSecurityJudgesTheSuitesPod(t *testing.T) {
	w := healthy()
	w.objects[0] = []client.Object{namespace("amc-mesh", "restricted")}
	pod := podOf(echoIn(w.fleet, "amc-mesh"), w.fleet.Clusters[0])
	if len(pod.Spec.Containers) != 1 {
		t.Fatalf("the suite's pod has %d containers, want 1", len(pod.Spec.Containers))
	}
	want := v1alpha2.CheckStatus(ok)
	if pod.Spec.Containers[0].SecurityContext == nil && pod.Spec.SecurityContext == nil {
		want = fail // Kubernetes refuses pods that ask for nothing of what "restricted" demands
	}
	for _, r := range w.run(t.Context()) {
		if r.Name == "pod security" && r.Status != want {
			t.Errorf("pod security is %s (%s), want %s", r.Status, r.Detail, want)
		}
	}
}

// A cluster that cannot be reached is one failure, and not one for every check.
func TestUnreachableCluster(t *testing.T) {
	w := healthy()
	w.versions[1] = errors.New("API server cannot be reached")
	want := []v1alpha2.Check{{Name: "API servers", Status: fail, Detail: "west: API server cannot be reached"}}
	got := w.run(t.Context())
	for i := range got {
		got[i].Fix = ""
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

// A check that could not look warns; it never passes.
func TestUnreadFactsAreUnknown(t *testing.T) {
	w := healthy()
	w.facts[0] = nil
	for _, r := range w.run(t.Context()) {
		switch r.Name {
		case "API servers", "isolation", "pod security": // these ask the API server alone, or none
		case "control plane":
			if r.Status != fail {
				t.Errorf("control plane is %s, want %s", r.Status, fail)
			}
		default:
			if r.Status != warn {
				t.Errorf("%s is %s (%s), want %s: the facts of one cluster are not known", r.Name, r.Status, r.Detail, warn)
			}
		}
	}
}

func TestRepeat(t *testing.T) {
	bad, good := []v1alpha2.Check{{Status: ok}, {Status: fail}}, []v1alpha2.Check{{Status: ok}, {Status: ok}}
	unreachable := []v1alpha2.Check{{Status: fail}}
	for name, tt := range map[string]struct {
		patience time.Duration
		readyAt  time.Duration
		before   []v1alpha2.Check
		looks    int
		fails    bool
	}{
		"ready at once":        {0, 0, bad, 1, false},
		"no patience":          {0, time.Minute, bad, 1, true},
		"ready in time":        {30 * time.Second, 2500 * time.Millisecond, bad, 4, false},
		"not ready in time":    {3 * time.Second, time.Minute, bad, 4, true},
		"patience is not used": {time.Minute, 0, bad, 1, false},
		"unreachable":          {time.Minute, time.Hour, unreachable, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, looks := time.Now(), 0
				_, err := repeat(t.Context(), tt.patience, func(context.Context) []v1alpha2.Check {
					if looks++; time.Since(begin) < tt.readyAt {
						return tt.before
					}
					return good
				})
				if looks != tt.looks {
					t.Errorf("looked %d times, want %d", looks, tt.looks)
				}
				if (err != nil) != tt.fails {
					t.Errorf("got error %v, want one: %t", err, tt.fails)
				}
			})
		})
	}
}

// Fleet ends in bounded time on clusters that cannot be reached, and names them.
func TestFleetNamesUnreachableClusters(t *testing.T) {
	f := &mesh.Fleet{Clusters: []*mesh.Cluster{{Name: "c-east", Kubeconfig: filepath.Join(t.TempDir(), "none")}}}
	rows, err := Fleet(t.Context(), f, Options{})
	if !strings.Contains(fmt.Sprint(err), "c-east") {
		t.Errorf("got %v, want an error that names c-east", err)
	}
	if len(rows) != 1 {
		t.Fatalf("%d rows, want only that of the API servers: %+v", len(rows), rows)
	}
	if !strings.Contains(rows[0].Fix, "`amc fleet init`") {
		t.Errorf("the hint is %q, want the next command", rows[0].Fix)
	}
}
