package spec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/internal/sleep"
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

// Sampler is a subject that spreads a sample over a time, such as calls.
type Sampler interface {
	Subject
	// Spread makes n calls evenly over the time. See Look for the error.
	Spread(ctx context.Context, n int, over time.Duration) (traffic.Outcomes, error)
}

// Seen is a subject that is over: what was counted, what was lost. It is looked at once.
func Seen(says string, value any) Subject { return seen{says: says, value: value} }

// Once looks at a subject now, and never again: what takes long, or moves much, is a sample by
// itself.
func (t *T) Once(s Subject) Subject {
	v, err := s.Look(t.ctx, 1)
	return seen{says: s.String(), value: v, err: err, once: true}
}

type seen struct {
	says  string
	value any
	err   error // nothing was learned
	once  bool  // beside other specs, whose changes it may have met
}

func (s seen) String() string                         { return s.says }
func (s seen) Look(context.Context, int) (any, error) { return s.value, s.err }

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
	name    string
	prefix  string // before messages and observations
	verdict v1alpha2.Verdict
	counter func(*Result) *int
}

// Expectation is the role of what states the promise: only there can a mesh be seen non-conformant.
const Expectation = "expectation"

var (
	expectation = role{Expectation, "", v1alpha2.NonConformant, func(r *Result) *int { return &r.Expectations }}
	control     = role{"control", "control: ", v1alpha2.Unknown, func(r *Result) *int { return &r.Controls }}
	given       = role{"precondition", "given: ", v1alpha2.Unknown, func(*Result) *int { return new(int) }}
	// promised is a control that is itself a promise of the behavior.
	promised = role{Expectation, "", v1alpha2.NonConformant, func(r *Result) *int { return &r.Controls }}
)

// Expect states the promise: within the convergence timeout the subject comes to look as wanted,
// and stays so for the hold time. If not, the verdict is non-conformant.
func (t *T) Expect(s Subject, want ...types.GomegaMatcher) {
	t.judge(expectation, t.times.Convergence, s, want)
}

// ExpectWithin is [T.Expect] where the mesh is known to need longer than the convergence timeout.
func (t *T) ExpectWithin(limit time.Duration, s Subject, want ...types.GomegaMatcher) {
	t.judge(expectation, limit, s, want)
}

// ExpectAlways states a promise that no change has to reach first: already the first look must be
// as wanted.
func (t *T) ExpectAlways(s Subject, want ...types.GomegaMatcher) {
	t.judge(expectation, always, s, want)
}

// Control states what must be seen beside the promise, so that the promise could fail: its opposite
// while the cause is absent, or the same path where nothing forbids it. If it does not hold,
// nothing was learned and the verdict is unknown.
func (t *T) Control(s Subject, want ...types.GomegaMatcher) {
	t.judge(control, t.times.Convergence, s, want)
}

// ControlIsPromise is a control that is itself a promise of the same behavior, stated by the
// source. If it does not hold, the verdict is non-conformant.
func (t *T) ControlIsPromise(_ behaviors.Source, s Subject, want ...types.GomegaMatcher) {
	t.judge(promised, t.times.Convergence, s, want)
}

// Given states a precondition, without which neither expectation nor control means anything. If it
// does not hold, the verdict is unknown.
func (t *T) Given(s Subject, want ...types.GomegaMatcher) {
	t.judge(given, t.times.Convergence, s, want)
}

// firstLook is how many calls a look makes while a change arrives. The sample that decides comes
// after.
const firstLook = 8

// onItsWay says that the last change before the judgment may not have arrived yet. Then a few calls may
// all have been answered as wanted by chance, and the sample that decides would meet the old state.
func (j *judgment) onItsWay() bool {
	if calls, ok := j.subject.(traffic.Calls); ok && (calls.Call.Times != 0 || calls.Call.Reuse > 1) {
		return false // every look is a whole sample
	}
	_, sampled := j.subject.(Sampler)
	return sampled && j.samples > firstLook && time.Since(j.since) < j.times.Convergence
}

// always is the limit of a judgment that no change has to reach first.
const always time.Duration = 0

// judge looks with few calls until the subject seems as wanted; then the sample that decides is
// taken, spread over the hold time, while the spec goes on to other judgments. One wrong outcome in
// the sample is a fault, not a second chance: a mesh that is right for ten of every thirty seconds
// must not pass because one look was lucky.
//
// limit is for how long it looks; [always] = the first look decides.
func (t *T) judge(r role, limit time.Duration, s Subject, matchers []types.GomegaMatcher) {
	j := judgment{T: t, role: r, subject: s, limit: limit}
	switch s.(type) {
	case *Connection, Counter:
		j.event = true
	}
	t.mu.Lock()
	*r.counter(&t.result)++
	j.since = t.changed
	t.mu.Unlock()

	if over, ok := s.(seen); ok {
		t.NoError(over.err)
		line, event := over.value.(traffic.Timeline)
		j.event = event || over.once
		j.want = all(s, matchers)
		j.inTime(line)
		j.match(over.value, false)
		t.Observe("%s%s: %v", r.prefix, s, over.value)
		return
	}
	budgets, matchers := expect.SplitBudgets(matchers)
	j.want, j.samples, j.where = all(s, matchers), expect.Samples(matchers...), where()
	begun := time.Now()
	j.converge(begun)
	t.meanwhile(j.where, func() {
		j.settle(begun)
		t.stands(j)
		for _, b := range budgets {
			if wrong := b.Exceeded(traffic.Losses{Made: j.made, Lost: j.lost}); wrong != "" {
				j.end(false, fmt.Sprintf("expected %s\nseen     %s", b, wrong))
			}
		}
		t.Observe("%s%s: %s (%s, held %s%s)", r.prefix, s, inShort(j.value), j.when, t.times.Hold, j.losses())
	})
}

// held is a judgment that holds meanwhile.
type held struct {
	done chan struct{}
	end  *ending // once done
}

// meanwhile lets a judgment hold while the spec goes on to others, until [T.Still]. Beside other
// specs the spec waits instead: they use the time, and more calls at once would only make all of
// them late.
func (t *T) meanwhile(line string, hold func()) {
	if t.beside {
		hold()
		return
	}
	h := &held{done: make(chan struct{})}
	t.mu.Lock()
	t.holding = append(t.holding, h)
	t.mu.Unlock()
	go func() {
		defer close(h.done)
		if h.end = t.attempt(hold); h.end != nil {
			h.end.where = cmp.Or(h.end.where, line)
		}
	}()
}

// Still waits until every judgment so far has held, and ends the spec if one has not. What changes
// the mesh, or calls it for another reason, must wait so: it would break what is judged.
func (t *T) Still() {
	t.mu.Lock()
	holding := slices.Clone(t.holding)
	t.mu.Unlock()
	var ends []*ending
	for _, h := range holding {
		<-h.done
		ends = append(ends, h.end)
	}
	if end := gravest(ends); end != nil {
		panic(*end)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holding = slices.DeleteFunc(t.holding, func(h *held) bool { return slices.Contains(holding, h) })
}

// abandon stops the judgments that still hold when a spec ends, since nothing may call while it
// cleans up. One that has ended graver than the spec's body counts.
func (t *T) abandon(end *ending, stop func()) *ending {
	t.mu.Lock()
	holding := slices.Clone(t.holding)
	t.mu.Unlock()
	ends := []*ending{end}
	for _, h := range holding {
		select {
		case <-h.done:
			ends = append(ends, h.end)
		default:
		}
	}
	stop()
	for _, h := range holding {
		<-h.done
	}
	return gravest(ends)
}

// holds says that a judgment still holds.
func (t *T) holds() bool {
	return slices.ContainsFunc(t.holding, func(h *held) bool {
		select {
		case <-h.done:
			return false
		default:
			return true
		}
	})
}

// all wants everything of a subject. Wanting nothing would hold of whatever is seen.
func all(s Subject, want []types.GomegaMatcher) types.GomegaMatcher {
	if len(want) == 0 {
		panic(fmt.Sprintf("authoring mistake: nothing is wanted of %s", s))
	}
	return gomega.SatisfyAll(want...)
}

// judgment is one judgment under way.
type judgment struct {
	*T
	role    role
	subject Subject
	limit   time.Duration // see judge
	want    types.GomegaMatcher
	samples int
	since   time.Time // the last change

	value any
	when  string
	where string          // of the judgment
	event bool            // a neighbor may be in it: calls over a time, an open connection, a count of what all pods do
	lost  []time.Duration // since the last change, of calls that failed on the way
	made  int             // calls on the way
}

// converge looks until the subject is as wanted for once. start is when the judgment began.
func (j *judgment) converge(start time.Time) {
	looks := 0
	for pause := newPause(); ; pause.wait(j.ctx) {
		looks++
		ok, err := j.look(min(j.samples, firstLook))
		if ok && j.limit != always && j.onItsWay() {
			ok, err = j.look(j.samples)
		}
		if ok {
			break
		}
		if j.ctx.Err() != nil {
			j.NoError(errors.Join(j.ctx.Err(), err))
		}
		if j.limit == always && err == nil || time.Since(start) > max(j.limit, j.times.Convergence) {
			j.NoError(err)
			j.end(false, fmt.Sprintf("%s\nafter    %s and %d looks", j.want.FailureMessage(j.value), round(time.Since(start)), looks))
		}
	}
	j.when = j.converged(time.Since(j.since), start.Sub(j.since), looks)
}

// look looks once, by n calls where it is calls. The error means that nothing was learned.
func (j *judgment) look(n int) (ok bool, err error) {
	begun := time.Now()
	v, err := j.subject.Look(j.ctx, n)
	if err != nil {
		return false, err
	}
	j.value = v
	ok, err = j.want.Match(v)
	j.NoError(err)
	if !ok {
		j.countLost(v, begun)
	}
	return ok, nil
}

// settle holds. A control or a precondition may be as wanted at first and not stay so, since what the
// spec has just made is still on its way to every proxy: it is given the rest of its time to come to
// stay. Of the promise nothing is said by that; an expectation that does not hold ends the spec.
func (j *judgment) settle(start time.Time) {
	for {
		end := j.attempt(j.hold)
		if end == nil {
			return
		}
		broke := end.role == "" // the world, and nothing was judged
		if broke || j.role.verdict == v1alpha2.NonConformant || time.Since(start) > j.limit ||
			j.attempt(func() { j.converge(start) }) != nil {
			panic(*end)
		}
	}
}

// hold takes the sample that decides. Calls are spread over the hold time; other subjects are
// looked at again and again. A look from which nothing was learned is made again.
func (j *judgment) hold() {
	if s, ok := j.subject.(Sampler); ok {
		begun := time.Now()
		os, err := s.Spread(j.ctx, j.samples, j.times.Hold)
		j.NoError(err)
		j.countLost(os, begun)
		j.match(os, true)
		j.value = os
		if calls, ok := s.(traffic.Calls); ok {
			j.countAnswers(calls, os)
		}
		return
	}
	var broken []error
	learned := 0
	for begun := time.Now(); time.Since(begun) < j.times.Hold; {
		sleep.For(j.ctx, j.times.Hold/probesInHold)
		v, err := j.subject.Look(j.ctx, j.samples)
		if err != nil {
			j.NoError(j.ctx.Err())
			broken = append(broken, err)
			continue
		}
		learned++
		j.match(v, true)
	}
	if len(broken) > learned {
		j.NoError(fmt.Errorf("%s: nothing was learned by %d of %d looks within the hold time: %w",
			j.subject, len(broken), learned+len(broken), broken[len(broken)-1]))
	}
}

// stands remembers what the spec has seen hold of calls since the last change, for [T.confirm].
// What is no traffic may be a counter of earlier calls, which goes on with later ones.
func (t *T) stands(j judgment) {
	calls, ok := j.subject.(Sampler)
	if !ok {
		return
	}
	t.confirmLater(j.since, func() {
		// A whole sample: none of the clusters may be missing by chance.
		if v, err := calls.Spread(j.ctx, j.samples, t.again()); err == nil { // else it held, and nothing else was learned
			j.match(v, true)
		}
	})
}

// confirmLater keeps a look for [T.confirm], unless something has changed since.
func (t *T) confirmLater(since time.Time, look func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since.Equal(t.changed) {
		t.standing = append(t.standing, look)
	}
}

// again is the time over which the calls are spread that [T.confirm] makes once more, of all judgments
// at the same time: some hundred new connections in one moment would be late by themselves.
func (t *T) again() time.Duration { return t.times.Hold / 2 }

// rests is how many hold times a spec waits, at its end, before it looks again.
const rests = 2

// confirm waits and calls once more everything that has held since the last change, expectations
// and controls: all of it must still be so. A mesh that comes and goes may be right in each hold
// time, one after the other. One that is right for 10 s of every 30 s is not, two hold times
// later. Others use the wait.
func (t *T) confirm() {
	t.mu.Lock()
	standing := t.standing
	t.mu.Unlock()
	if len(standing) == 0 {
		return
	}
	t.rest(t.ctx, rests*t.times.Hold)
	Each(t, standing, func(look func()) { look() })
}

// probesInHold is how often a subject that is no traffic is looked at within the hold time.
const probesInHold = 10

// match ends the spec when v is not as wanted. held says that an earlier look was.
func (j *judgment) match(v any, held bool) {
	ok, err := j.want.Match(v)
	j.NoError(err)
	if !ok {
		if held {
			j.countDropped(j.value, v)
		}
		j.end(held, j.want.FailureMessage(v))
	}
}

// inTime ends the spec as unknown when calls that ran all the time are not as wanted, only because
// some were not answered in their time, and the suite itself could not keep its rate: then the
// machine was too busy for either, and nothing is learned of the mesh.
func (j *judgment) inTime(l traffic.Timeline) {
	if l.Gap() < late || !l.Waited() {
		return
	}
	ok, err := j.want.Match(l)
	j.NoError(err)
	if !ok {
		j.NoError(fmt.Errorf("%s: this machine was too busy to tell: a call was due every %s, and for %s none was made\n%s",
			j.subject, every, round(l.Gap()), j.want.FailureMessage(l)))
	}
}

func (j *judgment) end(held bool, message string) {
	subject := j.subject.String()
	if held {
		subject += ": was as expected " + j.when + ", then was not"
	}
	_, over := j.subject.(seen)
	flaky := held || j.event || j.limit == always && !over // it had no other chance
	panic(ending{verdict: j.role.verdict, role: j.role.name, flaky: flaky, where: cmp.Or(j.where, where()),
		message: j.role.prefix + subject + "\n" + message})
}

// countLost counts the calls that failed. When each began is not known, but that none did before begun:
// a budget must not take the time that they waited for an answer for their delay.
func (j *judgment) countLost(v any, begun time.Time) {
	os, _ := v.(traffic.Outcomes)
	j.made += len(os)
	for range os.Count(traffic.Lost) {
		j.lost = append(j.lost, begun.Sub(j.since))
	}
}

func (j *judgment) losses() string {
	if len(j.lost) == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %d calls failed on the way", len(j.lost), j.made)
}

// inShort is a value in one line.
func inShort(v any) string {
	s := fmt.Sprint(v)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "..."
	}
	return s
}

// RecordOutcome records which of a limitation's named outcomes stays over the hold time. name
// returns empty while the calls show none, or a mix. An unsafe outcome, or one that the catalog
// does not name, is non-conformant whenever it is seen; one that does not stay is not known. A
// budget, such as NoneAfter, gives the last change time to arrive before unsafe outcomes count.
func (t *T) RecordOutcome(who string, s Sampler, name func(traffic.Outcomes) string, budget ...expect.Budget) {
	t.mu.Lock()
	t.result.Expectations++
	since := t.changed
	t.mu.Unlock()
	n, line := expect.SpreadOver(len(t.Clusters)), where()
	sampled := func(look func() (any, error)) (string, any) {
		begun := time.Now()
		v, err := look()
		t.NoError(err)
		os, _ := v.(traffic.Outcomes)
		outcome := name(os)
		if _, acceptable, _ := t.Behavior.Outcome(outcome); outcome == "" || acceptable {
			return outcome, v
		}
		for _, b := range budget {
			if b.Exceeded(traffic.Losses{Made: len(os), Lost: []time.Duration{begun.Sub(since)}}) == "" {
				return "", v
			}
		}
		t.refuseUnsafe(line, who, outcome, os)
		return "", v
	}
	start := time.Now()
	for pause := newPause(); ; pause.wait(t.ctx) {
		begun := time.Now() // a look at calls that hang may take as long as a grace
		first, os := sampled(func() (any, error) { return s.Look(t.ctx, firstLook) })
		if first != "" {
			var held string
			if held, os = sampled(func() (any, error) { return s.Spread(t.ctx, n, t.times.Hold) }); held == first {
				o, _, _ := t.Behavior.Outcome(held)
				t.keepOutcome(line, who, held)
				t.Observe("%s: outcome %s, held %s: %s (%s)", who, held, t.times.Hold, o.Meaning, os)
				t.confirmLater(since, func() {
					if last, os := sampled(func() (any, error) { return s.Spread(t.ctx, n, t.again()) }); last != held {
						panic(ending{verdict: v1alpha2.Unknown, where: line, flaky: true, message: fmt.Sprintf(
							"%s: outcome %s held for %s, and later it was %q\nseen     %s", who, held, t.times.Hold, last, os)})
					}
				})
				return
			}
		}
		t.NoError(t.ctx.Err())
		if begun.Sub(start) > t.times.Convergence {
			panic(ending{verdict: v1alpha2.Unknown, where: line, message: fmt.Sprintf(
				"%s: no outcome that the catalog names stayed for %s\nseen     %s", who, t.times.Hold, os)})
		}
	}
}

// ObserveLook looks once and puts what is seen into the report. It judges nothing.
func (t *T) ObserveLook(s Subject) {
	seen, err := s.Look(t.ctx, expect.SpreadOver(len(t.Clusters)))
	t.NoError(err)
	t.Observe("%s: %v", s, seen)
}

// keepOutcome puts the outcome into the result. A spec that looks at several things has one outcome
// for all of them, or none is known; unless the catalog gives each row its own: then the result has
// the gravest.
func (t *T) keepOutcome(line, who, outcome string) {
	t.mu.Lock()
	before, perRow := t.result.Outcome, t.Behavior.Outcomes.PerRow
	if perRow {
		t.result.Rows = append(t.result.Rows, v1alpha2.RowOutcome{Row: who, Outcome: outcome})
		outcome = t.Behavior.Outcomes.Graver(before, outcome)
	}
	t.result.Outcome = outcome
	t.mu.Unlock()
	if !perRow && before != "" && before != outcome {
		panic(ending{verdict: v1alpha2.Unknown, where: line, message: fmt.Sprintf("%s: outcome %s, and before it %s", who, outcome, before)})
	}
}

// refuseUnsafe ends the spec for an outcome that is unsafe, or that the catalog does not name.
func (t *T) refuseUnsafe(line, who, outcome string, os traffic.Outcomes) {
	o, _, known := t.Behavior.Outcome(outcome)
	why := "an outcome that the catalog does not name: " + outcome
	if known {
		why = "unsafe outcome " + outcome + ": " + o.Meaning
	}
	panic(ending{verdict: v1alpha2.NonConformant, role: Expectation, where: line, flaky: true,
		message: fmt.Sprintf("%s: %s\nseen     %s", who, why, os)})
}

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
	sleep.For(ctx, p.d)
	p.d = min(p.d*3/2, time.Second)
}

// Judge is one of T's verbs: Expect, ExpectAlways, Control or Given.
type Judge func(s Subject, want ...types.GomegaMatcher)
