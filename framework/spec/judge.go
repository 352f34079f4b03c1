package spec

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Subject is what expectations are about: calls from a client, a gateway's answer, what a control
// plane says. It can be looked at again and again.
type Subject interface {
	// String says who is looked at, and how.
	String() string
	// Look returns what is seen now. n is how many calls a subject that samples should make. The
	// error means that nothing was learned: it is never the mesh's fault.
	Look(ctx context.Context, n int) (any, error)
}

// Seen is a subject that is over: what was counted, what was lost. It is looked at once.
func Seen(says string, value any) Subject { return seen{says, value} }

type seen struct {
	says  string
	value any
}

func (s seen) String() string                         { return s.says }
func (s seen) Look(context.Context, int) (any, error) { return s.value, nil }

// Probe is a subject made of a function.
func Probe(says string, look func(ctx context.Context) (any, error)) Subject {
	return probe{says, look}
}

type probe struct {
	says string
	look func(ctx context.Context) (any, error)
}

func (p probe) String() string                               { return p.says }
func (p probe) Look(ctx context.Context, _ int) (any, error) { return p.look(ctx) }

// role is what a judgment is for.
type role struct {
	prefix  string // before messages and observations
	verdict v1alpha2.Verdict
	counter func(*Result) *int
}

// ControlMark stands in messages and observations before what a control saw.
const ControlMark = "control: "

var (
	expectation = role{"", v1alpha2.NonConformant, func(r *Result) *int { return &r.Expectations }}
	control     = role{ControlMark, v1alpha2.NonConformant, func(r *Result) *int { return &r.Controls }}
	given       = role{"given: ", v1alpha2.Unknown, func(*Result) *int { return new(int) }}
)

// Expect states the promise: within the convergence timeout the subject comes to look as wanted,
// and stays so for the hold time. If not, the verdict is non-conformant.
func (t *T) Expect(s Subject, want ...types.GomegaMatcher) { t.judge(expectation, false, s, want) }

// ExpectAlways states a promise that no change has to reach first: already the first look must be
// as wanted.
func (t *T) ExpectAlways(s Subject, want ...types.GomegaMatcher) { t.judge(expectation, true, s, want) }

// Control states what must be seen beside the promise, so that the promise could fail: its opposite
// while the cause is absent, or the same path where nothing forbids it.
func (t *T) Control(s Subject, want ...types.GomegaMatcher) { t.judge(control, false, s, want) }

// Given states a precondition, without which neither expectation nor control means anything. If it
// does not hold, the verdict is unknown.
func (t *T) Given(s Subject, want ...types.GomegaMatcher) { t.judge(given, false, s, want) }

// judge looks until the subject is as wanted, and then for the hold time.
func (t *T) judge(r role, always bool, s Subject, matchers []types.GomegaMatcher) {
	want, n := gomega.SatisfyAll(matchers...), expect.Samples(matchers...)
	t.mu.Lock()
	*r.counter(&t.result)++
	since := t.changed
	t.mu.Unlock()

	start := time.Now()
	var value any
	looks := 0
	for pause := newPause(); ; pause.wait(t.ctx) {
		looks++
		v, err := s.Look(t.ctx, n)
		if err == nil {
			value = v
			ok, err := want.Match(v)
			t.NoError(err)
			if ok {
				break
			}
		}
		if t.ctx.Err() != nil {
			t.NoError(errors.Join(t.ctx.Err(), err))
		}
		if _, over := s.(seen); over || always && err == nil || time.Since(start) > t.times.Convergence {
			t.NoError(err)
			after := fmt.Sprintf("\nafter    %s and %d looks", round(time.Since(start)), looks)
			panic(ending{verdict: r.verdict, message: where() + r.prefix + s.String() + "\n" + want.FailureMessage(value) + after})
		}
	}
	took := time.Since(since)
	when := t.converged(took, start.Sub(since), looks)
	if _, over := s.(seen); over {
		t.Observe("%s%s: %v", r.prefix, s, value)
		return
	}
	value = t.hold(r, s, want, n, value, took)
	t.Observe("%s%s: %s (%s, held %s)", r.prefix, s, inShort(value), when, t.times.Hold)
}

// hold looks again and again for the hold time. One look that is not as wanted ends the spec; a
// look from which nothing was learned is made again.
func (t *T) hold(r role, s Subject, want types.GomegaMatcher, n int, value any, took time.Duration) any {
	all, isTraffic := value.(traffic.Outcomes)
	for begun := time.Now(); time.Since(begun) < t.times.Hold; {
		sleep(t.ctx, between)
		v, err := s.Look(t.ctx, n)
		if err != nil {
			t.NoError(t.ctx.Err())
			continue
		}
		ok, err := want.Match(v)
		t.NoError(err)
		if !ok {
			t.countLost(value, v)
			panic(ending{verdict: r.verdict, flaky: true, message: fmt.Sprintf("%s%s%s: was as expected after %s, then was not\n%s",
				where(), r.prefix, s, round(took), want.FailureMessage(v))})
		}
		if isTraffic {
			all = append(all, v.(traffic.Outcomes)...)
		}
	}
	if !isTraffic {
		return value
	}
	if calls, ok := s.(traffic.Calls); ok {
		t.countAnswers(calls, all)
	}
	return all
}

// inShort is a value in one line.
func inShort(v any) string {
	s := fmt.Sprint(v)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "..."
	}
	return s
}

// RecordOutcome records which of a limitation's named outcomes the calls show. name returns empty
// while they show none, or not yet. An outcome that the catalog does not name, or calls unsafe, is
// non-conformant.
func (t *T) RecordOutcome(who string, calls traffic.Calls, name func(traffic.Outcomes) string) {
	t.recordOutcome(about{who, calls.Times(expect.SpreadOver(len(t.Clusters)))}, name)
}

func (t *T) recordOutcome(s Subject, name func(traffic.Outcomes) string) {
	var outcome string
	t.Given(s, expect.Value("an outcome that the catalog names", func(os traffic.Outcomes) string {
		if outcome = name(os); outcome == "" {
			return "none of them"
		}
		return ""
	}))

	o, acceptable, known := t.Behavior.Outcome(outcome)
	t.mu.Lock()
	t.result.Outcome = outcome
	t.result.Expectations++
	t.mu.Unlock()
	switch {
	case !known:
		panic(ending{verdict: v1alpha2.NonConformant, message: where() + "outcome " + outcome + " is none of those named in the catalog"})
	case !acceptable:
		panic(ending{verdict: v1alpha2.NonConformant, message: where() + "unsafe outcome " + outcome + ": " + o.Meaning})
	}
	t.Observe("outcome %s: %s", outcome, o.Meaning)
}

// about is a subject under another name.
type about struct {
	who string
	Subject
}

func (a about) String() string { return a.who }

// prompt is how soon after a change the first look must come, for a convergence time to be
// measured.
const prompt = 500 * time.Millisecond

// converged records the time from the last change to success, and says it in words. If the first
// look came late and succeeded, the mesh may have converged long before, so no sample is recorded.
func (t *T) converged(took, begun time.Duration, looks int) string {
	if looks == 1 && begun > prompt {
		return "at once"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Convergence = append(t.result.Convergence, took)
	return "after " + round(took).String()
}

// pause grows from 50 ms to 1 s.
type pause struct{ d time.Duration }

func newPause() *pause { return &pause{50 * time.Millisecond} }

func (p *pause) wait(ctx context.Context) {
	sleep(ctx, p.d)
	p.d = min(p.d*3/2, time.Second)
}

// between is the pause between looks that only watch whether something stays: other specs need the
// processor, too.
const between = 150 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Judge is one of T's verbs: Expect, ExpectAlways, Control or Given.
type Judge func(s Subject, want ...types.GomegaMatcher)
