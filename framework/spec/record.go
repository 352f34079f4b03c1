package spec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/internal/sleep"
)

// RecordAnswers is [T.RecordOutcome] of what a gateway answers, by every way to it.
func (t *T) RecordAnswers(s Subject, name func(traffic.Outcomes) string) {
	t.RecordOutcome(s.String(), answered{s}, name)
}

// answered makes the answers of a gateway outcomes, and its looks a sample.
type answered struct{ Subject }

// Look returns [traffic.Outcomes].
func (a answered) Look(ctx context.Context, n int) (any, error) { return a.look(ctx, n) }

func (a answered) look(ctx context.Context, n int) (traffic.Outcomes, error) {
	v, err := a.Subject.Look(ctx, n)
	if err != nil {
		return nil, err
	}
	answers, ok := v.([]eastwest.Answer)
	if !ok {
		return nil, fmt.Errorf("%s: %v", a, v)
	}
	var os traffic.Outcomes
	for _, x := range answers {
		os = append(os, asOutcome(x))
	}
	return os, nil
}

// Spread looks again and again over the time.
func (a answered) Spread(ctx context.Context, n int, over time.Duration) (all traffic.Outcomes, err error) {
	for range probesInHold {
		sleep.For(ctx, over/probesInHold)
		os, err := a.look(ctx, n)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		all = append(all, os...)
	}
	return all, nil
}

// asOutcome is an answer in the words of calls.
func asOutcome(a eastwest.Answer) traffic.Outcome {
	o := traffic.Outcome{Kind: traffic.TimedOut, Cluster: a.Cluster, Code: a.Code, Detail: a.String()}
	switch {
	case a.Refusal != nil && a.Refusal.Status != 0:
		o.Kind, o.Code = traffic.TunnelRefused, a.Refusal.Status
	case a.Refusal != nil:
		o.Kind = traffic.Reset
	case a.Cluster != "":
		o.Kind = traffic.Reached
	case a.Code != 0:
		o.Kind, o.Detail = traffic.Status, a.Body
	case len(a.Raw) > 0:
		o.Kind, o.Detail = traffic.Other, string(a.Raw)
	}
	return o
}

// burst is how many calls of each kind a burst makes: five times what a client has under way at the
// same time. More would only make all that runs on the machine late, for longer.
const burst = 40

// Burst makes calls of several kinds, all of them at the same time, and returns what each kind saw.
func (t *T) Burst(kinds ...traffic.Calls) []Subject {
	t.Still()
	all := make([]Subject, len(kinds))
	var calls sync.WaitGroup
	for i, k := range kinds {
		calls.Go(func() {
			os, err := k.From.Do(t.ctx, k.Times(burst).Call)
			all[i] = seen{says: fmt.Sprintf("%s, %d times beside others", k, burst), value: os, err: err, once: true}
		})
	}
	calls.Wait()
	return all
}
