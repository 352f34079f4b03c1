package behaviors

import "slices"

// Feature is an optional capability that an implementation claims. A claim needs a passing spec; a feature without one cannot be claimed.
type Feature string

// Features that can be claimed.
const (
	FeatureAutoAllowWaypoints         Feature = "auto-allow-waypoints"
	FeatureBaggage                    Feature = "baggage"
	FeatureCanaryWaypoint             Feature = "canary-waypoint"
	FeatureControlPlaneOperations     Feature = "control-plane-operations"
	FeatureCRL                        Feature = "crl"
	FeatureCustomTrustDomain          Feature = "custom-trust-domain"
	FeatureDashboards                 Feature = "dashboards"
	FeatureDNSVariants                Feature = "dns-variants"
	FeatureDualStack                  Feature = "dual-stack"
	FeatureEgress                     Feature = "egress"
	FeatureForwardedClientCertificate Feature = "forwarded-client-certificate"
	FeatureGatewayHardening           Feature = "gateway-hardening"
	FeatureGatewayHostname            Feature = "gateway-hostname"
	FeatureHBONETuning                Feature = "hbone-tuning"
	FeatureIngress                    Feature = "ingress"
	FeatureInstallVariants            Feature = "install-variants"
	FeatureIPv6                       Feature = "ipv6"
	FeatureJWT                        Feature = "jwt"
	FeatureLiveTopologyChanges        Feature = "live-topology-changes"
	FeatureLocalityRouting            Feature = "locality-routing"
	FeatureMCSAPI                     Feature = "mcs-api"
	FeatureNetworkStress              Feature = "network-stress"
	FeaturePartitionTolerance         Feature = "partition-tolerance"
	FeaturePeerMetadata               Feature = "peer-metadata"
	FeatureReaderRights               Feature = "reader-rights"
	FeatureReplicatedIstiod           Feature = "replicated-istiod"
	FeatureRootRotation               Feature = "root-rotation"
	FeatureScopeRules                 Feature = "scope-rules"
	FeatureServiceEntries             Feature = "service-entries"
	FeatureSessionAffinity            Feature = "session-affinity"
	FeatureSidecarInterop             Feature = "sidecar-interop"
	FeatureThirdPartyWaypoints        Feature = "third-party-waypoints"
	FeatureTLSPassthrough             Feature = "tls-passthrough"
	FeatureTracing                    Feature = "tracing"
	FeatureTrafficDistribution        Feature = "traffic-distribution"
	FeatureUncapturedWorkloads        Feature = "uncaptured-workloads"
	FeatureUnevenServices             Feature = "uneven-services"
	FeatureVersionSkew                Feature = "version-skew"
	FeatureWaypointTrafficPolicies    Feature = "waypoint-traffic-policies"
	FeatureWaypointVariants           Feature = "waypoint-variants"
)

// featureMeaning says in a few words what a claim of the feature promises.
var featureMeaning = map[Feature]string{
	FeatureAutoAllowWaypoints:         "waypoints are admitted by an automatic policy",
	FeatureBaggage:                    "telemetry and identity travel as baggage",
	FeatureCanaryWaypoint:             "a service can move to a new waypoint by weight",
	FeatureControlPlaneOperations:     "remote credentials can be changed, lost and watched in operation",
	FeatureCRL:                        "certificates can be revoked by a list",
	FeatureCustomTrustDomain:          "trust domains other than the default",
	FeatureDashboards:                 "the documented dashboards show all clusters",
	FeatureDNSVariants:                "other ways of naming and resolving services",
	FeatureDualStack:                  "services and gateways of both address families",
	FeatureEgress:                     "egress through waypoints",
	FeatureForwardedClientCertificate: "applications see the original client in a header",
	FeatureGatewayHardening:           "the east-west gateway withstands odd and hostile clients",
	FeatureGatewayHostname:            "gateways whose address is a host name",
	FeatureHBONETuning:                "windows of HBONE can be set",
	FeatureIngress:                    "ingress gateways reach the services of all clusters",
	FeatureInstallVariants:            "other ways, orders and options of installing",
	FeatureIPv6:                       "clusters with IPv6",
	FeatureJWT:                        "request authentication across clusters",
	FeatureLiveTopologyChanges:        "clusters, networks and gateways change on the living mesh",
	FeatureLocalityRouting:            "locality rules beyond the failover page",
	FeatureMCSAPI:                     "the multi-cluster services API beside ambient",
	FeatureNetworkStress:              "load, loss and small packets between the clusters",
	FeaturePartitionTolerance:         "partitions and pauses",
	FeaturePeerMetadata:               "metrics name both peers",
	FeatureReaderRights:               "other rights and ways of giving credentials for remote clusters",
	FeatureReplicatedIstiod:           "several replicas of istiod",
	FeatureRootRotation:               "the root CA can be changed",
	FeatureScopeRules:                 "scope rules of the mesh configuration beyond the default",
	FeatureServiceEntries:             "ServiceEntries in a multi-network mesh",
	FeatureSessionAffinity:            "session affinity across clusters",
	FeatureSidecarInterop:             "classic and ambient multicluster side by side",
	FeatureThirdPartyWaypoints:        "waypoints of another implementation",
	FeatureTLSPassthrough:             "other TLS ports on the east-west gateway",
	FeatureTracing:                    "traces across clusters",
	FeatureTrafficDistribution:        "more of trafficDistribution and internalTrafficPolicy",
	FeatureUncapturedWorkloads:        "workloads that join late or stay outside",
	FeatureUnevenServices:             "services that differ between clusters",
	FeatureVersionSkew:                "clusters and planes of different versions",
	FeatureWaypointTrafficPolicies:    "traffic policies of waypoints toward remote endpoints",
	FeatureWaypointVariants:           "waypoints beyond one per namespace for services",
}

// FeatureInfo is a feature with the behaviors that show it.
type FeatureInfo struct {
	Feature   Feature
	Meaning   string
	Behaviors []*Behavior
}

// Features are all features, by name, with their behaviors in the catalog's order.
func Features() []FeatureInfo {
	of := map[Feature][]*Behavior{}
	for _, b := range All() {
		of[b.Feature] = append(of[b.Feature], b)
	}
	var all []FeatureInfo
	for f, meaning := range featureMeaning {
		all = append(all, FeatureInfo{Feature: f, Meaning: meaning, Behaviors: of[f]})
	}
	slices.SortFunc(all, func(a, b FeatureInfo) int {
		if a.Feature < b.Feature {
			return -1
		}
		return 1
	})
	return all
}

// IsFeature says whether the catalog knows the feature.
func IsFeature(f Feature) bool { return featureMeaning[f] != "" }
