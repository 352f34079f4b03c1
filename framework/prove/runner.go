package prove

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onsi/ginkgo/v2"

	"ambient.test/conformance/behaviors"
)

// Runner runs specs: those that leave what they share alone side by side, then the others one by one.
type Runner struct {
	World *World
	// Skip says why a behavior is not run; ok false = it runs.
	Skip func(id string) (reason string, ok bool)
	// Parallel is how many specs may be under way at once; default 1.
	Parallel int
	// Begin and End frame each spec that runs. End is called before anything is cleaned up, so that evidence can be saved; specs that run side by side call them at the same time.
	Begin func(b *behaviors.Behavior)
	End   func(ctx context.Context, r Result)

	mu     sync.Mutex
	specs  map[string]*pending
	leaked []error
}

// pending is a spec that will have run when done is closed; result stays nil when it did not get its turn.
type pending struct {
	done   chan struct{}
	result *Result
}

var current *Runner

// Use sets the runner whose specs Ginkgo's nodes wait for. It must be set before Ginkgo runs them.
func Use(r *Runner) { current = r }

// Alone says whether a behavior's spec must run by itself: it changes or breaks what other specs stand on.
func Alone(b *behaviors.Behavior) bool {
	return slices.Contains(b.Needs, behaviors.MeshAdmin) || slices.Contains(b.Needs, behaviors.Disruptive)
}

// Start begins to run the specs of these ids in their order, those that must run alone last, and before them by itself each that was not steady beside others. Wait returns when all are done and cleaned up; after ctx is
// canceled no spec begins any more and those under way end soon.
func (r *Runner) Start(ctx context.Context, ids []string) (wait func()) {
	var together, alone []declared
	r.specs = map[string]*pending{}
	for _, id := range ids {
		i := slices.IndexFunc(registry, func(d declared) bool { return d.behavior != nil && d.behavior.ID == id })
		if i < 0 || r.specs[id] != nil {
			continue
		}
		if _, skip := r.Skip(id); skip {
			continue
		}
		r.specs[id] = &pending{done: make(chan struct{})}
		if d := registry[i]; d.timed || Alone(d.behavior) {
			alone = append(alone, d)
		} else {
			together = append(together, d)
		}
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		again := r.all(ctx, together, max(r.Parallel, 1))
		r.all(ctx, append(again, alone...), 1)
	}()
	return func() { <-finished }
}

// all runs specs and names those that must be run again by themselves.
func (r *Runner) all(ctx context.Context, ds []declared, parallel int) (again []declared) {
	queue := make(chan declared, len(ds))
	for _, d := range ds {
		queue <- d
	}
	close(queue)
	parallel = min(parallel, len(ds))
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for d := range queue {
				p := r.specs[d.behavior.ID]
				if ctx.Err() == nil {
					result := r.prove(ctx, d, parallel > 1, p.result)
					p.result = &result
					if result.Again {
						r.mu.Lock()
						again = append(again, d)
						r.mu.Unlock()
						continue
					}
				}
				close(p.done)
			}
		})
	}
	workers.Wait()
	return again
}

// cleanUp undoes what the spec did, last first.
func (r *Runner) cleanUp(ctx context.Context, s *Spec) {
	patience := 30 * time.Second
	if ctx.Err() != nil {
		patience = 8 * time.Second // somebody waits for the prompt
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for _, f := range slices.Backward(s.cleanups) {
		if err := f(clean); err != nil {
			r.mu.Lock()
			r.leaked = append(r.leaked, fmt.Errorf("cleaning up after %s: %w", s.Behavior.ID, err))
			r.mu.Unlock()
		}
	}
}

// Leaked are clean-ups that failed; a run that has some is not clean.
func (r *Runner) Leaked() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.leaked)
}

// tell is the body of each Ginkgo node: it waits for the spec and passes its result on.
func tell(b *behaviors.Behavior) {
	if current == nil {
		ginkgo.Fail("no runner: specs are run by `amc run` or `go test ./suites`")
	}
	if why, skip := current.Skip(b.ID); skip {
		ginkgo.Skip(why)
	}
	p := current.specs[b.ID]
	if p == nil {
		ginkgo.Fail(b.ID + " was not among the specs that the run began with")
	}
	<-p.done
	if p.result == nil {
		ginkgo.Fail(string(Unknown) + ": it did not get its turn before the run was interrupted")
	}
	for _, o := range p.result.Observations {
		ginkgo.GinkgoWriter.Println("  " + o)
	}
	// Ginkgo measures how long it waited; the entry has when the spec really ran.
	ginkgo.AddReportEntry(b.ID, ginkgo.ReportEntryVisibilityNever, map[string]any{"verdict": p.result.Verdict, "started": p.result.Started, "seconds": p.result.Took.Seconds()})
	if p.result.Verdict != Conformant {
		ginkgo.Fail(string(p.result.Verdict)+": "+p.result.Message, 1)
	}
}
