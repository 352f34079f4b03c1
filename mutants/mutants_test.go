package mutants

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1"
	securityapi "istio.io/api/security/v1"
	istio "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"

	_ "ambient.test/conformance/suites" // what has a spec
)

// Every mutant of the catalog can be applied or says why not; and what can be applied has something
// that must turn red.
func TestEveryMutantHasItsPlace(t *testing.T) {
	for _, m := range behaviors.Mutants {
		here, why := ByID(m.ID), NotHere[m.ID]
		switch {
		case (here == nil) == (why == ""):
			t.Errorf("%s: it must be applied or have a reason why not, one of the two", m.ID)
		case here != nil && len(here.Targets()) == 0:
			t.Errorf("%s: no spec must turn red on it", m.ID)
		}
	}
	for _, m := range All() {
		for _, id := range m.Only {
			if b := behaviors.ByID(id); b == nil {
				t.Errorf("%s is aimed at %s, which is no behavior", m.ID, id)
			} else if !slices.Contains(b.Mutants, m.ID) {
				t.Errorf("%s is aimed at %s, which does not name it", m.ID, id)
			}
		}
	}
}

// Every behavior with a spec names a mutant that can be applied, so that its spec can be seen red.
func TestEverySpecCanBeSeenRed(t *testing.T) {
	reached := map[string]bool{}
	for _, m := range All() {
		for _, b := range m.Targets() {
			reached[b.ID] = true
		}
	}
	for _, b := range behaviors.WithSpecs() {
		if !reached[b.ID] {
			t.Errorf("%s: no mutant that can be applied is aimed at it", b.ID)
		}
	}
}

func TestApplyNeedsTwoClusters(t *testing.T) {
	_, err := All()[0].Apply(t.Context(), &mesh.Fleet{Clusters: []*mesh.Cluster{{Name: "one"}}}, "")
	if want := "two clusters"; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want it to say %q", err, want)
	}
}

func service(labels map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s", Labels: labels}}
}

// An update comes back as an event: it must not be written a second time.
func TestInterferenceWithServices(t *testing.T) {
	ofWaypoint := map[string]string{gateway.GatewayNameLabelKey: "waypoint", workload.LabelGlobal: "true"}
	global := map[string]string{workload.LabelGlobal: "true"}
	behind := map[string]string{label.IoIstioUseWaypoint.Name: "waypoint"}
	for name, c := range map[string]struct {
		judge   func(*corev1.Service) verdict
		labels  map[string]string
		changed bool
		gone    string // label
	}{
		"global service":               {removeGlobal, global, true, workload.LabelGlobal},
		"service of a waypoint":        {removeGlobal, ofWaypoint, false, ""},
		"local service":                {removeGlobal, nil, false, ""},
		"global waypoint":              {removeGlobalFromWaypoint, ofWaypoint, true, workload.LabelGlobal},
		"global service, not waypoint": {removeGlobalFromWaypoint, global, false, ""},
		"service behind a waypoint":    {renameWaypoint, behind, true, ""},
		"service behind none":          {renameWaypoint, nil, false, ""},
		"local service of a spec":      {addGlobal, nil, true, ""},
		"service of the fixture":       {addGlobal, map[string]string{workload.LabelOwner: fixture.Owner}, false, ""},
		"local waypoint":               {addGlobal, map[string]string{gateway.GatewayNameLabelKey: "w"}, false, ""},
		"service of another scope":     {anyScopeIsTrue, map[string]string{workload.LabelGlobal: "1"}, true, ""},
		"service of an empty scope":    {anyScopeIsTrue, map[string]string{workload.LabelGlobal: ""}, true, ""},
		"service of no scope":          {anyScopeIsTrue, nil, false, ""},
		"service that wants none":      {optIn, map[string]string{label.IoIstioUseWaypoint.Name: "none"}, true, label.IoIstioUseWaypoint.Name},
		"service that wants one":       {optIn, behind, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := service(c.labels).DeepCopy()
			if got := c.judge(s) == update; got != c.changed {
				t.Fatalf("got changed %t, want %t", got, c.changed)
			}
			if c.gone != "" && s.Labels[c.gone] != "" {
				t.Errorf("label %s is still there", c.gone)
			}
			if c.judge(s) != leave {
				t.Error("it is changed twice")
			}
		})
	}
}

func TestWithoutOutlierDetection(t *testing.T) {
	r := &istio.DestinationRule{Spec: networking.DestinationRule{
		TrafficPolicy: &networking.TrafficPolicy{OutlierDetection: &networking.OutlierDetection{}},
	}}
	if got := withoutOutlierDetection(r); got != update {
		t.Errorf("got verdict %d, want an update", got)
	}
	if r.Spec.TrafficPolicy.OutlierDetection != nil {
		t.Error("outlier detection is still there")
	}
	if got := withoutOutlierDetection(r); got != leave {
		t.Errorf("got verdict %d for the changed rule, want to leave it", got)
	}
}

func TestSwappedSelectors(t *testing.T) {
	selecting := func(name, app string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.ServiceSpec{Selector: map[string]string{workload.LabelApp: app}}}
	}
	for name, c := range map[string]struct {
		service *corev1.Service
		want    verdict
		app     string
	}{
		"one":           {selecting("x-one", "x-one"), update, "x-two"},
		"two":           {selecting("x-two", "x-two"), update, "x-one"},
		"swapped":       {selecting("x-two", "x-one"), leave, "x-one"},
		"another":       {selecting("x-echo", "x-echo"), leave, "x-echo"},
		"another's pod": {selecting("x-one", "echo"), leave, "echo"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := swapSelectors(c.service); got != c.want {
				t.Errorf("got verdict %d, want %d", got, c.want)
			}
			if got := c.service.Spec.Selector[workload.LabelApp]; got != c.app {
				t.Errorf("got app %q, want %q", got, c.app)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	policy := func(action securityapi.AuthorizationPolicy_Action, paths ...string) *security.AuthorizationPolicy {
		return &security.AuthorizationPolicy{Spec: securityapi.AuthorizationPolicy{Action: action, Rules: []*securityapi.Rule{{
			From: []*securityapi.Rule_From{{Source: &securityapi.Source{Principals: []string{"client"}}}},
			To:   []*securityapi.Rule_To{{Operation: &securityapi.Operation{Paths: paths}}},
		}}}}
	}
	for name, c := range map[string]struct {
		policy *security.AuthorizationPolicy
		admits string
		byPath bool
	}{
		"admits":      {policy(securityapi.AuthorizationPolicy_ALLOW), "client-another", false},
		"refuses":     {policy(securityapi.AuthorizationPolicy_DENY), "client", false},
		"with a path": {policy(securityapi.AuthorizationPolicy_ALLOW, "/ok"), "client-another", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := byPath(c.policy); got != c.byPath {
				t.Errorf("got by path %t, want %t", got, c.byPath)
			}
			anotherAccount(c.policy)
			if got := c.policy.Spec.Rules[0].From[0].Source.Principals[0]; got != c.admits {
				t.Errorf("got principal %q, want %q", got, c.admits)
			}
			if got := anotherAccount(c.policy); got != leave {
				t.Errorf("got verdict %d for the changed policy, want to leave it", got)
			}
		})
	}
}

func TestMarkedTwice(t *testing.T) {
	r := &gateway.HTTPRoute{Spec: gateway.HTTPRouteSpec{Rules: []gateway.HTTPRouteRule{{Filters: []gateway.HTTPRouteFilter{{
		ResponseHeaderModifier: &gateway.HTTPHeaderFilter{Add: []gateway.HTTPHeader{{Name: traffic.WaypointHeader, Value: "b"}}}}}}}}}
	if got := doubled(r, "b"); got != update {
		t.Fatalf("got verdict %d, want an update", got)
	}
	if got := r.Spec.Rules[0].Filters[0].ResponseHeaderModifier.Add[0].Value; got != "b,b" {
		t.Errorf("got mark %q, want b,b", got)
	}
	if got := doubled(r, "b"); got != leave {
		t.Errorf("got verdict %d for the changed route, want to leave it", got)
	}
}

func TestServerThatWaits(t *testing.T) {
	s := workload.Service("ns", "s", "app", "owner")
	if got := waitForClient(s); got != update {
		t.Fatalf("got verdict %d, want an update", got)
	}
	for _, p := range s.Spec.Ports {
		if p.Port == traffic.ServerFirst && p.TargetPort.IntValue() != traffic.TCP {
			t.Errorf("got port %d, want %d", p.TargetPort.IntValue(), traffic.TCP)
		}
	}
	if got := waitForClient(s); got != leave {
		t.Errorf("got verdict %d for the changed service, want to leave it", got)
	}
}

func TestWithoutPreference(t *testing.T) {
	r := &istio.DestinationRule{Spec: networking.DestinationRule{TrafficPolicy: &networking.TrafficPolicy{
		LoadBalancer: &networking.LoadBalancerSettings{
			LocalityLbSetting: &networking.LocalityLoadBalancerSetting{FailoverPriority: []string{"x"}}},
	}}}
	if got := withoutPreference(r); got != update {
		t.Fatalf("got verdict %d, want an update", got)
	}
	if got := r.Spec.TrafficPolicy.LoadBalancer.LocalityLbSetting.GetEnabled(); got == nil {
		t.Error("got no word about enabled, want false")
	} else if got.Value {
		t.Error("got enabled, want false")
	}
	if got := withoutPreference(r); got != leave {
		t.Errorf("got verdict %d for the changed rule, want to leave it", got)
	}
}

func TestKeepingTheNetwork(t *testing.T) {
	keep := keepNetwork("network1")
	for name, labels := range map[string]map[string]string{"no labels": nil, "another network": {label.TopologyNetwork.Name: "network2"}} {
		t.Run(name, func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Labels: labels}}
			if got := keep(ns); got != update {
				t.Errorf("got verdict %d, want an update", got)
			}
			if got := ns.Labels[label.TopologyNetwork.Name]; got != "network1" {
				t.Errorf("got network %q, want network1", got)
			}
			if got := keep(ns); got != leave {
				t.Errorf("got verdict %d for the changed namespace, want to leave it", got)
			}
		})
	}
}

// The impostor's configuration is YAML whatever is filled in, and a value that is missing is
// noticed.
func TestImpostorConfig(t *testing.T) {
	values := map[string]string{"Gateway": "10.0.0.1", "Istiod": "10.0.0.2", "Port": "15012", "Echo": "10.0.0.3", "Single": "a.b:80",
		"Onwards": "10.0.0.4", "Cluster": "c2", "Open": "gw-12-known"}
	text, err := fill(impostorConfig, values)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if !strings.Contains(text, v) {
			t.Errorf("%s is not in it", v)
		}
	}
	delete(values, "Echo")
	if _, err := fill(impostorConfig, values); err == nil {
		t.Error("a missing value was not noticed")
	}
}

func TestMixUp(t *testing.T) {
	for app, want := range map[string]string{fixture.ClientB: fixture.Client, fixture.Client: fixture.Client, fixture.Echo: fixture.Echo} {
		t.Run(app, func(t *testing.T) {
			s := workload.Service("ns", "s", app, "owner")
			changes := leave
			if app != want {
				changes = update
			}
			if got := mixUp(s); got != changes {
				t.Errorf("got verdict %d, want %d", got, changes)
			}
			if got := s.Spec.Selector[workload.LabelApp]; got != want {
				t.Errorf("got app %q, want %q", got, want)
			}
		})
	}
}

func TestPutRight(t *testing.T) {
	l := &gateway.Listener{Name: "mesh", Protocol: gateway.HTTPProtocolType, Port: 80}
	for _, want := range []verdict{update, leave} {
		if got := putRight(l); got != want {
			t.Errorf("got verdict %d, want %d", got, want)
		}
	}
	// What an east-west gateway can serve.
	want := &gateway.Listener{Name: "mesh", Protocol: "HBONE", Port: 15008, TLS: &gateway.ListenerTLSConfig{
		Mode:    ptr.To(gateway.TLSModeTerminate),
		Options: map[gateway.AnnotationKey]gateway.AnnotationValue{"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"},
	}}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("listener (-want +got):\n%s", diff)
	}
}

// A waypoint that other namespaces may not use is opened once.
func TestOpened(t *testing.T) {
	of := func(from gateway.FromNamespaces) *gateway.Gateway {
		return &gateway.Gateway{Spec: gateway.GatewaySpec{Listeners: []gateway.Listener{
			{AllowedRoutes: &gateway.AllowedRoutes{Namespaces: &gateway.RouteNamespaces{From: &from}}}}}}
	}
	for name, c := range map[string]struct {
		of   *gateway.Gateway
		want verdict
	}{
		"closed": {of(gateway.NamespacesFromSame), update},
		"open":   {of(gateway.NamespacesFromAll), leave},
		"silent": {&gateway.Gateway{Spec: gateway.GatewaySpec{Listeners: []gateway.Listener{{}}}}, leave},
	} {
		t.Run(name, func(t *testing.T) {
			if got := opened(c.of); got != c.want {
				t.Errorf("got verdict %d, want %d", got, c.want)
			}
			if got := opened(c.of); got != leave {
				t.Errorf("a second time: got verdict %d, want to leave it", got)
			}
		})
	}
}
