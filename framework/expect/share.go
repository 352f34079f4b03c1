package expect

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ambient.test/conformance/framework/traffic"
)

// FalseAlarm is how often, at most, chance alone makes a sample look as if shares were others than
// they are: once in a million.
const FalseAlarm = 1e-6

// CallsForShares is how many calls tell one share from another. A mesh that gives each of two
// clusters a half, whatever their pods, passes for one that gives them 1 to 3 at most twice in a
// thousand samples, and the other way round.
const CallsForShares = 240

// ShareRange is how many of n calls may fall to somebody whose share is p. Chance leads out of it
// with [FalseAlarm], half of that on each side.
func ShareRange(n int, p float64) (low, high int) { return shareRange(n, p, FalseAlarm) }

func shareRange(n int, p, alarm float64) (low, high int) {
	return tail(n, p, alarm/2), n - tail(n, 1-p, alarm/2)
}

// tail is the smallest number of hits to which chance leads, in n trials of probability p, or to
// fewer, more often than alarm.
func tail(n int, p, alarm float64) int {
	sum := 0.0
	for k := range n {
		if sum += binomial(n, k, p); sum > alarm {
			return k
		}
	}
	return n
}

// binomial is the probability of k hits in n trials of probability p.
func binomial(n, k int, p float64) float64 {
	factorial := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return math.Exp(factorial(n) - factorial(k) - factorial(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// InProportion expects that every call succeeds, and that the clusters answer in proportion to
// their numbers of pods, within what chance allows.
func InProportion[C interface {
	comparable
	fmt.Stringer
}](pods map[C]int) Matcher {
	number, total := map[string]int{}, 0
	for c, n := range pods {
		number[c.String()], total = n, total+n
	}
	want := slices.Sorted(maps.Keys(number))
	var parts []string
	for _, c := range want {
		parts = append(parts, fmt.Sprintf("%s with %d", c, number[c]))
	}
	return Matcher{
		says: fmt.Sprintf("every call to succeed, answered in proportion to the numbers of pods: %s (false alarm %g)",
			strings.Join(parts, ", "), FalseAlarm),
		hint:    "ztunnel weighs the gateway of another network by the number of its pods, which istiod tells as the capacity of its workload",
		samples: CallsForShares,
		fault: func(os traffic.Outcomes) string {
			if f := allOK(os); f != "" {
				return f
			}
			got := os.Clusters()
			for _, c := range want {
				low, high := shareRange(len(os), float64(number[c])/float64(total), FalseAlarm/float64(len(want)))
				if got[c] < low || got[c] > high {
					return fmt.Sprintf("%s answered %d of %d calls, and chance allows %d to %d", c, got[c], len(os), low, high)
				}
			}
			for c, n := range got {
				if number[c] == 0 {
					return fmt.Sprintf("%s answered %d calls", c, n)
				}
			}
			return ""
		},
	}
}
