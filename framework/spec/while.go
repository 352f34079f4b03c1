package spec

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/internal/sleep"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Event is something that happens to the mesh while calls run.
type Event struct {
	// Says completes "while ...".
	Says string
	// Do lets it happen. It returns once it has happened, and must be sure of that: an event that did
	// not take place costs nothing, too.
	Do func(context.Context) error
	// Undo ends it; nil where it ends by itself. It returns once the mesh is as before, and must be
	// sure of that. When it fails it is called once more after the spec.
	Undo func(context.Context) error
	// Sudden says that the change is made as Do begins, such as a kill, and that the mesh has others to
	// turn to. Otherwise a grace counts from when Do is over, such as a rollout, or from when Undo begins.
	Sudden bool

	grace time.Duration
}

// Grace lets calls run on until they have shown what comes later than this after the change. Who
// judges with NoneAfter gives the event its grace.
func (e Event) Grace(d time.Duration) Event {
	e.grace = d
	return e
}

// Change is an event of the spec's own verbs, which undo after the spec what they do.
func Change(says string, do func()) Event {
	return Event{Says: says, Do: func(context.Context) error { do(); return nil }}
}

// Row is one kind of calls that run while something happens, such as [traffic.Calls].
type Row interface {
	fmt.Stringer
	// Once makes one call. The error means that nothing was learned.
	Once(context.Context) (traffic.Outcome, error)
}

// Unanswered are calls that must end as one of these kinds. One that is answered counts as lost; of
// one that ends otherwise nothing was learned.
func Unanswered(r Row, kinds ...traffic.Kind) Row { return unanswered{r, kinds} }

type unanswered struct {
	Row
	kinds []traffic.Kind
}

func (u unanswered) String() string { return u.Row.String() + ", not to be answered" }

func (u unanswered) Once(ctx context.Context) (traffic.Outcome, error) {
	o, err := u.Row.Once(ctx)
	switch {
	case err != nil:
		return o, err
	case o.Kind == traffic.Reached:
		return traffic.Outcome{Kind: traffic.Other, Detail: "answered by " + o.String(), Took: o.Took}, nil
	case !slices.Contains(u.kinds, o.Kind):
		return o, fmt.Errorf("%s: neither answered nor one of %v: %s", u.Row, u.kinds, o)
	}
	return traffic.Outcome{Kind: traffic.Reached, Cluster: string(o.Kind), Took: o.Took}, nil
}

// EventResult is what calls saw while something happened.
type EventResult struct {
	Says string
	// Begin is when it began to happen; Heal is when its undoing began, zero where it ends by itself;
	// End is when it was over, and undone.
	Begin, Heal, End time.Time
	Timelines        Timelines
}

// Since is when the first call began.
func (e EventResult) Since() time.Time {
	since := e.Begin
	for _, l := range e.Timelines {
		for _, c := range l.Calls {
			if c.At.Before(since) {
				since = c.At
			}
		}
	}
	return since
}

// Timelines are what the rows of [T.While] saw.
type Timelines []traffic.Timeline

// Of is what one of the rows saw; the value is a [traffic.Timeline], which budgets judge.
func (ls Timelines) Of(r Row) Subject {
	l, err := ls.of(r)
	return seen{says: r.String(), value: l, err: err}
}

// of is what a row saw. The error says why nothing was learned of it.
func (ls Timelines) of(r Row) (traffic.Timeline, error) {
	for _, l := range ls {
		if l.Who == r.String() {
			return l, l.Unknown()
		}
	}
	return traffic.Timeline{}, fmt.Errorf("authoring mistake: no such calls ran while it happened: %s", r)
}

// Answers are the calls of one of the rows that did not fail; the value is [traffic.Outcomes].
func (ls Timelines) Answers(r Row) Subject {
	l, err := ls.of(r)
	return seen{says: r.String() + ": what was answered", value: slices.DeleteFunc(l.Outcomes(), traffic.Lost), err: err}
}

// String says what each row saw.
func (ls Timelines) String() string {
	var all []string
	for _, l := range ls {
		all = append(all, l.Who+": "+l.String())
	}
	return strings.Join(all, "; ")
}

// HTTPFromEach are HTTP calls to a service from every cluster's client, for [T.While].
func (t *T) HTTPFromEach(s *Service) (rows []Row) {
	for _, c := range t.Clusters {
		rows = append(rows, c.Client.HTTP(s))
	}
	return rows
}

const (
	// every is the time between two calls of a row: five a second.
	every = 200 * time.Millisecond
	// late is a time without a call that shows that the suite itself does not run.
	late = 3 * every
	// lead is how long calls run before an event.
	lead = 2 * time.Second
	// slow is when a call that has not ended counts against the settling.
	slow = time.Second
)

// While makes calls at a fixed rate, from before an event until it is over and no call has failed
// for the hold time, or for the convergence timeout at most; in any case for the hold time after the
// event's grace. It judges nothing but that all is well before: the budgets of the rows are for
// [T.Control] and [T.Expect].
//
// If the event does not happen, or cannot be undone, the verdict is unknown.
func (t *T) While(e Event, rows ...Row) Timelines {
	t.Still()
	// One line for each call would be all that the result keeps; it has the timelines instead.
	calls := traffic.WithRecorder(t.ctx, func(traffic.Record) {})
	streams := make([]*traffic.Stream, len(rows))
	for i, r := range rows {
		streams[i] = traffic.Open(calls, every, r.Once)
	}
	sleep.For(t.ctx, lead)

	h := t.happen(e)
	if h.failed == nil {
		t.settle(streams, h.end, h.changed.Add(e.grace+t.times.Hold))
	}

	result := EventResult{Says: e.Says, Begin: h.begin, Heal: h.heal, End: h.end, Timelines: make(Timelines, len(rows))}
	for i, s := range streams {
		result.Timelines[i] = traffic.Timeline{Who: rows[i].String(), Calls: s.Close(), Begin: h.begin, Changed: h.changed, End: h.end}
	}
	t.mu.Lock()
	t.result.Events = append(t.result.Events, result)
	t.mu.Unlock()
	t.NoError(t.ctx.Err())
	if h.failed != nil {
		panic(*h.failed)
	}
	for _, l := range result.Timelines {
		if n := l.Before().Count(traffic.Lost); n > 0 {
			panic(ending{verdict: v1alpha2.Unknown, role: given.name, flaky: true, where: where(), message: fmt.Sprintf(
				"given: %s\nexpected no call to fail before %s\nseen     %s", l.Who, e.Says, l.Before())})
		}
	}
	t.Observe("%s: it took %s", e.Says, round(h.end.Sub(h.begin)))
	return result.Timelines
}

// happened is when an event took place, and how it failed.
type happened struct {
	begin, heal, end time.Time
	changed          time.Time // from when a grace counts
	failed           *ending
}

// happen lets an event happen and undoes it. What cannot be undone now is tried again after the
// spec, so that a mesh stays broken only if that fails, too, and then the run says so.
func (t *T) happen(e Event) (h happened) {
	undo := untilDone(func(ctx context.Context) error {
		if e.Undo == nil {
			return nil
		}
		if err := e.Undo(ctx); err != nil {
			return fmt.Errorf("%s: it cannot be undone: %w", e.Says, err)
		}
		return nil
	})
	t.Cleanup(undo)
	t.Changed()
	h.begin = time.Now()
	h.failed = t.attempt(func() {
		if err := e.Do(t.ctx); err != nil {
			t.NoError(fmt.Errorf("%s: it did not happen: %w", e.Says, err))
		}
		t.Still()
	})
	if e.Undo != nil {
		h.heal = time.Now()
		t.Changed()
		if end := t.attempt(func() { t.NoError(undo(t.ctx)) }); end != nil && h.failed == nil {
			h.failed = end
		}
	}
	h.end = time.Now()
	switch {
	case e.Undo != nil:
		h.changed = h.heal
	case e.Sudden:
		h.changed = h.begin
	default:
		h.changed = h.end
	}
	return h
}

// settle waits until no call has failed for the hold time, at most for the convergence timeout, but
// until the moment in any case.
func (t *T) settle(streams []*traffic.Stream, end, least time.Time) {
	quiet := func() bool {
		since := time.Now().Add(-t.times.Hold)
		if since.Before(end) {
			return false
		}
		for _, s := range streams {
			if !s.Quiet(since, slow) {
				return false
			}
		}
		return true
	}
	for (time.Now().Before(least) || !quiet() && time.Since(end) < t.times.Convergence) && sleep.For(t.ctx, every) {
	}
}
