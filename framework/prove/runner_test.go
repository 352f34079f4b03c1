package prove

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/traffic"
)

// told collects what a runner tells.
type told struct {
	mu      sync.Mutex
	results map[string]Result
	events  []string
}

func (t *told) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, fmt.Sprintf(format, args...))
}

// attempts is how often the end of a spec was told: what records it counts them.
func (t *told) attempts(id string) (n int) {
	for _, e := range t.events {
		if e == "end "+id {
			n++
		}
	}
	return n
}

// start runs bodies in place of the declared specs, by id, in order.
func start(t *testing.T, ctx context.Context, parallel int, ids []string, bodies map[string]func(*Spec)) (*Runner, *told, func()) {
	t.Helper()
	declaredBefore := registry
	t.Cleanup(func() { registry = declaredBefore })
	registry = nil
	for _, id := range ids {
		b := behaviors.ByID(id)
		if b == nil {
			t.Fatalf("no behavior %s", id)
		}
		registry = append(registry, declared{behavior: b, body: bodies[id], timed: id == "TRF-04"})
	}
	said := &told{results: map[string]Result{}}
	r := &Runner{World: &World{Times: Times{Settle: time.Second, Spec: time.Minute}}, Parallel: parallel, Skip: func(string) (string, bool) { return "", false },
		End: func(_ context.Context, x Result) {
			said.say("end %s", x.Behavior.ID)
			said.mu.Lock()
			said.results[x.Behavior.ID] = x
			said.mu.Unlock()
		}}
	return r, said, r.Start(ctx, ids)
}

func fine(s *Spec) { s.Holds(true, "it holds"); s.TwinHolds(true, "its twin, too") }

func TestSideBySideAndAlone(t *testing.T) {
	const alone = "INST-02" // changes istio-system
	if !Alone(behaviors.ByID(alone)) || Alone(behaviors.ByID("SCOPE-01")) {
		t.Fatal("what must run alone follows from the catalog's needs")
	}
	synctest.Test(t, func(t *testing.T) {
		var underWay, most atomic.Int32
		counted := func(d time.Duration) func(*Spec) {
			return func(s *Spec) {
				n := underWay.Add(1)
				defer underWay.Add(-1)
				if (s.Behavior.ID == alone || s.Behavior.ID == "TRF-04") && n != 1 {
					t.Errorf("%s began beside %d others", s.Behavior.ID, n-1)
				}
				time.Sleep(d)
				for now := underWay.Load(); ; {
					if m := most.Load(); now <= m || most.CompareAndSwap(m, now) {
						break
					}
				}
				fine(s)
			}
		}
		begin := time.Now()
		_, said, wait := start(t, t.Context(), 2, []string{alone, "SCOPE-01", "TRF-04", "SCOPE-02", "LB-01"}, map[string]func(*Spec){
			alone: counted(time.Second), "SCOPE-01": counted(2 * time.Second), "SCOPE-02": counted(time.Second), "LB-01": counted(time.Second), "TRF-04": counted(time.Second)})
		wait()
		if took := time.Since(begin); took != 4*time.Second {
			t.Errorf("2 s and 1+1 s side by side, then twice 1 s alone: took %s", took)
		}
		for id, r := range said.results {
			if r.Verdict != Conformant {
				t.Errorf("%s: %s %s", id, r.Verdict, r.Message)
			}
		}
		if most.Load() != 2 || len(said.results) != 5 || said.events[3] != "end "+alone {
			t.Errorf("at most %d at once, %v", most.Load(), said.events)
		}
	})
}

func TestInterruptLeavesNothingJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var said *told
		clean := make(chan error, 1)
		r, said, wait := start(t, ctx, 1, []string{"SCOPE-01", "SCOPE-02", "LB-01"}, map[string]func(*Spec){
			"SCOPE-01": fine,
			"SCOPE-02": func(s *Spec) {
				s.Cleanup(func(ctx context.Context) error { clean <- ctx.Err(); return errors.New("is still there") })
				cancel()
				<-s.Ctx.Done()
				s.TwinHolds(true, "")
				s.Holds(s.Ctx.Err() == nil, "a call that we ended ourselves looks like a refusal")
			},
			"LB-01": func(*Spec) { t.Error("it began after the interrupt") },
		})
		wait()
		if v := said.results["SCOPE-01"].Verdict; v != Conformant {
			t.Errorf("what was done before: %s", v)
		}
		if x := said.results["SCOPE-02"]; x.Verdict != Unknown || !strings.Contains(x.Message, "interrupted") {
			t.Errorf("what was under way: %s %s", x.Verdict, x.Message)
		}
		if _, ran := said.results["LB-01"]; ran || r.specs["LB-01"].result != nil {
			t.Error("what did not get its turn has no result")
		}
		if err := <-clean; err != nil {
			t.Errorf("cleaned up under a context that is over: %v", err)
		}
		if l := r.Leaked(); len(l) != 1 || !strings.Contains(l[0].Error(), "SCOPE-02") {
			t.Errorf("leaks %v", l)
		}
	})
}

func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		order := &told{}
		_, said, wait := start(t, t.Context(), 4, []string{"SCOPE-01", "SCOPE-02", "SCOPE-03", "LB-01", "LB-03"}, map[string]func(*Spec){
			"SCOPE-01": func(s *Spec) { s.Holds(true, "no twin") },
			"SCOPE-02": func(s *Spec) { <-s.Ctx.Done(); fine(s) }, // beyond its time: whatever it claims then is not believed
			"SCOPE-03": func(s *Spec) { s.Must(errors.New("the pod is gone")) },
			"LB-01":    func(s *Spec) { s.TwinHolds(true, ""); s.Holds(false, "%d of %d", 1, 2) },
			"LB-03": func(s *Spec) {
				for _, n := range []string{"first", "second"} {
					s.Cleanup(func(context.Context) error { order.say("%s", n); return nil })
				}
				panic("a bug")
			},
		})
		wait()
		for id, want := range map[string]struct {
			v   Verdict
			msg string
		}{
			"SCOPE-01": {Unknown, "1 claims and 0 twins"}, "SCOPE-02": {Unknown, "not done within its 1m0s"}, "SCOPE-03": {Unknown, "the pod is gone"},
			"LB-01": {NonConformant, "1 of 2"}, "LB-03": {Unknown, "the suite itself failed: a bug"},
		} {
			if r := said.results[id]; r.Verdict != want.v || !strings.Contains(r.Message, want.msg) {
				t.Errorf("%s: %s %q, want %s with %q", id, r.Verdict, r.Message, want.v, want.msg)
			}
		}
		if strings.Join(order.events, " ") != "second first" {
			t.Errorf("clean-up in the order %v", order.events)
		}
	})
}

func TestCallsKeepTheirBeginningAndEnd(t *testing.T) {
	s := &Spec{}
	for i := range 1000 {
		s.called(traffic.Record{From: fmt.Sprint(i), Call: traffic.Call{URL: "http://echo/", Times: 2}, Outcomes: traffic.Outcomes{{Kind: traffic.Reset, Detail: "EOF"}, {Kind: traffic.Reached, Cluster: "cluster1"}}})
	}
	c := s.result.Calls
	if len(c) != 300 || !strings.Contains(c[0], "  0 -> http://echo/ (2, 0s): 1 x cluster1, 1 x reset; the first that failed: EOF") || c[50] != "... 701 more ..." || !strings.Contains(c[299], "  999 -> ") || !strings.Contains(c[51], "  751 -> ") {
		t.Errorf("%d lines: %q, %q, %q", len(c), c[0], c[50], c[51])
	}
}

func TestConvergenceMeasuresTheMeshOnly(t *testing.T) {
	s := &Spec{}
	for _, c := range []struct {
		took, begun time.Duration
		looks       int
		want        string
	}{
		{2 * time.Second, 0, 5, "after 2s"},
		{30 * time.Millisecond, 10 * time.Millisecond, 1, "after 30ms"},
		{9 * time.Second, 8 * time.Second, 3, "after 9s"},
		{9 * time.Second, 8 * time.Second, 1, "at once"}, // it was so long before anybody looked
	} {
		if got := s.converged(c.took, c.begun, c.looks); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if len(s.result.Converge) != 3 {
		t.Errorf("samples %v", s.result.Converge)
	}
}

// A call that fails while a neighbor changes the shared gateways may be the suite's own doing. The verdict is that of the spec by itself, and the report says that there was a first attempt.
func TestUnsteadyBesideOthersIsRunAgainAlone(t *testing.T) {
	unsteady := func() { panic(verdict{v: NonConformant, unsteady: true, msg: "1 of 70 calls failed"}) }
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		var underWay atomic.Int32
		bodies := map[string]func(*Spec){
			"SCOPE-01": func(s *Spec) {
				if first.CompareAndSwap(false, true) {
					s.Each(func(*Site) {})
					unsteady()
				}
				if underWay.Load() != 0 {
					t.Error("it was run again beside others")
				}
				fine(s)
			},
			"SCOPE-02": func(*Spec) { unsteady() },
			"SCOPE-03": func(s *Spec) { s.TwinHolds(true, ""); s.Holds(false, "never so") },
			"LB-01":    func(s *Spec) { underWay.Add(1); defer underWay.Add(-1); time.Sleep(time.Second); fine(s) },
			"TRF-04":   func(*Spec) { unsteady() }, // runs alone from the start
		}
		_, said, wait := start(t, t.Context(), 4, []string{"SCOPE-01", "SCOPE-02", "SCOPE-03", "LB-01", "TRF-04"}, bodies)
		wait()
		for id, want := range map[string]struct {
			v        Verdict
			attempts int
		}{"SCOPE-01": {Conformant, 2}, "SCOPE-02": {NonConformant, 2}, "SCOPE-03": {NonConformant, 1}, "LB-01": {Conformant, 1}, "TRF-04": {NonConformant, 1}} {
			if r := said.results[id]; r.Verdict != want.v || said.attempts(id) != want.attempts || r.Again {
				t.Errorf("%s: %s after %d attempts, %q", id, r.Verdict, said.attempts(id), r.Message)
			}
		}
		if o := said.results["SCOPE-01"].Observations; len(o) == 0 || !strings.Contains(o[0], "1 of 70 calls failed") {
			t.Errorf("the first attempt is not told: %q", o)
		}
		if n := len(said.events); n != 7 {
			t.Errorf("%d ends of 5 specs, two of them run twice: %v", n, said.events)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, said, wait := start(t, ctx, 2, []string{"SCOPE-01", "SCOPE-02"}, map[string]func(*Spec){
			"SCOPE-01": func(*Spec) { unsteady() },
			"SCOPE-02": func(s *Spec) {
				time.Sleep(time.Second)
				fine(s)
				s.Cleanup(func(context.Context) error { cancel(); return nil })
			},
		})
		wait()
		if x := said.results["SCOPE-01"]; x.Verdict != Unknown || !x.Again || !strings.Contains(x.Message, "to be run again by itself") || r.specs["SCOPE-01"].result == nil {
			t.Errorf("interrupted before its second attempt: %s %q", x.Verdict, x.Message)
		}
		<-r.specs["SCOPE-01"].done
	})
	synctest.Test(t, func(t *testing.T) {
		_, said, wait := start(t, t.Context(), 1, []string{"SCOPE-01", "SCOPE-02"}, map[string]func(*Spec){"SCOPE-01": func(*Spec) { unsteady() }, "SCOPE-02": fine})
		wait()
		if x := said.results["SCOPE-01"]; x.Verdict != NonConformant || said.attempts("SCOPE-01") != 1 {
			t.Errorf("one by one: %s after %d attempts", x.Verdict, said.attempts("SCOPE-01"))
		}
	})
}
