package spec

import (
	"testing"

	"ambient.test/conformance/framework/traffic"
)

func TestCountDropped(t *testing.T) {
	of := func(kinds ...traffic.Kind) (os traffic.Outcomes) {
		for _, k := range kinds {
			os = append(os, traffic.Outcome{Kind: k})
		}
		return os
	}
	for name, c := range map[string]struct {
		before, after any
		lost, made    int
	}{
		"some fail":              {of(traffic.Reached), of(traffic.Reached, traffic.Reset, traffic.TimedOut), 2, 3},
		"others answer":          {of(traffic.Reached), of(traffic.Reached, traffic.Reached), 0, 2},
		"refused, as it must be": {of(traffic.Reset), of(traffic.Reset, traffic.Reached, traffic.TimedOut), 1, 3},
		"not traffic":            {true, false, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := &T{}
			x.countDropped(c.before, c.after)
			if x.result.Lost != c.lost {
				t.Errorf("got %d lost, want %d", x.result.Lost, c.lost)
			}
			if x.result.Made != c.made {
				t.Errorf("got %d made, want %d", x.result.Made, c.made)
			}
		})
	}
}
