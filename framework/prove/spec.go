package prove

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

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
	Calls        []string        // what was called and what became of it, one line each; the middle is left out of many
	Seen         []Seen          // who answered calls to services of a scope
	Started      time.Time
	Took         time.Duration
	Claims       int // what was claimed and looked at, and what stood beside it as a twin or control
	Twins        int
	Again        bool // this is not the last word: the spec will be run again by itself
}

// Spec is one run of a spec's body: its world, its claims and what it saw.
type Spec struct {
	*World
	Behavior *behaviors.Behavior
	Ctx      context.Context

	mu       sync.Mutex
	result   Result
	dropped  int // calls left out of the result
	services map[string]*Service
	changed  time.Time
	cleanups []func(context.Context) error
}

// verdict ends a spec from any depth.
type verdict struct {
	v        Verdict
	msg      string
	unsteady bool // what was claimed was seen, and then for once not
}

// prove runs the body of one spec and tells the runner what it found, before anything is cleaned up. first is what an earlier attempt beside other specs found.
func (r *Runner) prove(ctx context.Context, d declared, beside bool, first *Result) Result {
	sctx, cancel := context.WithTimeout(ctx, r.World.Times.Spec)
	defer cancel()
	s := &Spec{World: r.World, Behavior: d.behavior, result: Result{Behavior: d.behavior, Verdict: Conformant, Started: time.Now()}, changed: time.Now()}
	if first != nil {
		s.Note("a first attempt, beside other specs, did not count: %s", first.Message)
	}
	s.Ctx = traffic.Watched(sctx, s.called)
	if r.Begin != nil {
		r.Begin(d.behavior)
	}
	v := s.attempt(func() { d.body(s) })
	switch {
	case ctx.Err() != nil: // whatever broke or was refused may have been us
		v = &verdict{v: Unknown, msg: "the run was interrupted while it was under way"}
	case sctx.Err() != nil:
		v = &verdict{v: Unknown, msg: fmt.Sprintf("it was not done within its %s%s", r.World.Times.Spec, because(v))}
	case v == nil && (s.result.Claims == 0 || s.result.Twins == 0):
		v = &verdict{v: Unknown, msg: fmt.Sprintf("authoring mistake: the spec made %d claims and %d twins; each needs at least one, a spec that cannot fail proves nothing", s.result.Claims, s.result.Twins)}
	case v != nil && v.v == NonConformant && v.unsteady && beside:
		// A gateway or waypoint that takes a change of its configuration may drop a call of somebody else (seen: Envoy's internal listener is replaced, 503). The others' changes are
		// ours: only alone can it be told whether the mesh broke its promise.
		s.result.Again = true
		v = &verdict{v: Unknown, msg: "it was not steady while other specs changed the same gateways and waypoints, which may be our own doing: to be run again by itself\n" + v.msg}
	}
	if v != nil {
		s.result.Verdict, s.result.Message = v.v, v.msg
	}
	s.result.Took = time.Since(s.result.Started)
	if r.End != nil {
		r.End(ctx, s.result)
	}
	r.cleanUp(ctx, s)
	return s.result
}

func because(v *verdict) string {
	if v == nil {
		return ""
	}
	return "; it ended with: " + v.msg
}

// called keeps a line for each set of calls: all of the first and of the last, since a spec that polls makes very many.
func (s *Spec) called(c traffic.Record) {
	line := fmt.Sprintf("%s  %s -> %s (%d, %s): ", c.At.UTC().Format("15:04:05.000"), c.From, c.Call.URL, max(c.Call.Times, c.Call.Reuse, 1), round(c.Took))
	if c.Err != nil {
		line += c.Err.Error()
	} else {
		line += c.Outcomes.String()
		for _, o := range c.Outcomes {
			if o.Kind != traffic.Reached && o.Kind != traffic.Other && o.Kind != traffic.TLSAlert && o.Detail != "" { // those two have it in their names
				line += fmt.Sprintf("; the first that failed: %.300s", strings.ReplaceAll(o.Detail, "\n", " "))
				break
			}
		}
	}
	const first, last = 50, 250
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.result.Calls) >= first+last {
		s.dropped++
		s.result.Calls = slices.Delete(s.result.Calls, first, first+1)
		s.result.Calls[first] = fmt.Sprintf("... %d more ...", s.dropped+1)
	}
	s.result.Calls = append(s.result.Calls, line)
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
			out = &verdict{v: Unknown, msg: fmt.Sprintf("the suite itself failed: %v\n%s", r, buf[:runtime.Stack(buf, false)])}
		}
	}()
	f()
	return nil
}

// Cleanup runs f after the spec, last registered first, once its evidence is saved.
func (s *Spec) Cleanup(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Must ends the spec as unknown when err is not nil: the world broke and nothing was learned of the mesh.
func (s *Spec) Must(err error) {
	if err != nil {
		panic(verdict{v: Unknown, msg: where() + err.Error()})
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
}

// Saw records which of a limitation's named outcomes happened. An outcome outside the named set, or an unsafe one, ends the spec as non-conformant.
func (s *Spec) Saw(outcome string) {
	o, acceptable, known := s.Behavior.Outcome(outcome)
	s.mu.Lock()
	s.result.Outcome = outcome
	s.result.Claims++
	s.mu.Unlock()
	switch {
	case !known:
		panic(verdict{v: NonConformant, msg: where() + "outcome " + outcome + " is none of those named in the catalog"})
	case !acceptable:
		panic(verdict{v: NonConformant, msg: where() + "unsafe outcome " + outcome + ": " + o.Meaning})
	}
	s.Note("outcome %s: %s", outcome, o.Meaning)
}

// Each runs f for every site side by side; the first verdict ends the spec when all are done.
func (s *Spec) Each(f func(from *Site)) { s.EachOf(s.Sites, f) }

// EachOf is Each for some sites.
func (s *Spec) EachOf(sites []*Site, f func(from *Site)) {
	ends := make([]*verdict, len(sites))
	var wg sync.WaitGroup
	for i, site := range sites {
		wg.Add(1)
		go func() { defer wg.Done(); ends[i] = s.attempt(func() { f(site) }) }()
	}
	wg.Wait()
	var worst *verdict
	for _, v := range ends { // what was learned of the mesh counts more than what broke beside it
		if v != nil && (worst == nil || worst.v == Unknown || worst.unsteady && v.v == NonConformant) {
			worst = v
		}
	}
	if worst != nil {
		panic(*worst)
	}
}

// TwinMark stands in messages and observations before what a twin or control saw.
const TwinMark = "twin: "

// Calls are calls from one client to one target.
type Calls struct {
	From *traffic.Client
	Call traffic.Call
	host string // of the Service that is called; empty for calls made by hand
}

func (c Calls) String() string {
	return fmt.Sprintf("%s -> %s", c.From.Name, c.Call.URL)
}

// Then claims: within the settle time the calls come to look as wanted, and stay so for the hold time.
func (s *Spec) Then(calls Calls, want expect.Expectation) traffic.Outcomes {
	return s.settle(&s.result.Claims, "", calls, want)
}

// Twin is the claim's opposite or control, judged the same way: what must be seen when the cause is absent, so that the claim could fail.
func (s *Spec) Twin(calls Calls, want expect.Expectation) traffic.Outcomes {
	return s.settle(&s.result.Twins, TwinMark, calls, want)
}

// Holds claims something that is not traffic: ok, or the reason why the promise is broken.
func (s *Spec) Holds(ok bool, format string, args ...any) {
	s.judge(&s.result.Claims, "", ok, format, args...)
}

// TwinHolds is the twin or control of Holds.
func (s *Spec) TwinHolds(ok bool, format string, args ...any) {
	s.judge(&s.result.Twins, TwinMark, ok, format, args...)
}

func (s *Spec) judge(counter *int, prefix string, ok bool, format string, args ...any) {
	s.mu.Lock()
	*counter++
	s.mu.Unlock()
	text := prefix + fmt.Sprintf(format, args...)
	if !ok {
		panic(verdict{v: NonConformant, msg: where() + "not so: " + text})
	}
	s.Note("%s", text)
}

// Eventually polls f until it says nothing is wrong; what is wrong after the settle time ends the spec as non-conformant. It returns the time it took.
func (s *Spec) Eventually(what string, f func(ctx context.Context) (wrong string, err error)) time.Duration {
	return s.poll(&s.result.Claims, "", what, f)
}

// TwinEventually is the twin or control of Eventually.
func (s *Spec) TwinEventually(what string, f func(ctx context.Context) (wrong string, err error)) time.Duration {
	return s.poll(&s.result.Twins, TwinMark, what, f)
}

func (s *Spec) poll(counter *int, prefix, what string, f func(ctx context.Context) (string, error)) time.Duration {
	s.mu.Lock()
	since := s.changed
	*counter++
	s.mu.Unlock()
	start := time.Now()
	looks := 0
	for pause := newPause(); ; pause.wait(s.Ctx) {
		looks++
		wrong, err := f(s.Ctx)
		if err == nil && wrong == "" {
			took := time.Since(since)
			s.Note("%s%s (%s)", prefix, what, s.converged(took, start.Sub(since), looks))
			return took
		}
		if s.Ctx.Err() != nil {
			s.Must(errors.Join(s.Ctx.Err(), err))
		}
		if time.Since(start) > s.Times.Settle {
			s.Must(err)
			panic(verdict{v: NonConformant, msg: where() + prefix + "expected " + what + "\nseen     " + wrong})
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
		s.Must(s.Ctx.Err())
		if time.Since(start) > s.Times.Settle {
			panic(verdict{v: NonConformant, msg: fmt.Sprintf("%s%s%s\n%s\nafter    %s and %d rounds of calls", where(), prefix, calls, want.FailureMessage(os), round(time.Since(start)), polls)})
		}
	}
	took := time.Since(since)
	when := s.converged(took, start.Sub(since), polls)
	for held := time.Now(); time.Since(held) < s.Times.Hold; {
		sleep(s.Ctx, between)
		again, err := calls.From.Do(s.Ctx, calls.Call)
		s.Must(err)
		if ok, _ := want.Match(again); !ok {
			panic(verdict{v: NonConformant, unsteady: true, msg: fmt.Sprintf("%s%s%s: was as expected after %s, then was not\n%s", where(), prefix, calls, round(took), want.FailureMessage(again))})
		}
		os = append(os, again...)
	}
	s.count(calls, os)
	s.Note("%s%s: %s (%s, held %s)", prefix, calls, os, when, s.Times.Hold)
	return os
}

// prompt is how soon after a change a claim must have begun to look for its first look to measure the change.
const prompt = 500 * time.Millisecond

// converged keeps the time from a change to its effect, and says it in words. A claim that only looks long after the change and finds it so has measured
// its own lateness, not the mesh: that is no sample.
func (s *Spec) converged(took, begun time.Duration, looks int) string {
	if looks == 1 && begun > prompt {
		return "at once"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Converge = append(s.result.Converge, took)
	return "after " + round(took).String()
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// pause grows from 50 ms to 1 s.
type pause struct{ d time.Duration }

func newPause() *pause { return &pause{50 * time.Millisecond} }

func (p *pause) wait(ctx context.Context) {
	sleep(ctx, p.d)
	p.d = min(p.d*3/2, time.Second)
}

// between rounds of calls that only watch whether something stays so: other specs want the processor, too.
const between = 150 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
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
