// Package runner runs declared specs against a fixture: side by side where they leave alone what
// they share, then one at a time. It knows Ginkgo only at its rim, in ginkgo.go.
package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/internal/sleep"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Options of a run.
type Options struct {
	Fixture *fixture.Fixture
	Times   spec.Times
	// Parallel is how many specs may run at the same time; default 1.
	Parallel int
	// Done is called at the end of each attempt, before anything is cleaned up, so that evidence can
	// be saved. Specs that run side by side call it at the same time.
	Done func(ctx context.Context, r spec.Result)
	// Anew makes the fleet anew when a spec that ran alone could not undo what it did, and returns the
	// fixture of the next specs; nil = the fleet stays as it is.
	Anew func(ctx context.Context, s *spec.Spec, left error) (*fixture.Fixture, error)
}

// Run is a run under way.
type Run struct {
	o       Options
	pending map[string]*pending
	ended   chan struct{}

	mu     sync.Mutex
	leaked []error
}

// pending is a spec that has run when done is closed. result stays nil when it had no turn.
type pending struct {
	done   chan struct{}
	result *spec.Result
}

// Start starts the specs in three passes: (1) parallel specs, (2) specs that were flaky in pass 1,
// one at a time, (3) serial specs, one at a time. After ctx is canceled no new spec starts, and
// those that run end soon.
func Start(ctx context.Context, specs []*spec.Spec, o Options) *Run {
	r := &Run{o: o, pending: map[string]*pending{}, ended: make(chan struct{})}
	var parallel, serial []*spec.Spec
	for _, s := range specs {
		r.pending[s.Behavior.ID] = &pending{done: make(chan struct{})}
		if s.Serial {
			serial = append(serial, s)
		} else {
			parallel = append(parallel, s)
		}
	}
	go func() {
		defer close(r.ended)
		flaky := r.pass(ctx, parallel, max(o.Parallel, 1))
		r.pass(ctx, append(flaky, serial...), 1)
	}()
	return r
}

// pass runs specs and returns those that must run again, alone. A spec that waits at its end leaves
// its place to the next one, unless it must be alone.
func (r *Run) pass(ctx context.Context, specs []*spec.Spec, parallel int) (again []*spec.Spec) {
	places := make(chan struct{}, parallel)
	attempt := spec.Attempt{Times: r.o.Times, Parallel: min(parallel, len(specs)) > 1}
	if attempt.Parallel {
		attempt.Rest = func(ctx context.Context, d time.Duration) bool {
			<-places
			defer func() { places <- struct{}{} }()
			return sleep.For(ctx, d)
		}
	}
	var running sync.WaitGroup
	for _, s := range specs {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			p := r.pending[s.Behavior.ID]
			if ctx.Err() == nil && r.attempt(ctx, s, p, attempt) {
				r.mu.Lock()
				again = append(again, s)
				r.mu.Unlock()
				return
			}
			close(p.done)
		})
	}
	running.Wait()
	return again
}

// attempt runs a spec once and says whether it must run again.
func (r *Run) attempt(ctx context.Context, s *spec.Spec, p *pending, a spec.Attempt) (again bool) {
	a.Fixture = r.o.Fixture
	if p.result != nil {
		a.Previous = p.result.Message
	}
	result, cleanup := s.Run(ctx, a)
	p.result = &result
	if r.o.Done != nil {
		r.o.Done(ctx, result)
	}
	patience := 2 * time.Minute // istiod may have to start anew and to read all clusters
	if ctx.Err() != nil {
		patience = 8 * time.Second // somebody waits for the prompt
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	left := cleanup(clean)
	if len(left) > 0 && !a.Parallel && r.o.Anew != nil && ctx.Err() == nil {
		fx, err := r.o.Anew(ctx, s, errors.Join(left...))
		if left = append(left, err); err == nil {
			r.o.Fixture, left = fx, nil
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaked = append(r.leaked, left...)
	return result.Retry
}

// Wait blocks until every spec has finished and cleaned up. It returns the clean-ups that failed: a
// run that has some is not clean.
func (r *Run) Wait() (leaked []error) {
	<-r.ended
	return r.leaked
}

// Result waits for a spec and returns what its last attempt found. ok is false when the spec had no
// turn before the run was interrupted, or is not part of the run.
func (r *Run) Result(id string) (result spec.Result, ok bool) {
	p := r.pending[id]
	if p == nil {
		return spec.Result{}, false
	}
	<-p.done
	if p.result == nil {
		return spec.Result{Verdict: v1alpha2.Unknown, Message: "the run was interrupted before the spec had its turn"}, false
	}
	return *p.result, true
}
