package spec

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega/types"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// row is a kind of calls whose fate is a function of the time since the event began. Before it, all
// is well unless the world says otherwise.
type row struct {
	name string
	of   *play
	fate func(since time.Duration) (ok bool, err error)
}

func (r row) String() string { return r.name }

func (r row) Once(context.Context) (traffic.Outcome, error) {
	since := -time.Second
	if r.of.began != nil && r.of.began.Load() != nil {
		since = time.Since(*r.of.began.Load())
	}
	time.Sleep(5 * time.Millisecond)
	ok, err := r.fate(since)
	return outcome(ok), err
}

// play is an event that lasts two seconds, and what becomes of it.
type play struct {
	began          *atomic.Pointer[time.Time] // nil where another event happens
	doing, undoing error
	lasting        bool // it has to be undone
	sudden         bool
	grace          time.Duration
	undone         int // how often that was tried
}

func (p *play) event() Event {
	p.began = new(atomic.Pointer[time.Time])
	e := Event{Says: "the gateway rolls", Sudden: p.sudden, Do: func(context.Context) error {
		now := time.Now()
		p.began.Store(&now)
		time.Sleep(2 * time.Second)
		return p.doing
	}}
	if p.lasting {
		e.Undo = func(context.Context) error { p.undone++; return p.undoing }
	}
	return e.Grace(p.grace)
}

// Each row of the table is a world, and what must be made of it.
func TestWhile(t *testing.T) {
	const second = time.Second
	type fate = func(time.Duration) (bool, error)
	fine := func(time.Duration) (bool, error) { return true, nil }
	lost := func(from, to time.Duration) fate {
		return func(d time.Duration) (bool, error) { return d < from || d >= to, nil }
	}
	broken := func(d time.Duration) (bool, error) {
		return true, onlyIf(d > second && d < 2*second, errors.New("the stream to the pod broke"))
	}
	none := []types.GomegaMatcher{expect.NoneLost()}
	for name, c := range map[string]struct {
		play          play
		across, own   fate
		budget        []types.GomegaMatcher
		want          v1alpha2.Verdict
		says          string
		leaks, undone int
	}{
		"nothing lost": {across: fine, own: fine, budget: none, want: v1alpha2.Conformant},
		"lost during": {across: lost(0, second), own: fine, budget: none,
			want: v1alpha2.NonConformant, says: "across\nexpected no call to fail"},
		"lost in budget": {across: lost(0, second), own: fine, budget: []types.GomegaMatcher{expect.NoneAfter(second)},
			want: v1alpha2.Conformant},
		"lost past budget": {across: lost(0, 4*second), own: fine, budget: []types.GomegaMatcher{expect.NoneAfter(second)},
			want: v1alpha2.NonConformant, says: "later than 1s"},
		"sudden, lost past budget": {play: play{sudden: true}, across: lost(0, 2*second), own: fine,
			budget: []types.GomegaMatcher{expect.NoneAfter(second)}, want: v1alpha2.NonConformant, says: "later than 1s"},
		"well for longer than the hold time, then lost past budget": {play: play{grace: 7 * second}, across: lost(10*second, 11*second),
			own: fine, budget: []types.GomegaMatcher{expect.NoneAfter(7 * second)}, want: v1alpha2.NonConformant, says: "later than 7s"},
		"no call past budget": {across: fine, own: fine, budget: []types.GomegaMatcher{expect.NoneAfter(7 * second)},
			want: v1alpha2.Unknown, says: "so nothing is known: give the event Grace(7s)"},
		"a tenth lost": {across: lost(0, 190*time.Millisecond), own: fine, budget: []types.GomegaMatcher{expect.AtMost(10)},
			want: v1alpha2.Conformant},
		"more than a tenth lost": {across: lost(0, second), own: fine, budget: []types.GomegaMatcher{expect.AtMost(10)},
			want: v1alpha2.NonConformant, says: "at most 10 %"},
		"two budgets, one exceeded": {across: lost(0, second), own: fine,
			budget: []types.GomegaMatcher{expect.NoneAfter(second), expect.AtMost(10)},
			want:   v1alpha2.NonConformant, says: "at most 10 %"},
		"lost for ever": {across: lost(second, time.Hour), own: fine, budget: none,
			want: v1alpha2.NonConformant, says: "not recovered"},
		"lost later": {across: lost(5*second, 6*second), own: fine, budget: none,
			want: v1alpha2.NonConformant, says: "recovered after 6"},
		"control lost": {across: fine, own: lost(0, second), budget: none, want: v1alpha2.Unknown, says: "control: own"},
		"both lost":    {across: lost(0, second), own: lost(0, second), budget: none, want: v1alpha2.Unknown, says: "control: own"},
		"lost before": {across: lost(-second, 0), own: fine, budget: none,
			want: v1alpha2.Unknown, says: "expected no call to fail before the gateway rolls"},
		"not known": {across: broken, own: fine, budget: none, want: v1alpha2.Unknown, says: "nothing was learned of"},
		"the event failed": {play: play{doing: errors.New("no right")}, across: fine, own: fine, budget: none,
			want: v1alpha2.Unknown, says: "the gateway rolls: it did not happen: no right"},
		"undone": {play: play{lasting: true}, across: fine, own: fine, budget: none, want: v1alpha2.Conformant, undone: 1},
		"lost until undone": {play: play{lasting: true}, across: lost(0, 2*second), own: fine,
			budget: []types.GomegaMatcher{expect.NoneAfter(0)},
			want:   v1alpha2.Conformant, undone: 1},
		"lost after the undoing": {play: play{lasting: true}, across: lost(0, 3*second), own: fine,
			budget: []types.GomegaMatcher{expect.NoneAfter(0)},
			want:   v1alpha2.NonConformant, says: "later than 0s", undone: 1},
		"the undoing failed": {play: play{lasting: true, undoing: errors.New("it hangs")}, across: fine, own: fine, budget: none,
			want: v1alpha2.Unknown, says: "it cannot be undone: it hangs", leaks: 1, undone: 2},
		"the event failed and was undone": {play: play{lasting: true, doing: errors.New("no right")}, across: fine, own: fine, budget: none,
			want: v1alpha2.Unknown, says: "it did not happen: no right", undone: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := c.play
				across, own := row{"across", &p, c.across}, row{"own", &p, c.own}
				s := &Spec{Behavior: behaviors.ByID("SCOPE-01"), body: func(s *T) {
					seen := s.While(p.event(), across, own)
					s.Control(seen.Of(own), expect.NoneLost())
					s.Expect(seen.Of(across), c.budget...)
				}}
				r, cleanup := s.Run(t.Context(), Attempt{Fixture: &fixture.Fixture{Fleet: &mesh.Fleet{}}, Times: testTimes})
				left := cleanup(t.Context())
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
				if !strings.Contains(r.Message, c.says) {
					t.Errorf("got message %q, want it to say %q", r.Message, c.says)
				}
				if len(left) != c.leaks {
					t.Errorf("got %v left, want %d", left, c.leaks)
				}
				if p.undone != c.undone {
					t.Errorf("undone %d times, want %d", p.undone, c.undone)
				}
				if len(r.Events) != 1 {
					t.Fatalf("got the events %v, want one, whatever became of it", r.Events)
				}
				if n := len(r.Events[0].Timelines); n != 2 {
					t.Errorf("got %d timelines, want one for each row", n)
				}
				if len(r.Calls) > 0 {
					t.Errorf("the calls fill the list of calls: %v", r.Calls)
				}
			})
		})
	}
}

// Calls run from before the event until none has failed for the hold time.
func TestWhileRunsUntilItIsQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		lostUntil, want time.Duration
	}{
		"nothing lost":    {0, lead + 2*time.Second + testTimes.Hold},
		"lost for 5 s":    {5 * time.Second, lead + 5*time.Second + testTimes.Hold},
		"lost for ever":   {time.Hour, lead + 2*time.Second + testTimes.Convergence},
		"lost for 30.5 s": {30500 * time.Millisecond, lead + 2*time.Second + testTimes.Convergence},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p play
				across := row{"across", &p, func(d time.Duration) (bool, error) { return d < 0 || d >= c.lostUntil, nil }}
				var took time.Duration
				run(t, "SCOPE-01", func(s *T) {
					begun := time.Now()
					s.While(p.event(), across)
					took = time.Since(begun)
				})
				if took < c.want-every || took > c.want+2*every {
					t.Errorf("it took %s, want about %s", took, c.want)
				}
			})
		})
	}
}

func TestRowThatDidNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p play
		fine := func(time.Duration) (bool, error) { return true, nil }
		r := run(t, "SCOPE-01", func(s *T) {
			seen := s.While(p.event(), row{"own", &p, fine})
			s.Expect(seen.Of(row{"across", &p, fine}), expect.NoneLost())
		})
		if diff := cmp.Diff(v1alpha2.Unknown, r.Verdict); diff != "" {
			t.Errorf("verdict (-want +got):\n%s", diff)
		}
		if want := "no such calls ran while it happened: across"; !strings.Contains(r.Message, want) {
			t.Errorf("got %q, want %q", r.Message, want)
		}
	})
}

// An expectation inside a change that fails is no failure of the event: the promise was seen
// broken.
func TestChangeKeepsTheVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p play
		r := run(t, "SCOPE-01", func(s *T) {
			s.While(Change("the label is removed", func() { s.Expect(no, expect.IsTrue) }),
				row{"own", &p, func(time.Duration) (bool, error) { return true, nil }})
		})
		if r.Verdict != v1alpha2.NonConformant {
			t.Errorf("got %s (%s), want non-conformant", r.Verdict, r.Message)
		}
	})
}

// A suite that could not even make its calls in time does not blame the mesh for answers that did not
// come in time.
func TestTooBusyToTell(t *testing.T) {
	for name, c := range map[string]struct {
		gap  time.Duration
		kind traffic.Kind
		want v1alpha2.Verdict
	}{
		"calls came late, and no answer":        {late, traffic.TimedOut, v1alpha2.Unknown},
		"calls came in time, and no answer":     {every, traffic.TimedOut, v1alpha2.NonConformant},
		"calls came late, and one was refused":  {late, traffic.Reset, v1alpha2.NonConformant},
		"calls came late, and all was answered": {late, traffic.Reached, v1alpha2.Conformant},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					begin := time.Now()
					l := traffic.Timeline{Who: "own", Begin: begin, End: begin.Add(time.Second)}
					for _, after := range []time.Duration{0, every, every + c.gap} {
						l.Calls = append(l.Calls, traffic.Timed{At: begin.Add(after), Outcome: traffic.Outcome{Kind: traffic.Reached}})
					}
					l.Calls[2].Outcome.Kind = c.kind
					s.Expect(Seen("own", l), expect.NoneLost())
				})
				if r.Verdict != c.want {
					t.Errorf("got %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
			})
		})
	}
}

// once is a row of one outcome.
type once struct {
	o   traffic.Outcome
	err error
}

func (once) String() string                                  { return "client" }
func (o once) Once(context.Context) (traffic.Outcome, error) { return o.o, o.err }

// An answer is a loss; of an end that nobody named nothing was learned.
func TestUnanswered(t *testing.T) {
	for name, c := range map[string]struct {
		row        once
		lost, fail bool
	}{
		"answered":           {row: once{o: traffic.Outcome{Kind: traffic.Reached, Cluster: "a"}}, lost: true},
		"ended as named":     {row: once{o: traffic.Outcome{Kind: traffic.Reset}}},
		"ended as the other": {row: once{o: traffic.Outcome{Kind: traffic.Refused}}},
		"timed out":          {row: once{o: traffic.Outcome{Kind: traffic.TimedOut}}, fail: true},
		"no such host":       {row: once{o: traffic.Outcome{Kind: traffic.NoSuchHost}}, fail: true},
		"not made":           {row: once{err: errors.New("the stream broke")}, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := Unanswered(c.row, traffic.Reset, traffic.Refused).Once(t.Context())
			if got := err != nil; got != c.fail {
				t.Fatalf("got error %v, want one: %v", err, c.fail)
			}
			if err != nil {
				return
			}
			if got := traffic.Lost(o); got != c.lost {
				t.Errorf("got %v, lost %v, want %v", o, got, c.lost)
			}
		})
	}
}
