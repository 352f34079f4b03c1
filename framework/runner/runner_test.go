package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onsi/gomega"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// log collects how attempts ended, in their order.
type log struct {
	mu      sync.Mutex
	results []spec.Result
}

func (l *log) done(_ context.Context, _ *fixture.Fixture, r spec.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, r)
}

// of are the attempts of one spec.
func (l *log) of(id string) (all []spec.Result) {
	for _, r := range l.results {
		if r.Behavior.ID == id {
			all = append(all, r)
		}
	}
	return all
}

func (l *log) ids() (ids []string) {
	for _, r := range l.results {
		ids = append(ids, r.Behavior.ID)
	}
	return ids
}

// body is a spec that is not declared anywhere else.
type body struct {
	id   string
	run  func(*spec.T)
	opts []spec.Option
}

func start(ctx context.Context, parallel int, bodies ...body) (*Run, *log) {
	return startOn(ctx, 1, Options{Parallel: parallel}, bodies...)
}

// startOn starts bodies on some fleets.
func startOn(ctx context.Context, fleets int, o Options, bodies ...body) (*Run, *log) {
	l := &log{}
	var specs []*spec.Spec
	for _, b := range bodies {
		specs = append(specs, spec.Proves(behaviors.ByID(b.id), b.run, b.opts...))
	}
	for range fleets {
		o.Fixtures = append(o.Fixtures, &fixture.Fixture{Fleet: &mesh.Fleet{}})
	}
	o.Done, o.Times = l.done, spec.Times{Convergence: time.Second, Hold: 200 * time.Millisecond, Spec: time.Minute}
	return Start(ctx, specs, o), l
}

func fine(t *spec.T) {
	t.Control(spec.Seen("the control", true), expect.IsTrue)
	t.Expect(spec.Seen("the promise", true), expect.IsTrue)
}

// flaky is as expected once, and then not.
func flaky(t *spec.T) {
	looks := 0
	t.Expect(spec.Probe("the promise", func(context.Context) (any, error) { looks++; return looks == 1, nil }), expect.IsTrue)
}

func TestParallelThenSerial(t *testing.T) {
	const serial = "INST-02" // changes istio-system
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		counted := func(id string, d time.Duration, opts ...spec.Option) body {
			return body{id, func(s *spec.T) {
				n := running.Add(1)
				defer running.Add(-1)
				if alone := id == serial || len(opts) > 0; alone && n != 1 {
					t.Errorf("%s began beside %d others", id, n-1)
				}
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(d)
				fine(s)
			}, opts}
		}
		began := time.Now()
		r, l := start(t.Context(), 2, counted(serial, time.Second), counted("SCOPE-01", 2*time.Second),
			counted("TRF-04", time.Second, spec.Serial),
			counted("SCOPE-02", time.Second), counted("LB-01", time.Second))
		if leaked := r.Wait(); len(leaked) != 0 {
			t.Errorf("leaked: %v", leaked)
		}
		if got, want := time.Since(began), 4*time.Second; got != want {
			t.Errorf("2 s beside 1 s and 1 s, then twice 1 s alone: got %s, want %s", got, want)
		}
		if got := most.Load(); got != 2 {
			t.Errorf("at most %d at once, want 2", got)
		}
		ids := l.ids()
		if len(ids) != 5 {
			t.Fatalf("got %v, want five", ids)
		}
		if ids[3] != serial {
			t.Errorf("got the order %v, want %s in fourth place", ids, serial)
		}
		for _, x := range l.results {
			if x.Verdict != v1alpha2.Conformant {
				t.Errorf("%s: got %s %s", x.Behavior.ID, x.Verdict, x.Message)
			}
		}
	})
}

// On twins, specs that must be alone are alone on their fleet, and the others run beside them on the
// first one.
func TestTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := map[*fixture.Fixture]int{}, map[*fixture.Fixture]int{}
		takes := func(d time.Duration, alone bool) func(*spec.T) {
			return func(s *spec.T) {
				count := func(by int) int {
					mu.Lock()
					defer mu.Unlock()
					running[s.Fixture] += by
					most[s.Fixture] = max(most[s.Fixture], running[s.Fixture])
					return running[s.Fixture]
				}
				if n := count(1); alone && n != 1 {
					t.Errorf("%s began beside %d others", s.Behavior.ID, n-1)
				}
				time.Sleep(d)
				count(-1)
				fine(s)
			}
		}
		began := time.Now()
		beside, alone := takes(time.Second, false), takes(time.Second, true)
		r, l := startOn(t.Context(), 2, Options{Parallel: 2},
			body{"SCOPE-01", beside, nil}, body{"SCOPE-02", beside, nil}, body{"SCOPE-03", beside, nil}, body{"LB-01", beside, nil},
			body{"INST-02", alone, nil}, body{"TRF-04", alone, []spec.Option{spec.Serial}},
			body{"LB-03", alone, []spec.Option{spec.Serial}}, body{"LB-04", alone, []spec.Option{spec.Serial}})
		r.Wait()
		if got, want := time.Since(began), 3*time.Second; got != want {
			t.Errorf("twice two side by side and one alone, beside three alone: got %s, want %s", got, want)
		}
		if len(l.results) != 8 {
			t.Errorf("got %d results, want 8", len(l.results))
		}
		if got := fmt.Sprint(slices.Sorted(maps.Values(most))); got != "[1 2]" {
			t.Errorf("got %s specs at once on the fleets, want 1 on the one that begins with serial ones", got)
		}
	})
}

// What a busy machine may have done to a spec that was alone on its fleet is found out with nothing
// else on the machine.
func TestFlakyBesideTwinsRunsAgainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		attempts := 0
		r, l := startOn(t.Context(), 2, Options{Parallel: 1},
			body{"TRF-04", func(s *spec.T) {
				fine(s)
				if attempts++; attempts == 1 {
					flaky(s)
				} else if n := running.Load(); n != 0 {
					t.Errorf("it ran again beside %d others", n)
				}
			}, []spec.Option{spec.Serial}},
			body{"LB-03", func(s *spec.T) {
				running.Add(1)
				time.Sleep(30 * time.Second)
				running.Add(-1)
				fine(s)
			}, []spec.Option{spec.Serial}})
		r.Wait()
		if x, _ := r.Result("TRF-04"); x.Verdict != v1alpha2.Conformant || len(l.of("TRF-04")) != 2 {
			t.Errorf("got %s (%s) in %d attempts, want conformant in the second", x.Verdict, x.Message, len(l.of("TRF-04")))
		}
	})
}

// Only a spec that begins beside others waits for room.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, running atomic.Int32
		slow := func(s *spec.T) {
			running.Add(1)
			time.Sleep(10 * time.Second)
			running.Add(-1)
			fine(s)
		}
		began := time.Now()
		r, _ := startOn(t.Context(), 1, Options{Parallel: 3, Room: func(context.Context) {
			asked.Add(1)
			time.Sleep(time.Second)
			if running.Load() == 0 {
				t.Error("room was asked for, and none ran")
			}
		}}, body{"SCOPE-01", slow, nil}, body{"SCOPE-02", slow, nil}, body{"SCOPE-03", slow, nil},
			body{"TRF-04", slow, []spec.Option{spec.Serial}})
		r.Wait()
		if got := asked.Load(); got != 2 {
			t.Errorf("got asked %d times, want 2: for the second and the third", got)
		}
		if got, want := time.Since(began), 22*time.Second; got != want {
			t.Errorf("three that begin 1 s apart, and one alone: got %s, want %s", got, want)
		}
	})
}

func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var cleaned atomic.Bool
		r, l := start(ctx, 1,
			body{"SCOPE-01", func(s *spec.T) {
				s.Cleanup(func(ctx context.Context) error {
					if ctx.Err() != nil {
						t.Error("the clean-up was interrupted, too")
					}
					cleaned.Store(true)
					return nil
				})
				cancel()
				s.Expect(spec.Seen("the promise", false), expect.IsTrue) // what breaks now may be our own doing
			}, nil},
			body{"SCOPE-02", fine, nil})
		r.Wait()
		if !cleaned.Load() {
			t.Error("the interrupted spec was not cleaned up")
		}
		x, ok := r.Result("SCOPE-01")
		if !ok {
			t.Error("the interrupted spec had no turn")
		}
		if x.Verdict != v1alpha2.Unknown {
			t.Errorf("the interrupted spec: got %s, want unknown", x.Verdict)
		}
		x, ok = r.Result("SCOPE-02")
		if ok {
			t.Error("the second spec had a turn, want none")
		}
		if x.Verdict != v1alpha2.Unknown {
			t.Errorf("the spec that had no turn: got %s, want unknown", x.Verdict)
		}
		if ids := l.ids(); len(ids) != 1 {
			t.Errorf("got %v, want one attempt", ids)
		}
	})
}

func TestLeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := start(t.Context(), 1, body{"SCOPE-01", func(s *spec.T) {
			s.Cleanup(func(context.Context) error { return errors.New("it is stuck") })
			fine(s)
		}, nil})
		leaked := r.Wait()
		if got, want := fmt.Sprint(leaked), "[cleaning up after SCOPE-01: it is stuck]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if v := l.results[0].Verdict; v != v1alpha2.Conformant {
			t.Errorf("a failed clean-up changed the verdict to %s", v)
		}
	})
}

// A call that fails while a neighbor changes the shared gateways may be the suite's own doing. The
// verdict is that of the spec alone, and the result says that there was a first attempt.
func TestFlakyBesideOthersRunsAgainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		first := true
		slow := func(s *spec.T) {
			running.Add(1)
			defer running.Add(-1)
			time.Sleep(5 * time.Second)
			fine(s)
		}
		r, l := start(t.Context(), 4,
			body{"SCOPE-01", func(s *spec.T) {
				fine(s)
				if first {
					first = false
					flaky(s)
					return
				}
				if running.Load() != 0 {
					t.Error("it ran again beside others")
				}
			}, nil},
			body{"SCOPE-02", flaky, nil},
			body{"SCOPE-03", func(s *spec.T) { fine(s); s.Expect(spec.Seen("the promise", false), expect.IsTrue) }, nil},
			body{"LB-01", slow, nil},
			body{"TRF-04", flaky, []spec.Option{spec.Serial}})
		r.Wait()
		for id, want := range map[string]struct {
			verdict  v1alpha2.Verdict
			attempts int
		}{
			"SCOPE-01": {v1alpha2.Conformant, 2},    // only beside others
			"SCOPE-02": {v1alpha2.NonConformant, 2}, // alone, too
			"SCOPE-03": {v1alpha2.NonConformant, 1}, // wrong from the first look
			"LB-01":    {v1alpha2.Conformant, 1},
			"TRF-04":   {v1alpha2.NonConformant, 1}, // was alone
		} {
			x, _ := r.Result(id)
			if x.Verdict != want.verdict {
				t.Errorf("%s: got %s (%s), want %s", id, x.Verdict, x.Message, want.verdict)
			}
			if got := len(l.of(id)); got != want.attempts {
				t.Errorf("%s: got %d attempts, want %d", id, got, want.attempts)
			}
		}
	})
}

// samples are calls that are always answered.
type samples struct{}

func (samples) String() string { return "the calls" }

func (samples) Look(context.Context, int) (any, error) { return true, nil }

func (samples) Spread(_ context.Context, _ int, over time.Duration) (traffic.Outcomes, error) {
	time.Sleep(over)
	return nil, nil
}

// A spec that waits at its end, before it looks again, leaves its place to the next one.
func TestWaitingSpecsLeaveTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var active, most atomic.Int32
		calls := func(s *spec.T) {
			fine(s)
			most.Store(max(most.Load(), active.Add(1)))
			s.Expect(samples{}, gomega.Or(gomega.BeNil(), gomega.BeTrue()))
			active.Add(-1)
		}
		begun := time.Now()
		r, l := start(t.Context(), 2,
			body{"SCOPE-01", calls, nil}, body{"SCOPE-02", calls, nil}, body{"SCOPE-03", calls, nil}, body{"LB-01", calls, nil})
		r.Wait()
		for _, x := range l.results {
			if x.Verdict != v1alpha2.Conformant {
				t.Errorf("%s: got %s (%s), want conformant", x.Behavior.ID, x.Verdict, x.Message)
			}
		}
		if got := most.Load(); got != 2 {
			t.Errorf("got %d specs at once, want 2", got)
		}
		// Each holds for 200 ms and rests for 400 ms. Two after two without leaving take 1.2 s.
		if got, want := time.Since(begun), time.Second; got > want {
			t.Errorf("got all of them after %s, want at most %s", got, want)
		}
	})
}

func TestInterruptedBeforeItsSecondAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := start(ctx, 2,
			body{"SCOPE-01", func(s *spec.T) { fine(s); flaky(s) }, nil},
			body{"SCOPE-02", func(s *spec.T) {
				time.Sleep(5 * time.Second)
				fine(s)
				s.Cleanup(func(context.Context) error { cancel(); return nil })
			}, nil})
		r.Wait()
		x, _ := r.Result("SCOPE-01")
		if x.Verdict != v1alpha2.Unknown {
			t.Errorf("got %s, want unknown", x.Verdict)
		}
		if want := "it runs again, alone"; !strings.Contains(x.Message, want) {
			t.Errorf("got %q, want it to say %q", x.Message, want)
		}
	})
}

// After a spec that ran alone and could not undo what it did, the next ones have another fixture,
// if there is one; beside others nothing is made anew under those that still run.
func TestAnew(t *testing.T) {
	stuck := func(t *spec.T) {
		t.Cleanup(func(context.Context) error { return errors.New("stuck") })
		fine(t)
	}
	for name, c := range map[string]struct {
		parallel int
		fails    bool
		anew     int // how often
		leaked   string
	}{
		"alone":             {parallel: 1, anew: 1},
		"it cannot be made": {parallel: 1, fails: true, anew: 1, leaked: "cleaning up after SCOPE-01: stuck; no fleet"},
		"beside others":     {parallel: 2, leaked: "cleaning up after SCOPE-01: stuck"},
	} {
		t.Run(name, func(t *testing.T) {
			old, other := &fixture.Fixture{Fleet: &mesh.Fleet{}}, &fixture.Fixture{Fleet: &mesh.Fleet{}}
			var on []*fixture.Fixture
			var mu sync.Mutex
			body := func(run func(*spec.T)) func(*spec.T) {
				return func(t *spec.T) {
					mu.Lock()
					on = append(on, t.Fixture)
					mu.Unlock()
					run(t)
				}
			}
			specs := []*spec.Spec{spec.Proves(behaviors.ByID("SCOPE-01"), body(stuck)), spec.Proves(behaviors.ByID("LB-01"), body(fine))}
			times := 0
			run := Start(t.Context(), specs, Options{Fixtures: []*fixture.Fixture{old}, Parallel: c.parallel,
				Times: spec.Times{Convergence: time.Second, Hold: 10 * time.Millisecond, Spec: time.Minute},
				Anew: func(_ context.Context, on *fixture.Fixture, s *spec.Spec, left error) (*fixture.Fixture, error) {
					if times++; on != old || s != specs[0] || !strings.Contains(left.Error(), "stuck") {
						t.Errorf("got %s: %v, want what the first spec left", s.Behavior.ID, left)
					}
					if c.fails {
						return nil, errors.New("no fleet")
					}
					return other, nil
				}})
			var leaked []string
			for _, err := range run.Wait() {
				leaked = append(leaked, err.Error())
			}
			if got := strings.Join(leaked, "; "); got != c.leaked {
				t.Errorf("left: got %q, want %q", got, c.leaked)
			}
			if times != c.anew {
				t.Errorf("made anew: got %d times, want %d", times, c.anew)
			}
			want := old
			if c.anew > 0 && !c.fails {
				want = other
			}
			if len(on) != 2 || on[1] != want {
				t.Errorf("the second spec ran on the wrong fixture")
			}
		})
	}
}
