package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
)

// topology is the part of a report that is drawn.
type topology struct {
	report   *v1alpha2.ConformanceReport
	networks []drawnNetwork
	more     int // clusters that are not drawn
}

type drawnNetwork struct {
	name     string
	clusters []v1alpha2.Cluster
}

func topologyOf(r *v1alpha2.ConformanceReport) (wide, narrow drawing, sentence string) {
	clusters := r.Environment.Clusters
	t := &topology{report: r, more: max(len(clusters)-maxDrawn, 0)}
	for _, c := range clusters[:min(len(clusters), maxDrawn)] {
		i := slices.IndexFunc(t.networks, func(n drawnNetwork) bool { return n.name == c.Network })
		if i < 0 {
			i = len(t.networks)
			t.networks = append(t.networks, drawnNetwork{name: c.Network})
		}
		t.networks[i].clusters = append(t.networks[i].clusters, c)
	}
	return t.wide(), t.narrow(), t.sentence()
}

// sentence counts all clusters and networks, drawn or not.
func (t *topology) sentence() string {
	clusters := t.report.Environment.Clusters
	networks := map[string]bool{}
	for _, c := range clusters {
		networks[c.Network] = true
	}
	return fmt.Sprintf("%s on %s.", number(len(clusters), "cluster", "clusters"), number(len(networks), "network", "networks"))
}

// alt is the drawing in words.
func (t *topology) alt() string {
	alt := t.sentence()
	clusters := t.report.Environment.Clusters
	for _, c := range clusters[:len(clusters)-t.more] {
		gateways := summary.OrUnknown(strings.Join(c.Gateways, ", "))
		alt += fmt.Sprintf(" %s on %s, gateway %s.", short(c.Name, 40), short(c.Network, 40), short(gateways, 60))
	}
	for _, s := range t.report.Environment.StandIns {
		alt += " Stand-in for " + short(s.Name, 40) + "."
	}
	return alt
}

// standIn reports whether something stands in for a component.
func (t *topology) standIn(name string) bool {
	return slices.ContainsFunc(t.report.Environment.StandIns, func(s v1alpha2.StandIn) bool { return s.Name == name })
}

// cluster is the box of one cluster. Its last part is the gateway.
func (t *topology) cluster(c v1alpha2.Cluster, x, y int) box {
	b := box{X: x, Y: y, W: clusterW, H: clusterH}
	b.write(22, "strong", c.Name, 34)
	where := strings.Trim(c.Region+"/"+c.Zone, "/")
	if c.Nodes > 0 {
		where = strings.TrimPrefix(where+" · "+number(c.Nodes, "node", "nodes"), " · ")
	}
	b.write(22+lineHeight, "soft", where, 40)
	if c.PodCIDR != "" || c.ServiceCIDR != "" {
		ranges := "pods " + summary.OrUnknown(c.PodCIDR) + ", services " + summary.OrUnknown(c.ServiceCIDR)
		b.write(22+2*lineHeight, "soft", ranges, 46)
	}
	const full, half = clusterW - 24, (clusterW - 36) / 2
	b.Parts = []box{
		partBox(x+12, y+66, half, t.standIn("pilot"), "istiod", t.istioOf(c)),
		partBox(x+24+half, y+66, half, t.standIn("proxyv2"), "waypoints", cmp.Or(t.imageVersion("proxyv2"), "Envoy")),
		partBox(x+12, y+118, full, t.standIn("ztunnel"), "ztunnel", strings.TrimSpace(t.imageVersion("ztunnel")+" on every node")),
		partBox(x+12, y+170, full, t.standIn("proxyv2"), "east-west gateway", addressOf(c)),
	}
	return b
}

// partBox is one component of Istio, with a line below its name.
func partBox(x, y, w int, standIn bool, name, below string) box {
	b := box{X: x, Y: y, W: w, H: partH, StandIn: standIn}
	b.write(19, "", name, 24)
	switch {
	case standIn:
		const mark = " · stand-in"
		b.write(19+lineHeight, "mark", strings.TrimPrefix(short(below, w/8-len(mark)+2)+mark, " · "), w/7)
	case below != "":
		b.write(19+lineHeight, "soft", below, w/6)
	}
	return b
}

// imageVersion is the version that the tag of an image names, or the beginning of its digest: of
// images that somebody built, and of those that were found without a tag.
func (t *topology) imageVersion(name string) string {
	for _, i := range t.report.Environment.Images {
		if i.Name != name {
			continue
		}
		ref, _, _ := strings.Cut(i.Ref, "@")
		tag := ref[strings.LastIndex(ref, ":")+1:]
		if _, err := behaviors.ParseVersion(tag); err == nil && !strings.Contains(tag, "/") {
			return short(tag, 14)
		}
		return strings.TrimSuffix(short(strings.TrimPrefix(i.Digest, "sha256:"), 8), "…")
	}
	return ""
}

// istioOf is the version of a cluster's istiod, short enough for its box. The whole is among the
// facts.
func (t *topology) istioOf(c v1alpha2.Cluster) string {
	version := c.Istio
	if version == "" {
		version = t.report.Environment.Istio
	}
	version, _, _ = strings.Cut(istioName(version), " (")
	return strings.Replace(version, " in development", "-dev", 1)
}

// addressOf is the first address of a cluster's gateway, and how many more there are.
func addressOf(c v1alpha2.Cluster) string {
	switch n := len(c.Gateways); n {
	case 0:
		return "no address"
	case 1:
		return c.Gateways[0]
	default:
		return fmt.Sprintf("%s +%d", c.Gateways[0], n-1)
	}
}
