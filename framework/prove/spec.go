package prove

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/onsi/ginkgo/v2"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/traffic"
)

// Verdict of one spec, before the report's own words for it.
type Verdict string

// Verdicts. Unknown means that the world broke, not the mesh; NonConformant that a promise was seen broken.
const (
	Conformant    Verdict = "conformant"
	NonConformant Verdict = "non-conformant"
	Unknown       Verdict = "unknown"
	Skipped       Verdict = "skipped"
)

// Result is what one spec found.
type Result struct {
	Behavior     *behaviors.Behavior
	Verdict      Verdict
	Message      string // why, for all but conformant
	Outcome      string // limitations: which of the named outcomes was seen
	Observations []string
	Converge     []time.Duration // times from a change to its stable effect
	Started      time.Time
	Took         time.Duration
}

// Runner is what a run sets before specs start.
type Runner struct {
	World *World
	// Skip says why a behaviour is not run; ok false = it runs.
	Skip func(id string) (reason string, ok bool)
	// Begin and End frame each spec that runs. End is called before anything is cleaned up, so that evidence can be saved.
	Begin func(b *behaviors.Behavior)
	End   func(ctx context.Context, r Result)
}

var current *Runner

// Use sets the runner. It must be set before Ginkgo runs the specs.
func Use(r *Runner) { current = r }

// Spec is one run of a spec's body: its world, its claims and what it saw.
type Spec struct {
	*World
	Behavior *behaviors.Behavior
	Ctx      context.Context

	mu       sync.Mutex
	result   Result
	claims   int
	twins    int
	changed  time.Time
	cleanups []func(context.Context) error
}

// verdict ends a spec from any depth.
type verdict struct {
	v   Verdict
	msg string
}

func run(ctx ginkgo.SpecContext, b *behaviors.Behavior, body func(*Spec)) {
	if current == nil {
		ginkgo.Fail("no runner: specs are run by `amc run` or `go test ./suites`")
	}
	if why, skip := current.Skip(b.ID); skip {
		ginkgo.Skip(why)
	}
	bctx, cancel := context.WithTimeout(ctx, current.World.Times.Spec)
	defer cancel()
	s := &Spec{World: current.World, Behavior: b, Ctx: bctx, result: Result{Behavior: b, Verdict: Conformant, Started: time.Now()}, changed: time.Now()}
	if current.Begin != nil {
		current.Begin(b)
	}
	defer s.cleanup()
	if v := s.attempt(func() { body(s) }); v != nil {
		s.result.Verdict, s.result.Message = v.v, v.msg
	} else if s.claims == 0 || s.twins == 0 {
		s.result.Verdict, s.result.Message = Unknown, fmt.Sprintf("authoring mistake: the spec made %d claims and %d twins; each needs at least one, a spec that cannot fail proves nothing", s.claims, s.twins)
	}
	s.result.Took = time.Since(s.result.Started)
	if current.End != nil {
		current.End(ctx, s.result)
	}
	if s.result.Verdict != Conformant {
		ginkgo.Fail(string(s.result.Verdict)+": "+s.result.Message, 1)
	}
}

// attempt runs f and catches the verdict that ended it; any other panic is a defect of the suite and so leaves the mesh's conformance unknown.
func (s *Spec) attempt(f func()) (out *verdict) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case verdict:
			out = &r
		default:
			buf := make([]byte, 4096)
			out = &verdict{Unknown, fmt.Sprintf("the suite itself failed: %v\n%s", r, buf[:runtime.Stack(buf, false)])}
		}
	}()
	f()
	return nil
}

func (s *Spec) cleanup() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Ctx), 30*time.Second)
	defer cancel()
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		if err := s.cleanups[i](ctx); err != nil {
			ginkgo.GinkgoWriter.Printf("cleaning up after %s: %v\n", s.Behavior.ID, err)
			CleanupErrors = append(CleanupErrors, fmt.Errorf("%s: %w", s.Behavior.ID, err))
		}
	}
}

// CleanupErrors are clean-ups that failed; a run that has some is not clean.
var CleanupErrors []error

// Cleanup runs f after the spec, last registered first, once its evidence is saved.
func (s *Spec) Cleanup(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Must ends the spec as unknown when err is not nil: the world broke and nothing was learnt of the mesh.
func (s *Spec) Must(err error) {
	if err != nil {
		panic(verdict{Unknown, where() + err.Error()})
	}
}

// Changed starts the clock of the next convergence.
func (s *Spec) Changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = time.Now()
}

// Note adds an observation to the report.
func (s *Spec) Note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Observations = append(s.result.Observations, fmt.Sprintf(format, args...))
	ginkgo.GinkgoWriter.Printf("  "+format+"\n", args...)
}

// Saw records which of a limitation's named outcomes happened. An outcome outside the named set, or an unsafe one, ends the spec as non-conformant.
func (s *Spec) Saw(outcome string) {
	o, acceptable, known := s.Behavior.Outcome(outcome)
	s.mu.Lock()
	s.result.Outcome = outcome
	s.claims++
	s.mu.Unlock()
	switch {
	case !known:
		panic(verdict{NonConformant, where() + "outcome " + outcome + " is none of those named in the catalogue"})
	case !acceptable:
		panic(verdict{NonConformant, where() + "unsafe outcome " + outcome + ": " + o.Meaning})
	}
	s.Note("outcome %s: %s", outcome, o.Meaning)
}

// Each runs f for every site side by side; the first verdict ends the spec when all are done.
func (s *Spec) Each(f func(from *Site)) {
	ends := make([]*verdict, len(s.Sites))
	var wg sync.WaitGroup
	for i, site := range s.Sites {
		wg.Add(1)
		go func() { defer wg.Done(); ends[i] = s.attempt(func() { f(site) }) }()
	}
	wg.Wait()
	var worst *verdict
	for _, v := range ends { // what was learnt of the mesh counts more than what broke beside it
		if v != nil && (worst == nil || worst.v == Unknown) {
			worst = v
		}
	}
	if worst != nil {
		panic(*worst)
	}
}

// Calls are calls from one client to one target.
type Calls struct {
	From *traffic.Client
	Call traffic.Call
}

func (c Calls) String() string {
	return fmt.Sprintf("%s -> %s", c.From.Name, c.Call.URL)
}

// Then claims: within the settle time the calls come to look as wanted, and stay so for the hold time.
func (s *Spec) Then(calls Calls, want expect.Expectation) traffic.Outcomes {
	return s.settle(&s.claims, "", calls, want)
}

// Twin is the claim's opposite or control, judged the same way: what must be seen when the cause is absent, so that the claim could fail.
func (s *Spec) Twin(calls Calls, want expect.Expectation) traffic.Outcomes {
	return s.settle(&s.twins, "twin: ", calls, want)
}

// Holds claims something that is not traffic: ok, or the reason why the promise is broken.
func (s *Spec) Holds(ok bool, format string, args ...any) {
	s.judge(&s.claims, "", ok, format, args...)
}

// TwinHolds is the twin or control of Holds.
func (s *Spec) TwinHolds(ok bool, format string, args ...any) {
	s.judge(&s.twins, "twin: ", ok, format, args...)
}

func (s *Spec) judge(counter *int, prefix string, ok bool, format string, args ...any) {
	s.mu.Lock()
	*counter++
	s.mu.Unlock()
	text := prefix + fmt.Sprintf(format, args...)
	if !ok {
		panic(verdict{NonConformant, where() + "not so: " + text})
	}
	s.Note("%s", text)
}

// Eventually polls f until it says nothing is wrong; what is wrong after the settle time ends the spec as non-conformant. It returns the time it took.
func (s *Spec) Eventually(what string, f func(ctx context.Context) (wrong string, err error)) time.Duration {
	return s.poll(&s.claims, "", what, f)
}

// TwinEventually is the twin or control of Eventually.
func (s *Spec) TwinEventually(what string, f func(ctx context.Context) (wrong string, err error)) time.Duration {
	return s.poll(&s.twins, "twin: ", what, f)
}

func (s *Spec) poll(counter *int, prefix, what string, f func(ctx context.Context) (string, error)) time.Duration {
	s.mu.Lock()
	since := s.changed
	*counter++
	s.mu.Unlock()
	start := time.Now()
	for pause := newPause(); ; pause.wait(s.Ctx) {
		wrong, err := f(s.Ctx)
		if err == nil && wrong == "" {
			took := time.Since(since)
			s.converged(took)
			s.Note("%s%s (after %s)", prefix, what, round(took))
			return took
		}
		if s.Ctx.Err() != nil {
			s.Must(fmt.Errorf("the spec ran out of its %s: %w", s.Times.Spec, errors.Join(s.Ctx.Err(), err)))
		}
		if time.Since(start) > s.Times.Settle {
			s.Must(err)
			panic(verdict{NonConformant, where() + prefix + "expected " + what + "\nseen     " + wrong})
		}
	}
}

func (s *Spec) settle(counter *int, prefix string, calls Calls, want expect.Expectation) traffic.Outcomes {
	s.mu.Lock()
	since := s.changed
	*counter++
	s.mu.Unlock()
	start := time.Now()
	var os traffic.Outcomes
	var err error
	polls := 0
	for pause := newPause(); ; pause.wait(s.Ctx) {
		polls++
		os, err = calls.From.Do(s.Ctx, calls.Call)
		s.Must(err)
		if ok, _ := want.Match(os); ok {
			break
		}
		if time.Since(start) > s.Times.Settle || s.Ctx.Err() != nil {
			panic(verdict{NonConformant, fmt.Sprintf("%s%s%s\n%s\nafter    %s and %d rounds of calls", where(), prefix, calls, want.FailureMessage(os), round(time.Since(start)), polls)})
		}
	}
	took := time.Since(since)
	for held := time.Now(); time.Since(held) < s.Times.Hold; {
		again, err := calls.From.Do(s.Ctx, calls.Call)
		s.Must(err)
		if ok, _ := want.Match(again); !ok {
			panic(verdict{NonConformant, fmt.Sprintf("%s%s%s: was as expected after %s, then was not\n%s", where(), prefix, calls, round(took), want.FailureMessage(again))})
		}
		os = append(os, again...)
	}
	s.converged(took)
	s.Note("%s%s: %s (after %s, held %s)", prefix, calls, os, round(took), s.Times.Hold)
	return os
}

func (s *Spec) converged(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Converge = append(s.result.Converge, d)
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// pause grows from 50 ms to 1 s.
type pause struct{ d time.Duration }

func newPause() *pause { return &pause{50 * time.Millisecond} }

func (p *pause) wait(ctx context.Context) {
	t := time.NewTimer(p.d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	p.d = min(p.d*3/2, time.Second)
}

// where is the line of the spec that was running, for messages.
func where() string {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	for {
		f, more := frames.Next()
		if strings.Contains(f.File, "/suites/") {
			return fmt.Sprintf("%s:%d: ", filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}
