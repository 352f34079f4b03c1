// Package mutants breaks a mesh on purpose and restores it. A spec that stays green on a mutant
// that its behavior names proves nothing.
//
// Mutants work through API servers only, in one cluster unless they say otherwise. Objects that a
// spec creates, such as a Service or a policy, are changed as soon as they appear.
package mutants

import (
	"context"
	"fmt"
	"slices"

	istio "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
)

// Undo restores what a mutant broke and waits until it works again. It may be called once.
type Undo func(ctx context.Context) error

// Mutant is a mutant of the catalog that can be applied.
type Mutant struct {
	behaviors.Mutant
	// Does says what the mutant does where this differs from the words of the catalog; else empty.
	Does string
	// Only names the behaviors that the mutant can break, if these are not all that name it.
	Only []string
	// Fault is what an image of the stand-in for ztunnel does that no configuration gives; empty for a
	// mutant that needs no such image. See [Mutant.Apply].
	Fault string
	apply func(ctx context.Context, f *mesh.Fleet) (Undo, error)
}

// Apply breaks the mesh. When it fails, it has undone what it did. The fleet needs at least two
// clusters. faulty is the image of the stand-in for ztunnel with faults; only a mutant with a Fault
// needs it.
func (m *Mutant) Apply(ctx context.Context, f *mesh.Fleet, faulty string) (Undo, error) {
	if len(f.Clusters) < 2 {
		return nil, fmt.Errorf("%s: a mutant needs a fleet of at least two clusters, this one has %d", m.ID, len(f.Clusters))
	}
	for _, c := range f.Clusters {
		if err := c.Connect(); err != nil {
			return nil, err
		}
	}
	apply := m.apply
	if m.Fault != "" {
		apply = faultyZtunnel(faulty, m.Fault)
	}
	undo, err := apply(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	return undo, nil
}

// Targets are the behaviors whose specs must not be green on the mutant, in the order of the
// catalog.
func (m *Mutant) Targets() []*behaviors.Behavior {
	var all []*behaviors.Behavior
	for _, b := range behaviors.WithSpecs() {
		if m.ID == NoOp {
			all = append(all, b)
			continue
		}
		if slices.Contains(b.Mutants, m.ID) && (m.Only == nil || slices.Contains(m.Only, b.ID)) {
			all = append(all, b)
		}
	}
	return all
}

// NoOp is the mutant that breaks nothing. It is aimed at every behavior with a spec. It comes last:
// its green specs also show that what came before is undone.
const NoOp = "M00"

// All returns the mutants that can be applied, in the order of their ids; NoOp comes last.
func All() []*Mutant { return every }

// ByID finds a mutant that can be applied; nil if there is none with this id.
func ByID(id string) *Mutant {
	for _, m := range every {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// NotHere says why mutants of the catalog cannot be applied.
var NotHere = map[string]string{
	"M08": "another root CA means new certificates for all of cluster2, and again for undoing it: this needs a fleet of its own",
	"M09": "routes are set on nodes, which no API server can do; M22 breaks the same promise",
	"M16": "a server outside the mesh breaks calls before any counter is read; M22 breaks the same promise",
	"M17": "no behavior that names it has a spec",
	"M21": "it breaks no promise: M22 shows that a spec looks at who answers",
	"M20": "no behavior that names it has a spec",
}

var every = func() []*Mutant {
	var all []*Mutant
	for _, m := range []Mutant{
		{Mutant: behaviors.Mutant{ID: "M01"}, apply: interfereWithServices(1, removeGlobal)},
		{Mutant: behaviors.Mutant{ID: "M02"}, Does: "in cluster1", apply: noScopes},
		{Mutant: behaviors.Mutant{ID: "M03"}, apply: noGateway},
		{Mutant: behaviors.Mutant{ID: "M04"}, apply: noRemoteSecret},
		{Mutant: behaviors.Mutant{ID: "M05"}, apply: istiodEnv("AMBIENT_ENABLE_MULTI_NETWORK", "false")},
		{Mutant: behaviors.Mutant{ID: "M06"}, apply: noNetworkLabel},
		{Mutant: behaviors.Mutant{ID: "M07"}, apply: ztunnelEnv("NETWORK", "")},
		{Mutant: behaviors.Mutant{ID: "M10"}, Does: "services of cluster2 name a waypoint that does not exist",
			apply: interfereWithServices(1, renameWaypoint)},
		{Mutant: behaviors.Mutant{ID: "M11"}, Does: "in cluster2", apply: interfereWithServices(1, removeGlobalFromWaypoint)},
		{Mutant: behaviors.Mutant{ID: "M12"}, Does: "in cluster2", apply: none[*gateway.HTTPRoute](&gateway.HTTPRouteList{})},
		{Mutant: behaviors.Mutant{ID: "M13"}, Does: "in cluster1", apply: noOutlierDetection},
		{Mutant: behaviors.Mutant{ID: "M14"}, apply: none[*security.AuthorizationPolicy](&security.AuthorizationPolicyList{})},
		{Mutant: behaviors.Mutant{ID: "M15"}, Does: "in cluster2, an Envoy in front of the gateway asks for no client certificate, " +
			"forwards plaintext to a pod, connects to istiod and to whatever else is named, and ends single tunnels",
			apply: impostor(15012, true)},
		{Mutant: behaviors.Mutant{ID: "M18"}, Does: "istiod of cluster1 is scaled to 0", apply: noIstiod},
		{Mutant: behaviors.Mutant{ID: "M19"}, Does: "in cluster1", apply: istiodEnv("AMBIENT_ENABLE_MULTI_NETWORK_WAYPOINT", "false")},
		{Mutant: behaviors.Mutant{ID: "M22"}, Does: "in cluster1, a server in the mesh answers in the name of cluster2",
			Only: []string{"ID-09"}, apply: falseServer(fixture.MeshNamespace, fixture.Echo)},
		{Mutant: behaviors.Mutant{ID: "M23"}, apply: everywhere(addGlobal)},
		{Mutant: behaviors.Mutant{ID: "M24"}, apply: keepNetworkLabel},
		{Mutant: behaviors.Mutant{ID: "M25"}, apply: interfereWithServices(1, swapSelectors)},
		{Mutant: behaviors.Mutant{ID: "M26"}, apply: localOnceRemoteIsNeeded},
		{Mutant: behaviors.Mutant{ID: "M27"}, apply: markTwice},
		{Mutant: behaviors.Mutant{ID: "M28"}, apply: noPreference},
		{Mutant: behaviors.Mutant{ID: "M29"}, apply: cutter},
		{Mutant: behaviors.Mutant{ID: "M30"}, apply: interfereWithServices(1, waitForClient)},
		{Mutant: behaviors.Mutant{ID: "M31"}, apply: flap},
		{Mutant: behaviors.Mutant{ID: "M32"}, Does: "as M15, in cluster2", apply: impostor(15014, false)},
		{Mutant: behaviors.Mutant{ID: "M33"}, apply: uncapture},
		{Mutant: behaviors.Mutant{ID: "M34"}, apply: leaker},
		{Mutant: behaviors.Mutant{ID: "M35"}, apply: recreateGateway},
		{Mutant: behaviors.Mutant{ID: "M36"}, apply: forgetOnRestart},
		{Mutant: behaviors.Mutant{ID: "M37"}, apply: anotherPort},
		{Mutant: behaviors.Mutant{ID: "M38"}, apply: interfereWithServices(1, mixUp)},
		{Mutant: behaviors.Mutant{ID: "M39"}, apply: keepIstiodGlobal},
		{Mutant: behaviors.Mutant{ID: "M40"}, apply: rightListeners},
		{Mutant: behaviors.Mutant{ID: "M41"}, apply: keepRemoteSecrets},
		{Mutant: behaviors.Mutant{ID: "M42"}, apply: dropNewRemoteSecret},
		{Mutant: behaviors.Mutant{ID: "M43"}, apply: noGatewayWithoutIstiod},
		{Mutant: behaviors.Mutant{ID: "M44"}, apply: uncaptureNew(0)},
		{Mutant: behaviors.Mutant{ID: "M45"}, apply: noMutualTLSAfterRotation},
		{Mutant: behaviors.Mutant{ID: "M46"}, apply: istiodEnv("PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS", "exec,tokenFile")},
		{Mutant: behaviors.Mutant{ID: "M47"}, apply: labelRemoteSecrets},
		{Mutant: behaviors.Mutant{ID: "M48"}, apply: correctRemoteSecrets},
		{Mutant: behaviors.Mutant{ID: "M49"}, apply: everywhere(anyScopeIsTrue)},
		{Mutant: behaviors.Mutant{ID: "M50"}, apply: copyServices},
		{Mutant: behaviors.Mutant{ID: "M51"}, apply: admitAnother},
		{Mutant: behaviors.Mutant{ID: "M52"}, Does: "by taking istio.io/global from them", apply: localUnderPolicy},
		{Mutant: behaviors.Mutant{ID: "M53"}, apply: interfereWithServices(1, optIn)},
		{Mutant: behaviors.Mutant{ID: "M54"}, apply: namespaceRule},
		{Mutant: behaviors.Mutant{ID: "M55"}, apply: keepMeshConfig},
		{Mutant: behaviors.Mutant{ID: "M56"}, apply: copyMeshConfig},
		{Mutant: behaviors.Mutant{ID: "M57"}, apply: unlabelWaypointGateways},
		{Mutant: behaviors.Mutant{ID: "M58"}, apply: openWaypoints},
		{Mutant: behaviors.Mutant{ID: "M59"}, apply: keepGateway},
		{Mutant: behaviors.Mutant{ID: "M60"}, apply: interfereWithServices(0, publishNotReady)},
		{Mutant: behaviors.Mutant{ID: "M61"}, apply: oneOfMany},
		{Mutant: behaviors.Mutant{ID: "M62"}, apply: interfereWithServices(0, noDistribution)},
		{Mutant: behaviors.Mutant{ID: "M63"}, apply: recreatePods},
		{Mutant: behaviors.Mutant{ID: "M64"}, apply: notReadyEither},
		{Mutant: behaviors.Mutant{ID: "M65"}, apply: anotherCertificate},
		{Mutant: behaviors.Mutant{ID: "M66"}, apply: noStrict},
		{Mutant: behaviors.Mutant{ID: "M67"}, apply: slowWaypoint},
		{Mutant: behaviors.Mutant{ID: "M68"}, apply: exposeAPIServer},
		{Mutant: behaviors.Mutant{ID: "M69"}, apply: uncaptureNew(1)},
		{Mutant: behaviors.Mutant{ID: "M73"}, apply: none[*security.RequestAuthentication](&security.RequestAuthenticationList{})},
		{Mutant: behaviors.Mutant{ID: "M75"}, apply: none[*istio.VirtualService](&istio.VirtualServiceList{})},
		{Mutant: behaviors.Mutant{ID: "M77"}, apply: everywhere(noWaypoint)},
		{Mutant: behaviors.Mutant{ID: "M79"}, apply: talker},
		{Mutant: behaviors.Mutant{ID: "M80"}, apply: withoutGatewayNoLocalPods},
		{Mutant: behaviors.Mutant{ID: "M81"}, apply: uncaptureDuringCNIRestart},
		{Mutant: behaviors.Mutant{ID: "M82"}, apply: withoutZtunnel},
		{Mutant: behaviors.Mutant{ID: "M83"}, apply: strangeEndpoint},
		{Mutant: behaviors.Mutant{ID: "M84"}, apply: loseAllReplicas},
		{Mutant: behaviors.Mutant{ID: "M85"}, apply: falseServer(fixture.PlainNamespace, fixture.Plain)},
		{Mutant: behaviors.Mutant{ID: "M86"}, apply: captureOutsiders},
		{Mutant: behaviors.Mutant{ID: "M87"}, apply: interfereWithServices(1, anotherTarget)},
		{Mutant: behaviors.Mutant{ID: "M88"}, apply: noGatewayAfterRemoval},
		{Mutant: behaviors.Mutant{ID: "M89"}, apply: in(fixture.PlainNamespace, &gateway.TLSRouteList{}, always[*gateway.TLSRoute](remove))},
		{Mutant: behaviors.Mutant{ID: "M90"}, apply: interfereWithServices(1, onceGlobal(removeGlobal))},
		{Mutant: behaviors.Mutant{ID: "M91"}, apply: noGatewayOnceGlobal},
		{Mutant: behaviors.Mutant{ID: "M92"}, apply: keepEnrolled},
		{Mutant: behaviors.Mutant{ID: "M93"}, apply: noIstiodAfterMove},
		{Mutant: behaviors.Mutant{ID: "M94"}, apply: noSecondGateway},
		{Mutant: behaviors.Mutant{ID: "M95"}, apply: in(ofSpecs, &istio.VirtualServiceList{}, noRetries)},
		{Mutant: behaviors.Mutant{ID: "M96"}, apply: noFilters(gateway.HTTPRouteFilterRequestMirror)},
		{Mutant: behaviors.Mutant{ID: "M97"}, apply: in(ofSpecs, &gateway.HTTPRouteList{}, noTimeouts)},
		{Mutant: behaviors.Mutant{ID: "M98"}, apply: noFilters(gateway.HTTPRouteFilterRequestRedirect)},
		{Mutant: behaviors.Mutant{ID: "M99"}, apply: forgetAfterRestart},
		{Mutant: behaviors.Mutant{ID: "M100"}, apply: istiodComesBack},
		{Mutant: behaviors.Mutant{ID: "M101"}, apply: interfereWithServices(1, leadToEcho)},
		{Mutant: behaviors.Mutant{ID: "M102"}, apply: foreignCA},
		{Mutant: behaviors.Mutant{ID: "M103"}, apply: beforePeers("gw-28", front{Most: 100})},
		{Mutant: behaviors.Mutant{ID: "M104"}, apply: beforePeers("trf-08", front{Longest: "0.3s"})},
		{Mutant: behaviors.Mutant{ID: "M105"}, apply: uncaptureRestarted},
		{Mutant: behaviors.Mutant{ID: "M106"}, apply: noIstiodAfterUpdates},
		{Mutant: behaviors.Mutant{ID: "M107"}, apply: ztunnelEnv("POOL_MAX_STREAMS_PER_CONNECTION", "1")},
		{Mutant: behaviors.Mutant{ID: "M108"}, apply: selectTheNamespace},
		{Mutant: behaviors.Mutant{ID: "M109"}, apply: interfereWithServices(1, publishNotReady)},
		{Mutant: behaviors.Mutant{ID: "M110"}, apply: interfereWithServices(1, firstTarget)},
		{Mutant: behaviors.Mutant{ID: "M111"}, apply: beforePeers("trf-09", front{Longest: "20s"})},
		{Mutant: behaviors.Mutant{ID: "M112"}, apply: secondAddress("dns-04-peer", "dns-04-echo")},
		{Mutant: behaviors.Mutant{ID: "M113"}, Fault: "hides-aborts"},
		{Mutant: behaviors.Mutant{ID: "M114"}, Fault: "hides-mutual-tls"},
		{Mutant: behaviors.Mutant{ID: "M115"}, Fault: "cuts-kept"},
		{Mutant: behaviors.Mutant{ID: "M116"}, Fault: "refuses-some"},
		{Mutant: behaviors.Mutant{ID: NoOp}, apply: noOp},
	} {
		m.Mutant = *behaviors.MutantByID(m.ID)
		all = append(all, &m)
	}
	return all
}()
