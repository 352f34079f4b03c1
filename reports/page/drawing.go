package page

import (
	"fmt"

	"ambient.test/conformance/reports/text"
)

// drawing is the tested topology, in pixels: networks around clusters, the parts of Istio in them,
// and the way between the gateways.
type (
	drawing struct {
		Class    string // wide or narrow; the page shows the one that fits
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
	headH      = 24 // a network's name
	gap        = 22 // between networks
	busSpace   = 72 // between the clusters and the line that joins their gateways
	lineHeight = 17
	partH      = 44
)

// write adds a line of text to a box, dy below its top, cut to n characters.
func (b *box) write(dy int, class, s string, n int) {
	b.Texts = append(b.Texts, label{b.X + 10, b.Y + dy, class, short(s, n)})
}

// gateway is the part of a cluster's box that the links lead to.
func (b *box) gateway() box { return b.Parts[len(b.Parts)-1] }

// wide draws clusters side by side, with the line that joins the gateways below them.
func (t *topology) wide() drawing {
	d := drawing{Class: "wide", Alt: t.alt(), More: t.more}
	x, top := 2, 2
	bottom := top + headH + clusterH + pad
	busY := bottom + 26
	for _, n := range t.networks {
		w := len(n.clusters)*(clusterW+pad) + pad
		d.Networks = append(d.Networks, networkBox{x, top, w, headH + clusterH + pad, x + pad, top + 17, short(n.name, 40)})
		for i, c := range n.clusters {
			b := t.cluster(c, x+pad+i*(clusterW+pad), top+headH)
			g := b.gateway()
			d.Clusters = append(d.Clusters, b)
			d.Links = append(d.Links, line{g.X + g.W/2, g.Y + g.H, g.X + g.W/2, busY})
		}
		x += w + gap
	}
	d.W, d.H = x-gap+2, bottom+busSpace+4
	if n := len(d.Links); n > 0 {
		from := d.Links[0].X1
		d.Bus = &line{from, busY, d.Links[n-1].X1, busY}
		if n == 1 {
			from = 2 + pad
		}
		d.Labels = t.labels(from, busY+22)
	}
	return d
}

// narrow draws clusters below one another, with the line that joins the gateways on the left.
func (t *topology) narrow() drawing {
	d := drawing{Class: "narrow", Alt: t.alt(), More: t.more}
	const left = 26
	y := 2
	for _, n := range t.networks {
		h := headH + len(n.clusters)*(clusterH+pad)
		d.Networks = append(d.Networks, networkBox{left - 4, y, clusterW + 2*6, h, left + 4, y + 17, short(n.name, 40)})
		for i, c := range n.clusters {
			b := t.cluster(c, left+2, y+headH+i*(clusterH+pad))
			g := b.gateway()
			d.Clusters = append(d.Clusters, b)
			d.Links = append(d.Links, line{8, g.Y + g.H/2, g.X, g.Y + g.H/2})
		}
		y += h + gap
	}
	d.W, d.H = left+clusterW+12, y+2*lineHeight
	if n := len(d.Links); n > 0 {
		d.Bus = &line{8, d.Links[0].Y1, 8, d.Links[n-1].Y1}
		d.Labels = t.labels(2, y)
	}
	return d
}

// labels are the two lines of text beside the joint line.
func (t *topology) labels(x, y int) []label {
	isolation := label{X: x, Y: y + lineHeight, Class: "soft", Text: "isolation: was not tested"}
	if i := t.report.Isolation; i != nil {
		isolation.Text = fmt.Sprintf("isolation proven by %d probes", len(i.Probes))
		if !i.Proven {
			isolation.Class, isolation.Text = "strong", "isolation NOT proven"
		}
	}
	return []label{{x, y, "soft", "east-west gateways: HBONE in HBONE, mutual TLS"}, isolation}
}

// short cuts a value from outside the suite to the room that a drawing has for it.
func short(s string, n int) string { return text.Line(s, max(n, 4)) }
