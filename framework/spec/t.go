package spec

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/peer"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/internal/sleep"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Cluster and Clusters are the fleet's, with the fixture's clients.
type (
	Cluster  = fixture.Cluster
	Clusters = fixture.Clusters
)

// Times are the limits in force. All are the suite's, none is promised by Istio; every report has
// them.
type Times struct {
	// Convergence is the time within which a change must show; default 30 s.
	Convergence time.Duration
	// Hold is the time for which the effect must then stay; default 5 s.
	Hold time.Duration
	// Spec is the time that one spec may take; default 5 min. Alone none needs 2; a machine that is
	// busy with others makes them slow, which says nothing about the mesh.
	Spec time.Duration
}

// DefaultTimes are the limits unless a flag says otherwise.
var DefaultTimes = Times{Convergence: 30 * time.Second, Hold: 5 * time.Second, Spec: 5 * time.Minute}

// Result is what one attempt of a spec found.
type Result struct {
	Behavior *behaviors.Behavior
	Verdict  v1alpha2.Verdict
	Message  string // why, for all but conformant
	// Failed is what ended the spec: [Expectation], control, precondition, or empty. At is its line.
	Failed, At string
	Outcome    string // limitations: which of the named outcomes was seen
	// Rows are the outcomes of a limitation whose rows have one each; Outcome is the gravest of them.
	Rows []v1alpha2.RowOutcome
	// Observations are what was seen, one sentence each, in order.
	Observations []string
	// Convergence are the times from a change to its stable effect.
	Convergence []time.Duration
	// Calls are what was called and the outcomes, one line each; the middle is left out of many.
	Calls []string
	// Answers count who answered calls to services of a scope.
	Answers []Answers
	// Events are what calls saw while something happened to the mesh.
	Events       []EventResult
	Started      time.Time
	Took         time.Duration
	Expectations int
	Controls     int
	// Retry says that this is not the last word: the spec will run again, alone.
	Retry bool
	// Lost and Made count calls of an attempt that runs again: those that ended as none did while the
	// mesh was as expected, and all of that sample.
	Lost, Made int
}

// T is one attempt of a spec: its clusters, what it changed and what it saw.
type T struct {
	*fixture.Fixture
	Behavior *behaviors.Behavior

	ctx   context.Context
	times Times

	mu       sync.Mutex
	result   Result
	dropped  int // calls left out of the result
	services map[string]*Service
	// tunnelClients deploy the clients that open tunnels, by cluster.
	tunnelClients map[string]func() *traffic.Client
	peers         peer.Peers
	changed       time.Time
	beside        bool     // other specs run at the same time
	together      int      // parts of the spec that run side by side, each of which may change what is its own
	holding       []*held  // judgments since the last change
	standing      []func() // look again at what held since the last change
	rest          func(ctx context.Context, d time.Duration) bool
	cleanups      []func(context.Context) error
}

// ending ends a spec from any depth.
type ending struct {
	verdict v1alpha2.Verdict
	role    string // of the judgment that failed; empty when none did
	where   string
	message string
	// flaky: what was expected was seen, and then for once not; or calls failed during an event; or
	// nothing was learned. Beside other specs that may be their doing.
	flaky bool
}

// Attempt is how a spec is run.
type Attempt struct {
	Fixture *fixture.Fixture
	Times   Times
	// Parallel says that other specs run at the same time on the fleet, and Twins that they do so on
	// other fleets of the machine.
	Parallel, Twins bool
	// Known says whether the mesh is known to break the promise in the way that a message tells; nil = no.
	// To see that is nothing new, whatever runs beside.
	Known func(message string) bool
	// Rest waits, and lets other specs use the time; nil just waits. It reports whether ctx is still
	// there.
	Rest func(ctx context.Context, d time.Duration) bool
}

// knows says that what was seen broken is known.
func (a Attempt) knows(end *ending) bool {
	return end.verdict == v1alpha2.NonConformant && a.Known != nil && a.Known(end.message)
}

// Run makes one attempt. The result stands before anything is undone, so that evidence can be
// saved; cleanup then undoes what the spec did, last first, and returns what could not be undone.
func (s *Spec) Run(ctx context.Context, a Attempt) (result Result, cleanup func(context.Context) []error) {
	sctx, cancel := context.WithTimeout(ctx, a.Times.Spec)
	defer cancel()
	now := time.Now()
	t := &T{Fixture: a.Fixture, Behavior: s.Behavior, times: a.Times, changed: now, rest: a.Rest, beside: a.Parallel}
	if t.rest == nil {
		t.rest = sleep.For
	}
	t.result = Result{Behavior: s.Behavior, Verdict: v1alpha2.Conformant, Started: now}
	body, stop := context.WithCancel(traffic.WithRecorder(sctx, t.record))
	t.ctx = body
	end := t.attempt(func() { s.body(t); t.Still(); t.confirm() })
	end = t.abandon(end, stop)
	switch {
	case ctx.Err() != nil: // whatever broke or was refused may have been our own interruption
		end = &ending{verdict: v1alpha2.Unknown, message: "the run was interrupted while the spec ran"}
	case sctx.Err() != nil:
		end = &ending{verdict: v1alpha2.Unknown, message: fmt.Sprintf("the spec did not end within its %s%s", a.Times.Spec, because(end))}
	case end == nil && (t.result.Expectations == 0 || t.result.Controls == 0):
		end = &ending{verdict: v1alpha2.Unknown, message: fmt.Sprintf("authoring mistake: the spec has %d expectations and %d controls;"+
			" it needs at least one of each, since a spec that cannot fail proves nothing", t.result.Expectations, t.result.Controls)}
	case end != nil && end.flaky && (a.Parallel || a.Twins) && !a.knows(end):
		// A gateway or waypoint that takes a change of its configuration may drop a call of another
		// spec (seen: Envoy replaces its internal listener, 503). The change is ours: only alone can
		// it be told whether the mesh broke its promise.
		t.result.Retry = true
		end = &ending{verdict: v1alpha2.Unknown, message: "flaky while other specs changed the same gateways and waypoints, or kept the" +
			" machine busy, which may be the suite's own doing: it runs again, alone\n" + end.message}
	}
	if end != nil {
		t.result.Verdict, t.result.Failed, t.result.At = end.verdict, end.role, end.where
		t.result.Message = end.message
		if end.where != "" {
			t.result.Message = end.where + ": " + end.message
		}
	}
	t.result.Took = time.Since(t.result.Started)
	return t.result, t.cleanup
}

func because(end *ending) string {
	if end == nil {
		return ""
	}
	return "; it ended with: " + end.message
}

func (t *T) cleanup(ctx context.Context) (left []error) {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		if err := t.cleanups[i](ctx); err != nil {
			left = append(left, fmt.Errorf("cleaning up after %s: %w", t.Behavior.ID, err))
		}
	}
	return left
}

// attempt runs f and returns how it ended the spec; nil if it did not.
func (t *T) attempt(f func()) (end *ending) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case ending:
			end = &r
		default: // a bug of the suite says nothing about the mesh
			stack := make([]byte, 4<<10)
			stack = stack[:runtime.Stack(stack, false)]
			end = &ending{verdict: v1alpha2.Unknown, message: fmt.Sprintf("the suite itself failed: %v\n%s", r, stack)}
		}
	}()
	f()
	return nil
}

// Context ends with the spec.
func (t *T) Context() context.Context { return t.ctx }

// Cleanup runs f after the spec, last registered first, once its evidence is saved.
func (t *T) Cleanup(f func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// NoError ends the spec as unknown if err is set: the world broke, and nothing was learned about
// the mesh.
func (t *T) NoError(err error) {
	if err != nil {
		panic(ending{verdict: v1alpha2.Unknown, where: where(), message: err.Error(), flaky: true})
	}
}

// Observe adds a sentence to the report.
func (t *T) Observe(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Observations = append(t.result.Observations, fmt.Sprintf(format, args...))
}

// change is how the verbs change the mesh: once every judgment so far has held, and then a new
// clock runs.
func (t *T) change(f func()) {
	t.Still()
	f()
	t.Changed()
}

// Changed starts the clock of the next convergence. What changes the mesh otherwise than by a verb
// calls it, and calls [T.Still] before.
func (t *T) Changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.together == 0 && t.holds() {
		panic("authoring mistake: the mesh was changed while a judgment held: call Still before")
	}
	t.changed, t.standing = time.Now(), nil
}

// Name is a name of the spec's own: its id and a word.
func (t *T) Name(word string) string { return strings.ToLower(t.Behavior.ID) + "-" + word }

func (t *T) owner() string { return strings.ToLower(t.Behavior.ID) }

// EachCluster runs f for every cluster side by side.
func (t *T) EachCluster(f func(c *Cluster)) { t.Each(t.Clusters, f) }

// Each runs f for some clusters side by side.
func (t *T) Each(clusters Clusters, f func(c *Cluster)) { Each(t, clusters, f) }

// Each runs f for every item side by side. See [T.Together] for how it ends.
func Each[X any](t *T, items []X, f func(X)) {
	var all []func()
	for _, x := range items {
		all = append(all, func() { f(x) })
	}
	t.Together(all...)
}

// Together runs parts of a spec side by side. When all are done, the gravest ending ends the spec:
// what was learned about the mesh counts more than what broke beside it.
func (t *T) Together(parts ...func()) {
	ends := make([]*ending, len(parts))
	side := func(n int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.together += n
	}
	side(len(parts))
	defer side(-len(parts))
	var wg sync.WaitGroup
	for i, f := range parts {
		wg.Go(func() { ends[i] = t.attempt(f) })
	}
	wg.Wait()
	if end := gravest(ends); end != nil {
		panic(*end)
	}
}

// gravest is the gravest of several ends; nil ones are none.
func gravest(ends []*ending) (worst *ending) {
	for _, end := range ends {
		if end != nil && (worst == nil || worst.verdict == v1alpha2.Unknown || worst.flaky && end.verdict == v1alpha2.NonConformant) {
			worst = end
		}
	}
	return worst
}

// record keeps a line for each set of calls: the first ones and the last ones, since a spec that
// polls makes very many.
func (t *T) record(r traffic.Record) {
	line := fmt.Sprintf("%s  %s -> %s (%d, %s): ", r.At.UTC().Format("15:04:05.000"), r.From, r.Call.URL,
		max(r.Call.Times, r.Call.Reuse, 1), round(r.Took))
	if r.Err != nil {
		line += r.Err.Error()
	} else {
		line += r.Outcomes.String()
		for _, o := range r.Outcomes {
			inItsName := o.Kind == traffic.Other || o.Kind == traffic.TLSAlert
			if o.Kind != traffic.Reached && !inItsName && o.Detail != "" {
				line += fmt.Sprintf("; the first that failed: %.300s", strings.ReplaceAll(o.Detail, "\n", " "))
				break
			}
		}
	}
	const first, last = 50, 250
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.result.Calls) >= first+last {
		t.dropped++
		t.result.Calls = slices.Delete(t.result.Calls, first, first+1)
		t.result.Calls[first] = fmt.Sprintf("... %d more ...", t.dropped+1)
	}
	t.result.Calls = append(t.result.Calls, line)
}

// where is the line of the spec that runs, for messages: the first frame outside this framework; empty
// where a verb does something on a goroutine of its own.
func where() string {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	for {
		f, more := frames.Next()
		ours := strings.HasPrefix(f.Function, framework)
		if !ours && !strings.HasPrefix(f.Function, "runtime.") && !strings.HasPrefix(f.Function, "sync.") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}

// framework is the import path of the packages that a spec is written with, with a slash.
var framework = func() string {
	pc, _, _, _ := runtime.Caller(0)
	name := runtime.FuncForPC(pc).Name()
	return name[:strings.LastIndex(name, "/spec.")+1]
}()

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
