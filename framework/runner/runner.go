// Package runner runs declared specs against fixtures: side by side where they leave alone what
// they share, then one at a time on each. It knows Ginkgo only at its rim, in ginkgo.go.
package runner

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/internal/sleep"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Options of a run.
type Options struct {
	// Fixtures are those of fleets that are alike. The specs are divided among them: each runs on the
	// one that is free.
	Fixtures []*fixture.Fixture
	Times    spec.Times
	// Parallel is how many specs may run at the same time on each fixture; default 1.
	Parallel int
	// Room blocks until the machine can carry another spec beside those that run, or until ctx ends;
	// nil = it always can. It is not asked when none runs.
	Room func(ctx context.Context)
	// Known says whether the mesh under test is known to break a behavior in the way that a message
	// tells; nil = of none. What is known is no reason to run again.
	Known func(id, message string) bool
	// Done is called at the end of each attempt, before anything is cleaned up, so that evidence can
	// be saved. Specs that run side by side call it at the same time.
	Done func(ctx context.Context, on *fixture.Fixture, r spec.Result)
	// Anew makes a fleet anew when a spec that ran alone on it could not undo what it did, and returns
	// the fixture of the next specs; nil = the fleet stays as it is.
	Anew func(ctx context.Context, on *fixture.Fixture, s *spec.Spec, left error) (*fixture.Fixture, error)
}

// Run is a run under way.
type Run struct {
	o       Options
	pending map[string]*pending
	ended   chan struct{}

	mu     sync.Mutex
	again  []*spec.Spec // what must run again, alone
	leaked []error
}

// pending is a spec that has run when done is closed. result stays nil when it had no turn.
type pending struct {
	done   chan struct{}
	result *spec.Result
}

// Start starts the specs: the first fixture runs parallel specs side by side and then serial ones,
// one at a time; the others run serial ones first, which leave most of a machine to their neighbors.
// In the end what was flaky beside other specs, on the same fleet or on a twin, runs again with nothing
// else on the machine. After ctx is canceled no new spec starts, and those that run end soon.
func Start(ctx context.Context, specs []*spec.Spec, o Options) *Run {
	o.Fixtures = slices.Clone(o.Fixtures) // those that are made anew take their places
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
		beside, alone := queued(parallel, max(o.Parallel, 1)), queued(serial, 1)
		var all sync.WaitGroup
		for i := range r.o.Fixtures {
			order := []*queue{beside, alone}
			if i > 0 {
				order = []*queue{alone, beside}
			}
			all.Go(func() {
				for _, q := range order {
					r.empty(ctx, q, i, spec.Attempt{Parallel: q.parallel > 1, Twins: len(r.o.Fixtures) > 1})
				}
			})
		}
		all.Wait()
		r.empty(ctx, queued(r.again, 1), 0, spec.Attempt{})
	}()
	return r
}

// queue is specs that wait for their turn.
type queue struct {
	waiting  chan *spec.Spec
	parallel int // how many of them run at the same time on a fixture

	next    sync.Mutex // one asks for room at a time, and takes it before the next one asks
	running atomic.Int32
}

func queued(specs []*spec.Spec, parallel int) *queue {
	q := &queue{waiting: make(chan *spec.Spec, len(specs)), parallel: max(min(parallel, len(specs)), 1)}
	for _, s := range specs {
		q.waiting <- s
	}
	close(q.waiting)
	return q
}

// empty runs specs of a queue on the fixture of that number until none waits and all have ended. A
// spec that waits at its end leaves its place to the next one, unless it must be alone.
func (r *Run) empty(ctx context.Context, q *queue, on int, attempt spec.Attempt) {
	places := make(chan struct{}, q.parallel)
	attempt.Times = r.o.Times
	if attempt.Parallel {
		attempt.Rest = func(ctx context.Context, d time.Duration) bool {
			<-places
			defer func() { places <- struct{}{} }()
			return sleep.For(ctx, d)
		}
	}
	var here sync.WaitGroup
	defer here.Wait()
	for {
		places <- struct{}{}
		s := r.take(ctx, q)
		if s == nil {
			return
		}
		here.Go(func() {
			defer func() { q.running.Add(-1); <-places }()
			p := r.pending[s.Behavior.ID]
			if ctx.Err() == nil && r.attempt(ctx, on, s, p, attempt) {
				r.mu.Lock()
				r.again = append(r.again, s)
				r.mu.Unlock()
				return
			}
			close(p.done)
		})
	}
}

// take is the next spec of a queue, when the machine has room for it; nil when none waits.
func (r *Run) take(ctx context.Context, q *queue) *spec.Spec {
	q.next.Lock()
	defer q.next.Unlock()
	if q.parallel > 1 && r.o.Room != nil && q.running.Load() > 0 && len(q.waiting) > 0 {
		r.o.Room(ctx)
	}
	s := <-q.waiting
	if s != nil {
		q.running.Add(1)
	}
	return s
}

// attempt runs a spec once on the fixture of that number and says whether it must run again.
func (r *Run) attempt(ctx context.Context, on int, s *spec.Spec, p *pending, a spec.Attempt) (again bool) {
	a.Fixture = r.o.Fixtures[on]
	a.Known = func(message string) bool { return r.o.Known != nil && r.o.Known(s.Behavior.ID, message) }
	result, cleanup := s.Run(ctx, a)
	p.result = &result
	if r.o.Done != nil {
		r.o.Done(ctx, a.Fixture, result)
	}
	patience := 2 * time.Minute // istiod may have to start anew and to read all clusters
	if ctx.Err() != nil {
		patience = 8 * time.Second // somebody waits for the prompt
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	left := cleanup(clean)
	if len(left) > 0 && !a.Parallel && r.o.Anew != nil && ctx.Err() == nil {
		fx, err := r.o.Anew(ctx, a.Fixture, s, errors.Join(left...))
		if left = append(left, err); err == nil {
			r.o.Fixtures[on], left = fx, nil
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
