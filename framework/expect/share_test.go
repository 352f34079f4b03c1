package expect

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"ambient.test/conformance/framework/traffic"
)

// The ranges are the smallest ones that keep the false alarm, by the distribution itself.
func TestShareRange(t *testing.T) {
	between := func(n, low, high int, p float64) (sum float64) {
		for k := low; k <= high; k++ {
			sum += binomial(n, k, p)
		}
		return sum
	}
	for _, c := range []struct {
		n         int
		p         float64
		low, high int
	}{
		{8, 0.75, 0, 8}, // a first look of few calls decides nothing
		{40, 0.5, 5, 35},
		{240, 0.75, 146, 211},
		{240, 0.25, 29, 94},
		{240, 0.5, 82, 158},
	} {
		t.Run(strconv.Itoa(c.n)+" of "+strconv.FormatFloat(c.p, 'g', -1, 64), func(t *testing.T) {
			low, high := ShareRange(c.n, c.p)
			if low != c.low {
				t.Errorf("got a range from %d, want from %d", low, c.low)
			}
			if high != c.high {
				t.Errorf("got a range to %d, want to %d", high, c.high)
			}
			for side, p := range map[string]float64{"below": between(c.n, 0, low-1, c.p), "above": between(c.n, high+1, c.n, c.p)} {
				if p > FalseAlarm/2 {
					t.Errorf("%s the range with probability %g, want at most %g", side, p, FalseAlarm/2)
				}
			}
			if p := between(c.n, 0, low, c.p); p <= FalseAlarm/2 {
				t.Errorf("the range begins at %d and could begin later: %g", low, p)
			}
			if p := between(c.n, high, c.n, c.p); p <= FalseAlarm/2 {
				t.Errorf("the range ends at %d and could end sooner: %g", high, p)
			}
		})
	}
	// What the sample size promises: equal shares do not pass for 1 to 3, nor the other way round.
	for _, c := range []struct{ claimed, real float64 }{{0.75, 0.5}, {0.5, 0.75}, {0.25, 0.5}} {
		t.Run(fmt.Sprintf("%g does not pass for %g", c.real, c.claimed), func(t *testing.T) {
			low, high := shareRange(CallsForShares, c.claimed, FalseAlarm/2)
			if got, want := between(CallsForShares, low, high, c.real), 2e-3; got > want {
				t.Errorf("got probability %g, want at most %g", got, want)
			}
		})
	}
}

func TestBinomial(t *testing.T) {
	for _, c := range []struct {
		n, k int
		p    float64
		want float64
	}{{4, 2, 0.5, 6.0 / 16}, {3, 3, 0.75, 27.0 / 64}, {3, 0, 0.75, 1.0 / 64}, {5, 1, 0.2, 0.4096}} {
		t.Run(fmt.Sprintf("%d of %d at %g", c.k, c.n, c.p), func(t *testing.T) {
			if got := binomial(c.n, c.k, c.p); math.Abs(got-c.want) > 1e-12 {
				t.Errorf("got %g, want %g", got, c.want)
			}
		})
	}
}

func TestInProportion(t *testing.T) {
	a, b := name("a"), name("b")
	calls := func(ofA, ofB, lost int) (os traffic.Outcomes) {
		for range ofA {
			os = append(os, from("a"))
		}
		for range ofB {
			os = append(os, from("b"))
		}
		for range lost {
			os = append(os, traffic.Outcome{Kind: traffic.Reset})
		}
		return os
	}
	m := InProportion(map[name]int{a: 1, b: 3})
	if got := Samples(m); got != CallsForShares {
		t.Errorf("got %d calls, want %d", got, CallsForShares)
	}
	for title, c := range map[string]struct {
		seen  traffic.Outcomes
		wrong string // empty: it matches
	}{
		"as the pods":        {calls(60, 180, 0), ""},
		"as chance allows":   {calls(90, 150, 0), ""},
		"a half each":        {calls(120, 120, 0), "a answered 120 of 240 calls, and chance allows 29 to 95"},
		"by b alone":         {calls(0, 240, 0), "a answered 0 of 240 calls"},
		"one call is lost":   {calls(60, 179, 1), "1 of 240 calls failed"},
		"another answers":    {append(calls(60, 180, 0), from("c")), "c answered 1 calls"},
		"a first look":       {calls(4, 4, 0), ""}, // the sample decides
		"nobody was called":  {nil, "seen     no calls"},
		"the wrong way":      {calls(180, 60, 0), "a answered 180 of 240 calls"},
		"all but a few of b": {calls(20, 220, 0), "a answered 20 of 240 calls"},
	} {
		t.Run(title, func(t *testing.T) {
			ok, err := m.Match(c.seen)
			if err != nil {
				t.Fatal(err)
			}
			if ok != (c.wrong == "") {
				t.Errorf("got match %t, want %t", ok, c.wrong == "")
			}
			if message := m.FailureMessage(c.seen); !strings.Contains(message, c.wrong) {
				t.Errorf("got %q, want it to say %q", message, c.wrong)
			}
		})
	}
}
