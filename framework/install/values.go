package install

import (
	"strings"

	"helm.sh/helm/v4/pkg/postrenderer"

	"ambient.test/conformance/framework/mesh"
)

// small are resource requests that let a whole mesh fit on a node of two cores; the charts' defaults fill it. Limits stay the charts'.
func small(memory string) map[string]any {
	return map[string]any{"requests": map[string]any{"cpu": "10m", "memory": memory}}
}

// chart is one of Istio's charts, as it is installed.
type chart struct {
	release string
	path    string // below manifests/charts
	values  map[string]any
	// postRenderer changes what no value can; nil for most.
	postRenderer postrenderer.PostRenderer
}

// charts are the four charts with the values that the documented install of a multi-primary, multi-network ambient mesh gives them
// (https://istio.io/latest/docs/ambient/install/multicluster/multi-primary_multi-network/), and of ours only:
// images in full, small resource requests, one replica of istiod without autoscaler (there is no metrics server), access logs as evidence, and
// readiness probes that ask more often (see eagerProbes).
//
// AMBIENT_ENABLE_BAGGAGE, which the documents set since 1.29, is left out when proxyv2 is a stand-in: it makes istiod send Envoy extensions that
// only Istio's Envoy has.
func charts(f *mesh.Fleet, c *mesh.Cluster, images map[string]mesh.ImageRef) []chart {
	env := map[string]any{"AMBIENT_ENABLE_MULTI_NETWORK": "true"}
	if images["proxyv2"].StandIn == "" {
		env["AMBIENT_ENABLE_BAGGAGE"] = "true"
	}
	proxy := map[string]any{"image": images["proxyv2"].Ref, "resources": small("64Mi")}
	if f.Domain != "" {
		proxy["clusterDomain"] = f.Domain
	}
	meshConfig := map[string]any{"accessLogFile": "/dev/stdout"}
	if f.TrustDomain != "" {
		meshConfig["trustDomain"] = f.TrustDomain
	}
	return []chart{
		{release: "istio-base", path: "base", values: map[string]any{}},
		{release: "istiod", path: "istio-control/istio-discovery", values: map[string]any{
			"profile": "ambient",
			"global": map[string]any{
				"meshID":          MeshID,
				"multiCluster":    map[string]any{"clusterName": c.Name},
				"network":         c.Network,
				"imagePullPolicy": "IfNotPresent",
				"proxy":           proxy,
				"proxy_init":      map[string]any{"image": images["proxyv2"].Ref},
				"waypoint":        map[string]any{"resources": small("64Mi")},
			},
			"env":              env,
			"image":            images["pilot"].Ref,
			"resources":        small("128Mi"),
			"autoscaleEnabled": false,
			"meshConfig":       meshConfig,
		}},
		{release: "istio-cni", path: "istio-cni", postRenderer: eagerProbes{}, values: map[string]any{
			"profile":   "ambient",
			"image":     images["install-cni"].Ref,
			"global":    map[string]any{"imagePullPolicy": "IfNotPresent"},
			"resources": small("64Mi"),
		}},
		{release: "ztunnel", path: "ztunnel", postRenderer: eagerProbes{}, values: map[string]any{
			"multiCluster":    map[string]any{"clusterName": c.Name},
			"global":          map[string]any{"network": c.Network},
			"image":           images["ztunnel"].Ref,
			"imagePullPolicy": "IfNotPresent",
			"resources":       small("64Mi"),
		}},
	}
}

// full makes a reference one that the charts take for a whole one: with a slash in it.
func full(ref string) bool { return strings.Contains(ref, "/") }
