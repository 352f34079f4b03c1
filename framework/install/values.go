package install

import (
	"maps"
	"strings"

	"helm.sh/helm/v4/pkg/postrenderer"

	"ambient.test/conformance/framework/mesh"
)

// small returns resource requests with which a whole mesh fits on a node of two cores. The charts'
// defaults alone would fill it. Limits stay those of the charts.
func small(memory string) map[string]any {
	return map[string]any{"requests": map[string]any{"cpu": "10m", "memory": memory}}
}

// chart is one of Istio's charts and how it is installed.
type chart struct {
	release string
	path    string // below manifests/charts
	values  map[string]any
	// postRenderer changes what no chart value can; nil for most charts.
	postRenderer postrenderer.PostRenderer
}

// charts returns the four charts with the values of the documented install of a multi-primary,
// multi-network ambient mesh
// (https://istio.io/latest/docs/ambient/install/multicluster/multi-primary_multi-network/). We add
// only full image references, small resource requests, one replica of istiod without an autoscaler
// (there is no metrics server), access logs as evidence, and more frequent readiness probes (see
// eagerProbes).
//
// The documents set AMBIENT_ENABLE_BAGGAGE since 1.29. It is left out when proxyv2 is a stand-in,
// because it makes istiod send Envoy extensions that only Istio's Envoy has.
//
// A fleet's variants change the domains, the revision and the number of istiods. The values that
// say so are those of Istio's documents; ztunnel learns the DNS domain from an environment
// variable, because its chart has no value for it.
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
	if c.DualStack() { // https://istio.io/latest/docs/setup/additional-setup/dual-stack/
		env["ISTIO_DUAL_STACK"] = "true"
		meshConfig["defaultConfig"] = map[string]any{"proxyMetadata": map[string]any{"ISTIO_DUAL_STACK": "true"}}
	}
	if f.TrustDomain != "" {
		meshConfig["trustDomain"] = f.TrustDomain
	}
	all := []chart{
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
	base, control, cni, ztunnel := all[0].values, all[1].values, all[2].values, all[3].values
	if f.Domain != "" {
		ztunnel["env"] = map[string]any{"CLUSTER_DOMAIN": f.Domain}
	}
	if f.PodSecurity != "" { // waypoints are pods of the suite's namespaces, too
		control["gateways"] = map[string]any{"seccompProfile": map[string]any{"type": "RuntimeDefault"}}
	}
	if f.Replicas > 0 {
		control["replicaCount"] = f.Replicas
	}
	if c.Kind != nil && len(c.Kind.Nodes) > 1 {
		maps.Copy(control, onNodes(c.Kind.Nodes[0], "app", "istiod"))
	}
	if c.IstiodAddress != "" {
		control["global"].(map[string]any)["externalIstiod"] = true
		gateway := classicGateway(f, c, IstiodGateway)
		gateway.values["service"] = map[string]any{"loadBalancerIP": c.IstiodAddress}
		all = append(all, gateway)
	}
	if p := f.Cluster(c.Primary); p != nil {
		all[0].values, all[1].values = map[string]any{"profile": "remote"}, remoteControl(c, p)
	}
	if c.Revision != "" {
		base["defaultRevision"] = c.Revision
		for _, values := range []map[string]any{control, cni, ztunnel} {
			values["revision"] = c.Revision
		}
	}
	return all
}

// remoteControl are the values of istiod's chart for a cluster without an istiod, as the documents of
// primary-remote have them
// (https://istio.io/latest/docs/setup/install/multicluster/primary-remote_multi-network/): a Service that
// leads to the istiod of another cluster, and what lets that one in.
func remoteControl(c, primary *mesh.Cluster) map[string]any {
	return map[string]any{
		"profile": "remote",
		"global": map[string]any{
			"multiCluster":       map[string]any{"clusterName": c.Name},
			"network":            c.Network,
			"configCluster":      true,
			"remotePilotAddress": primary.IstiodAddress,
		},
		"istiodRemote": map[string]any{"injectionPath": "/inject/cluster/" + c.Name + "/net/" + c.Network},
	}
}

// full reports whether the charts take the reference as complete, which they do if it contains a
// slash.
func full(ref string) bool { return strings.Contains(ref, "/") }
