package prove

import (
	"math"
	"testing"
)

func TestCallsGrowWithTheFleet(t *testing.T) {
	for k := 2; k <= 9; k++ {
		s := &Spec{World: &World{Sites: make(Sites, k)}}
		n := s.Calls(40)
		if missed := float64(k) * math.Pow(1-1/float64(k), float64(n)); missed > math.Pow(2, -39)*1.0001 {
			t.Errorf("%d clusters, %d calls: one is missed with probability %g", k, n, missed)
		}
		if s.Calls(10) != 10 {
			t.Errorf("%d clusters: 10 calls for a claim of one side became %d", k, s.Calls(10))
		}
	}
	if s := (&Spec{World: &World{Sites: make(Sites, 2)}}); s.Calls(40) != 40 || s.Calls(400) != 400 {
		t.Error("two clusters need no more calls")
	}
}
