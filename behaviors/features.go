package behaviors

import (
	"maps"
	"slices"
)

// Feature is an optional capability that an implementation claims. A claim needs a passing spec: a
// feature without one cannot be claimed.
type Feature string

// Features that can be claimed.
var (
	FeatureAutoAllowWaypoints         = feature("auto-allow-waypoints", "waypoints are admitted by an automatic policy")
	FeatureBaggage                    = feature("baggage", "telemetry and identity travel as baggage")
	FeatureCanaryWaypoint             = feature("canary-waypoint", "a service can move to a new waypoint by weight")
	FeatureControlPlaneOperations     = feature("control-plane-operations", "remote credentials can be changed, lost and watched in operation")
	FeatureCRL                        = feature("crl", "certificates can be revoked by a list")
	FeatureCustomTrustDomain          = feature("custom-trust-domain", "trust domains other than the default")
	FeatureDashboards                 = feature("dashboards", "the documented dashboards show all clusters")
	FeatureDNSVariants                = feature("dns-variants", "other ways of naming and resolving services")
	FeatureDualStack                  = feature("dual-stack", "services and gateways of both address families")
	FeatureEgress                     = feature("egress", "egress through waypoints")
	FeatureForwardedClientCertificate = feature("forwarded-client-certificate", "applications see the original client in a header")
	FeatureGatewayHardening           = feature("gateway-hardening", "the east-west gateway withstands odd and hostile clients")
	FeatureGatewayHostname            = feature("gateway-hostname", "gateways whose address is a host name")
	FeatureHBONETuning                = feature("hbone-tuning", "windows of HBONE can be set")
	FeatureIngress                    = feature("ingress", "ingress gateways reach the services of all clusters")
	FeatureInstallVariants            = feature("install-variants", "other ways, orders and options of installing")
	FeatureIPv6                       = feature("ipv6", "clusters with IPv6")
	FeatureJWT                        = feature("jwt", "request authentication across clusters")
	FeatureLiveTopologyChanges        = feature("live-topology-changes", "clusters, networks and gateways change on the living mesh")
	FeatureLocalityRouting            = feature("locality-routing", "locality rules beyond the failover page")
	FeatureMCSAPI                     = feature("mcs-api", "the multi-cluster services API beside ambient")
	FeatureNetworkStress              = feature("network-stress", "load, loss and small packets between the clusters")
	FeatureOutages                    = feature("outages", "power cuts, and a lack of istiod that outlasts certificates")
	FeaturePartitionTolerance         = feature("partition-tolerance", "partitions and pauses")
	FeaturePeerMetadata               = feature("peer-metadata", "metrics name both peers")
	FeatureReaderRights               = feature("reader-rights", "other rights and ways of giving credentials for remote clusters")
	FeatureReplicatedIstiod           = feature("replicated-istiod", "several replicas of istiod")
	FeatureRootRotation               = feature("root-rotation", "the root CA can be changed")
	FeatureScopeRules                 = feature("scope-rules", "scope rules of the mesh configuration beyond the default")
	FeatureServiceEntries             = feature("service-entries", "ServiceEntries in a multi-network mesh")
	FeatureSessionAffinity            = feature("session-affinity", "session affinity across clusters")
	FeatureSidecarInterop             = feature("sidecar-interop", "classic and ambient multicluster side by side")
	FeatureThirdPartyWaypoints        = feature("third-party-waypoints", "waypoints of another implementation")
	FeatureTLSPassthrough             = feature("tls-passthrough", "other TLS ports on the east-west gateway")
	FeatureTracing                    = feature("tracing", "traces across clusters")
	FeatureTrafficDistribution        = feature("traffic-distribution", "more of trafficDistribution and internalTrafficPolicy")
	FeatureUncapturedWorkloads        = feature("uncaptured-workloads", "workloads that join late or stay outside")
	FeatureUnevenServices             = feature("uneven-services", "services that differ between clusters")
	FeatureVersionSkew                = feature("version-skew", "clusters and planes of different versions")
	FeatureWaypointTrafficPolicies    = feature("waypoint-traffic-policies", "traffic policies of waypoints toward remote endpoints")
	FeatureWaypointVariants           = feature("waypoint-variants", "waypoints beyond one per namespace for services")
)

// featureMeaning says in a few words what a claim of the feature promises.
var featureMeaning = map[Feature]string{}

func feature(name Feature, meaning string) Feature {
	featureMeaning[name] = meaning
	return name
}

// FeatureInfo is a feature with the behaviors that show it.
type FeatureInfo struct {
	Feature   Feature
	Meaning   string
	Behaviors []*Behavior
}

// Features returns all features by name, with their behaviors in the catalog's order.
func Features() []FeatureInfo {
	of := map[Feature][]*Behavior{}
	for _, b := range All() {
		of[b.Feature] = append(of[b.Feature], b)
	}
	var all []FeatureInfo
	for _, f := range slices.Sorted(maps.Keys(featureMeaning)) {
		all = append(all, FeatureInfo{Feature: f, Meaning: featureMeaning[f], Behaviors: of[f]})
	}
	return all
}

// IsFeature reports whether the catalog knows the feature.
func IsFeature(f Feature) bool { return featureMeaning[f] != "" }
