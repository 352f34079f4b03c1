package spec

import (
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1"
	security "istio.io/api/security/v1"
	typev1 "istio.io/api/type/v1beta1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/reports/api"
)

var (
	// PreferCluster is the preference of the failover page.
	PreferCluster = &networking.LocalityLoadBalancerSetting{FailoverPriority: []string{label.TopologyCluster.Name}}
	// AnyError is the outlier detection of the failover page: the first error takes an endpoint out.
	AnyError = anyError(0)
	// AnyErrorOfAll is the same, where all endpoints may be taken out. The page leaves it at Envoy's
	// tenth, which of a few endpoints is none.
	AnyErrorOfAll = anyError(100)
	// NoPreference switches every preference off, also that of regions.
	NoPreference = &networking.LocalityLoadBalancerSetting{Enabled: wrapperspb.Bool(false)}
)

func anyError(percent int32) *networking.OutlierDetection {
	return &networking.OutlierDetection{
		Consecutive_5XxErrors: wrapperspb.UInt32(1),
		Interval:              durationpb.New(time.Second),
		BaseEjectionTime:      durationpb.New(time.Minute),
		MaxEjectionPercent:    percent, // 0 = not set
	}
}

func (s *Service) meta(kind string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name + "-" + kind}
}

// LocalityRule is the DestinationRule of the failover page for the Service, with a preference.
func (s *Service) LocalityRule(preference *networking.LocalityLoadBalancerSetting) Object {
	return s.OutlierRule(preference, AnyError)
}

// OutlierRule is [Service.LocalityRule] with another outlier detection; nil for none.
func (s *Service) OutlierRule(preference *networking.LocalityLoadBalancerSetting, detection *networking.OutlierDetection) Object {
	return func(*Cluster) client.Object {
		return &networkingv1.DestinationRule{
			ObjectMeta: s.meta("locality"),
			Spec: networking.DestinationRule{Host: s.Host(), TrafficPolicy: &networking.TrafficPolicy{
				OutlierDetection: detection,
				LoadBalancer: &networking.LoadBalancerSettings{
					LbPolicy:          &networking.LoadBalancerSettings_Simple{Simple: networking.LoadBalancerSettings_ROUND_ROBIN},
					LocalityLbSetting: preference,
				},
			}},
		}
	}
}

// Virtual is a VirtualService for the Service's HTTP port with one route, changed. Like an
// HTTPRoute of [Service.TraceWaypoints] it makes visible which waypoints an answer came through.
func (s *Service) Virtual(change func(route *networking.HTTPRoute)) Object {
	return func(c *Cluster) client.Object {
		r := &networking.HTTPRoute{
			Headers: &networking.Headers{Response: &networking.Headers_HeaderOperations{Add: map[string]string{traffic.WaypointHeader: c.Name}}},
			Route: []*networking.HTTPRouteDestination{
				{Destination: &networking.Destination{Host: s.Host(), Port: &networking.PortSelector{Number: 80}}},
			},
		}
		change(r)
		return &networkingv1.VirtualService{ObjectMeta: s.meta("routes"),
			Spec: networking.VirtualService{Hosts: []string{s.Host()}, Http: []*networking.HTTPRoute{r}}}
	}
}

// Retries repeats requests of a route that are answered with an error of the server, at another
// endpoint if there is one.
func Retries(r *networking.HTTPRoute) { r.Retries = &networking.HTTPRetry{Attempts: 3, RetryOn: "5xx"} }

// Abort answers the requests of a route with a status.
func Abort(status int32) func(*networking.HTTPRoute) {
	return func(r *networking.HTTPRoute) {
		r.Fault = &networking.HTTPFaultInjection{Abort: &networking.HTTPFaultInjection_Abort{
			ErrorType: &networking.HTTPFaultInjection_Abort_HttpStatus{HttpStatus: status}, Percentage: &networking.Percent{Value: 100}}}
	}
}

// PreferClose is the Service with a traffic distribution that prefers what is close.
func (s *Service) PreferClose(c *Cluster) client.Object {
	o, prefer := s.Object(c).(*corev1.Service), corev1.ServiceTrafficDistributionPreferClose
	o.Spec.TrafficDistribution = &prefer
	return o
}

// PublishNotReady is [Service.PreferClose] with the addresses of its pods that are not ready, too.
func (s *Service) PublishNotReady(c *Cluster) client.Object {
	o := s.PreferClose(c).(*corev1.Service)
	o.Spec.PublishNotReadyAddresses = true
	return o
}

// Entry is a ServiceEntry that has the Service's host and ports and names no endpoint. It is global.
func (s *Service) Entry(c *Cluster) client.Object {
	e := &networkingv1.ServiceEntry{ObjectMeta: s.meta("entry"), Spec: networking.ServiceEntry{
		Hosts: []string{s.Host()}, Location: networking.ServiceEntry_MESH_INTERNAL, Resolution: networking.ServiceEntry_STATIC}}
	e.Labels = map[string]string{workload.LabelGlobal: "true"}
	for _, p := range s.Object(c).(*corev1.Service).Spec.Ports {
		protocol := "TCP"
		if p.AppProtocol != nil {
			protocol = strings.ToUpper(*p.AppProtocol)
		}
		e.Spec.Ports = append(e.Spec.Ports, &networking.ServicePort{
			Number: uint32(p.Port), TargetPort: uint32(p.TargetPort.IntValue()), Name: p.Name, Protocol: protocol,
		})
	}
	return e
}

// PodPolicy is an AuthorizationPolicy on the pods of the Service for the principals; none selects
// nobody.
func (s *Service) PodPolicy(action security.AuthorizationPolicy_Action, principals ...string) Object {
	return func(*Cluster) client.Object {
		return &securityv1.AuthorizationPolicy{
			ObjectMeta: s.meta("pods"),
			Spec: security.AuthorizationPolicy{Action: action, Rules: from(principals),
				Selector: &typev1.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: s.App}}},
		}
	}
}

// NamespaceDeny is an AuthorizationPolicy of the specs' namespace, for all its pods, against the
// principals.
func (t *T) NamespaceDeny(principals ...string) Object {
	return func(*Cluster) client.Object {
		return &securityv1.AuthorizationPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: t.Name("namespace")},
			Spec:       security.AuthorizationPolicy{Action: security.AuthorizationPolicy_DENY, Rules: from(principals)},
		}
	}
}

// PodMutualTLS is a PeerAuthentication of the Service's pods.
func (s *Service) PodMutualTLS(mode security.PeerAuthentication_MutualTLS_Mode) Object {
	return s.podMutualTLS(&security.PeerAuthentication{Mtls: &security.PeerAuthentication_MutualTLS{Mode: mode}})
}

// PortMutualTLS is a PeerAuthentication of the Service's pods that speaks of one of their ports
// only.
func (s *Service) PortMutualTLS(port uint32, mode security.PeerAuthentication_MutualTLS_Mode) Object {
	return s.podMutualTLS(&security.PeerAuthentication{
		PortLevelMtls: map[uint32]*security.PeerAuthentication_MutualTLS{port: {Mode: mode}}})
}

func (s *Service) podMutualTLS(spec *security.PeerAuthentication) Object {
	return func(*Cluster) client.Object {
		p := &securityv1.PeerAuthentication{ObjectMeta: s.meta("mtls")}
		spec.DeepCopyInto(&p.Spec)
		p.Spec.Selector = &typev1.WorkloadSelector{MatchLabels: map[string]string{workload.LabelApp: s.App}}
		return p
	}
}

// MutualTLSFromRoot is a PeerAuthentication that selects the Service's pods and stands in the root
// namespace of the mesh.
func (s *Service) MutualTLSFromRoot(mode security.PeerAuthentication_MutualTLS_Mode) Object {
	return func(c *Cluster) client.Object {
		facts, err := inspect.Read(s.t.ctx, c.Cluster)
		s.t.NoError(err)
		p := s.PodMutualTLS(mode)(c)
		p.SetNamespace(facts.RootNamespace)
		return p
	}
}

// MutualTLSOf is a PeerAuthentication of a namespace.
func (t *T) MutualTLSOf(namespace string, mode security.PeerAuthentication_MutualTLS_Mode) Object {
	return func(*Cluster) client.Object {
		return &securityv1.PeerAuthentication{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: t.Name("namespace")},
			Spec:       security.PeerAuthentication{Mtls: &security.PeerAuthentication_MutualTLS{Mode: mode}},
		}
	}
}

// Deny is an AuthorizationPolicy on the Service, which its waypoint enforces, against the
// principals.
func (s *Service) Deny(principals ...string) Object {
	return s.servicePolicy(security.AuthorizationPolicy_DENY, from(principals))
}

// AllowGet is an AuthorizationPolicy on the Service, which its waypoint enforces: principals may
// GET a path, and nobody may do anything else.
func (s *Service) AllowGet(path string, principals ...string) Object {
	rules := from(principals)
	for _, r := range rules {
		r.To = []*security.Rule_To{{Operation: &security.Operation{Methods: []string{http.MethodGet}, Paths: []string{path}}}}
	}
	return s.servicePolicy(security.AuthorizationPolicy_ALLOW, rules)
}

func (s *Service) servicePolicy(action security.AuthorizationPolicy_Action, rules []*security.Rule) Object {
	return func(*Cluster) client.Object {
		return &securityv1.AuthorizationPolicy{
			ObjectMeta: s.meta("service"),
			Spec: security.AuthorizationPolicy{Action: action, Rules: rules,
				TargetRefs: []*typev1.PolicyTargetReference{{Kind: "Service", Name: s.Name}}},
		}
	}
}

// Tokens is a RequestAuthentication on the Service: its waypoint refuses each request with a token
// that this key has not signed. The key is the example of RFC 7517, so nobody has such a token.
func (s *Service) Tokens() Object {
	return func(*Cluster) client.Object {
		return &securityv1.RequestAuthentication{
			ObjectMeta: s.meta("tokens"),
			Spec: security.RequestAuthentication{
				TargetRefs: []*typev1.PolicyTargetReference{{Kind: "Service", Name: s.Name}},
				JwtRules: []*security.JWTRule{{Issuer: "issuer." + api.Group, Jwks: `{"keys":[{"kty":"EC","crv":"P-256",` +
					`"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`}},
			},
		}
	}
}

// DenyAtWaypoint is an AuthorizationPolicy on a waypoint of the specs' namespace, against the
// principals.
func (t *T) DenyAtWaypoint(name string, principals ...string) Object {
	meta := metav1.ObjectMeta{Namespace: fixture.MeshNamespace, Name: t.Name("waypoint")}
	return func(*Cluster) client.Object { return gatewayPolicy(meta, "Gateway", name, principals) }
}

// DenyAtAllWaypoints is an AuthorizationPolicy on the class of the waypoints, against the
// principals. It stands in the root namespace of the mesh and holds for all waypoints of the
// cluster.
func (t *T) DenyAtAllWaypoints(principals ...string) Object {
	return func(c *Cluster) client.Object {
		facts, err := inspect.Read(t.ctx, c.Cluster)
		t.NoError(err)
		meta := metav1.ObjectMeta{Namespace: facts.RootNamespace, Name: t.Name("class")}
		return gatewayPolicy(meta, "GatewayClass", c.ClassOfWaypoints(), principals)
	}
}

func gatewayPolicy(meta metav1.ObjectMeta, kind, name string, principals []string) *securityv1.AuthorizationPolicy {
	return &securityv1.AuthorizationPolicy{
		ObjectMeta: meta,
		Spec: security.AuthorizationPolicy{Action: security.AuthorizationPolicy_DENY, Rules: from(principals),
			TargetRefs: []*typev1.PolicyTargetReference{{Group: gateway.GroupName, Kind: kind, Name: name}}},
	}
}

func from(principals []string) []*security.Rule {
	if len(principals) == 0 {
		return nil
	}
	return []*security.Rule{{From: []*security.Rule_From{{Source: &security.Source{Principals: principals}}}}}
}
