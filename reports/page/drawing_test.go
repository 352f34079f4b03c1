package page

import (
	"fmt"
	"strings"
	"testing"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// Whatever the topology, nothing is drawn outside the drawing, over something else, or left out
// unsaid.
func TestDrawings(t *testing.T) {
	for n := range 9 {
		for networks := 1; networks <= max(n, 1); networks++ {
			r := &v1alpha2.ConformanceReport{}
			for i := range n {
				r.Environment.Clusters = append(
					r.Environment.Clusters,
					v1alpha2.Cluster{
						Name: fmt.Sprintf("cluster%d-%s", i, strings.Repeat("x", 80)), Network: fmt.Sprint("network", i%networks),
						Gateways: []string{strings.Repeat("a.", 60)},
					},
				)
			}
			r.Environment.StandIns = []v1alpha2.StandIn{{Name: "proxyv2"}, {Name: "ztunnel"}}
			wide, narrow, sentence := topologyOf(r)
			if want := number(n, "cluster", "clusters") + " on "; !strings.HasPrefix(sentence, want) {
				t.Errorf("%q does not begin with %q", sentence, want)
			}
			for _, d := range []drawing{wide, narrow} {
				if got := len(d.Clusters) + d.More; got != n {
					t.Errorf("%s: %d clusters are drawn or counted, want %d", d.Class, got, n)
				}
				if len(d.Links) != len(d.Clusters) {
					t.Errorf("%s: %d links, want one for each of the %d clusters drawn", d.Class, len(d.Links), len(d.Clusters))
				}
				inside := func(b, outer box) bool {
					return b.X >= outer.X && b.Y >= outer.Y && b.X+b.W <= outer.X+outer.W && b.Y+b.H <= outer.Y+outer.H
				}
				whole := box{W: d.W, H: d.H}
				for i, c := range d.Clusters {
					if !inside(c, whole) {
						t.Errorf("%s of %d on %d: cluster %d lies outside: %+v in %dx%d", d.Class, n, networks, i, c, d.W, d.H)
					}
					for _, o := range d.Clusters[:i] {
						if c.X < o.X+o.W && o.X < c.X+c.W && c.Y < o.Y+o.H && o.Y < c.Y+c.H {
							t.Errorf("%s of %d on %d: clusters lie over each other", d.Class, n, networks)
						}
					}
					for j, p := range c.Parts {
						if !inside(p, c) {
							t.Errorf("part %d lies outside its cluster", j)
						}
						for _, x := range p.Texts {
							const widest = 8 // pixels of a letter, about
							if x.X+len([]rune(x.Text))*widest > p.X+p.W+widest*2 {
								t.Errorf("%q is wider than its box of %d", x.Text, p.W)
							}
						}
						if p.StandIn && !strings.Contains(p.Texts[1].Text, "stand-in") {
							t.Errorf("%q does not say that it is a stand-in", p.Texts[1].Text)
						}
					}
				}
				for _, l := range d.Labels {
					if l.Y > d.H {
						t.Errorf("%q lies below the drawing", l.Text)
					}
				}
			}
		}
	}
}
