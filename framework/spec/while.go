package spec

import (
	"context"
	"fmt"
	"sync"

	"ambient.test/conformance/framework/traffic"
)

// Lost is how many calls failed while something happened.
type Lost struct {
	Outcomes traffic.Outcomes
}

// Count is the number of calls that failed.
func (l Lost) Count() int {
	return l.Outcomes.Count(traffic.Lost)
}

// String says how many of how many.
func (l Lost) String() string {
	return fmt.Sprintf("%d of %d calls failed (%s)", l.Count(), len(l.Outcomes), l.Outcomes)
}

// While makes calls over and over, from before the event until it is over, and returns what was
// lost.
func (t *T) While(event func(), calls ...traffic.Calls) Lost {
	ctx, stop := context.WithCancel(t.ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all traffic.Outcomes
	for _, c := range calls {
		wg.Go(func() {
			for ctx.Err() == nil {
				os, err := c.From.Do(t.ctx, c.Call) // not ctx: a call that is under way at the end still counts
				if err != nil {
					return
				}
				mu.Lock()
				all = append(all, os...)
				mu.Unlock()
			}
		})
	}
	func() {
		defer wg.Wait()
		defer stop()
		event()
	}()
	return Lost{all}
}

// CallsFromEach are a few HTTP calls to a service from every cluster's client, for [T.While].
func (t *T) CallsFromEach(s *Service) (all []traffic.Calls) {
	for _, c := range t.Clusters {
		all = append(all, c.Client.HTTP(s).Times(4))
	}
	return all
}
