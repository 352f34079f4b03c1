package spec

import (
	"slices"

	"ambient.test/conformance/framework/traffic"
)

// countDropped counts the calls that were lost when a subject was as expected and then was not:
// those of the later look that failed in a way in which none failed before. What is not traffic
// loses nothing.
func (t *T) countDropped(before, after any) {
	good, ok := before.(traffic.Outcomes)
	now, also := after.(traffic.Outcomes)
	if !ok || !also {
		return
	}
	lost := 0
	for _, o := range now {
		if o.Kind != traffic.Reached && !slices.ContainsFunc(good, func(x traffic.Outcome) bool { return x.Kind == o.Kind }) {
			lost++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Lost, t.result.Made = t.result.Lost+lost, t.result.Made+len(now)
}
