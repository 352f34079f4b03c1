package reports

import (
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// drawing is the topology that was tested, in pixels: networks around clusters, the parts of Istio in them, and the way between the gateways.
type (
	drawing struct {
		Class    string // wide or narrow; the page shows one
		W, H     int
		Alt      string
		Networks []networkBox
		Clusters []box
		Links    []line
		Bus      *line
		Labels   []label
		More     int // clusters that are not drawn
	}
	networkBox struct {
		X, Y, W, H int
		TX, TY     int
		Name       string
	}
	box struct {
		X, Y, W, H int
		StandIn    bool
		Texts      []label
		Parts      []box
	}
	line  struct{ X1, Y1, X2, Y2 int }
	label struct {
		X, Y        int
		Class, Text string
	}
)

// Measures of the drawing.
const (
	maxDrawn   = 6
	clusterW   = 300
	clusterH   = 226
	pad        = 12 // between a network's border and its clusters
	head       = 24 // a network's name
	gap        = 22 // between networks
	busSpace   = 72 // between the clusters and what their gateways share
	lineHeight = 17
)

func topologyOf(r *v1alpha2.ConformanceReport) (wide, narrow drawing, sentence string) {
	var networks []string
	by := map[string][]v1alpha2.Cluster{}
	clusters := r.Environment.Clusters
	for _, c := range clusters[:min(len(clusters), maxDrawn)] {
		if by[c.Network] == nil {
			networks = append(networks, c.Network)
		}
		by[c.Network] = append(by[c.Network], c)
	}
	standIn := func(names ...string) bool {
		return slices.ContainsFunc(r.Environment.StandIns, func(s v1alpha2.StandIn) bool { return slices.Contains(names, s.Name) })
	}
	all := map[string]bool{}
	for _, c := range clusters {
		all[c.Network] = true
	}
	sentence = fmt.Sprintf("%s on %s.", number(len(clusters), "cluster", "clusters"), number(len(all), "network", "networks"))
	alt := sentence
	for _, c := range clusters[:min(len(clusters), maxDrawn)] {
		alt += fmt.Sprintf(" %s on %s, gateway %s.", short(c.Name, 40), short(c.Network, 40), short(or(strings.Join(c.Gateways, ", ")), 60))
	}
	for _, s := range r.Environment.StandIns {
		alt += " Stand-in for " + short(s.Name, 40) + "."
	}
	apart := label{Class: "soft", Text: "networks: isolation was not tested"}
	if i := r.Isolation; i != nil {
		apart.Text = fmt.Sprintf("networks proven apart by %d probes", len(i.Probes))
		if !i.Proven {
			apart = label{Class: "strong", Text: "networks NOT proven apart"}
		}
	}
	between := "east-west gateways: HBONE in HBONE, mutual TLS"

	cluster := func(c v1alpha2.Cluster, x, y int) (b box, gateway box) {
		b = box{X: x, Y: y, W: clusterW, H: clusterH}
		text := func(in *box, dy int, class, s string, n int) {
			in.Texts = append(in.Texts, label{in.X + 10, in.Y + dy, class, short(s, n)})
		}
		text(&b, 22, "strong", c.Name, 34)
		where := strings.Trim(c.Region+"/"+c.Zone, "/")
		if c.Nodes > 0 {
			where = strings.TrimPrefix(where+" · "+number(c.Nodes, "node", "nodes"), " · ")
		}
		text(&b, 22+lineHeight, "soft", where, 40)
		if c.PodCIDR != "" || c.ServiceCIDR != "" {
			text(&b, 22+2*lineHeight, "soft", "pods "+or(c.PodCIDR)+", services "+or(c.ServiceCIDR), 46)
		}
		const half, h = (clusterW - 36) / 2, 44
		part := func(dx, dy, w int, isStandIn bool, name, below string) box {
			p := box{X: x + dx, Y: y + dy, W: w, H: h, StandIn: isStandIn}
			text(&p, 19, "", name, 24)
			if isStandIn {
				const mark = " · stand-in"
				text(&p, 19+lineHeight, "mark", strings.TrimPrefix(short(below, w/8-len(mark)+2)+mark, " · "), w/7)
			} else if below != "" {
				text(&p, 19+lineHeight, "soft", below, w/6)
			}
			return p
		}
		istio := c.Istio
		if istio == "" {
			istio = r.Environment.Istio
		}
		istio, _, _ = strings.Cut(istioName(istio), " (")            // the whole is among the facts
		istio = strings.Replace(istio, " in development", "-dev", 1) // the box is small
		address := "no address"
		if n := len(c.Gateways); n > 0 {
			address = c.Gateways[0]
			if n > 1 {
				address += fmt.Sprintf(" +%d", n-1)
			}
		}
		gateway = part(12, 170, clusterW-24, standIn("proxyv2"), "east-west gateway", address)
		b.Parts = []box{
			part(12, 66, half, standIn("pilot"), "istiod", istio),
			part(24+half, 66, half, standIn("proxyv2"), "waypoints", "Envoy"),
			part(12, 118, clusterW-24, standIn("ztunnel"), "ztunnel", "on every node"),
			gateway,
		}
		return b, gateway
	}

	wide = drawing{Class: "wide", Alt: alt, More: max(len(clusters)-maxDrawn, 0)}
	narrow = drawing{Class: "narrow", Alt: alt, More: wide.More}
	// Wide: clusters side by side, the bus below.
	x, top := 2, 2
	bottom := top + head + clusterH + pad
	busY := bottom + 26
	for _, n := range networks {
		w := len(by[n])*(clusterW+pad) + pad
		wide.Networks = append(wide.Networks, networkBox{x, top, w, head + clusterH + pad, x + pad, top + 17, short(n, 40)})
		for i, c := range by[n] {
			b, g := cluster(c, x+pad+i*(clusterW+pad), top+head)
			wide.Clusters = append(wide.Clusters, b)
			wide.Links = append(wide.Links, line{g.X + g.W/2, g.Y + g.H, g.X + g.W/2, busY})
		}
		x += w + gap
	}
	wide.W, wide.H = x-gap+2, bottom+busSpace+4
	if n := len(wide.Links); n > 0 {
		from := wide.Links[0].X1
		wide.Bus = &line{from, busY, wide.Links[n-1].X1, busY}
		if n == 1 {
			from = 2 + pad
		}
		wide.Labels = []label{{from, busY + 22, "soft", between}, {from, busY + 22 + lineHeight, apart.Class, apart.Text}}
	}
	// Narrow: clusters below each other, the bus on the left.
	const left = 26
	y := 2
	for _, n := range networks {
		h := head + len(by[n])*(clusterH+pad)
		narrow.Networks = append(narrow.Networks, networkBox{left - 4, y, clusterW + 2*6, h, left + 4, y + 17, short(n, 40)})
		for i, c := range by[n] {
			b, g := cluster(c, left+2, y+head+i*(clusterH+pad))
			narrow.Clusters = append(narrow.Clusters, b)
			narrow.Links = append(narrow.Links, line{8, g.Y + g.H/2, g.X, g.Y + g.H/2})
		}
		y += h + gap
	}
	narrow.W, narrow.H = left+clusterW+12, y+2*lineHeight
	if n := len(narrow.Links); n > 0 {
		narrow.Bus = &line{8, narrow.Links[0].Y1, 8, narrow.Links[n-1].Y1}
		narrow.Labels = []label{{2, y, "soft", between}, {2, y + lineHeight, apart.Class, apart.Text}}
	}
	return wide, narrow, sentence
}

// short cuts a value that comes from outside to what a drawing has room for.
func short(s string, n int) string { return oneLine(s, max(n, 4)) }
