package spec

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/gomega"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/peer"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/reports/api/v1alpha2"
)

var testTimes = Times{Convergence: 30 * time.Second, Hold: 5 * time.Second, Spec: time.Minute}

// run makes one attempt of a body that proves a behavior.
func run(t *testing.T, id string, body func(*T)) Result {
	t.Helper()
	s := &Spec{Behavior: behaviors.ByID(id), body: body}
	r, cleanup := s.Run(t.Context(), Attempt{Fixture: &fixture.Fixture{Fleet: &mesh.Fleet{}}, Times: testTimes})
	for _, err := range cleanup(t.Context()) {
		t.Error(err)
	}
	return r
}

var (
	fine    = func(t *T) { t.Control(Seen("the control", true), expect.IsTrue) }
	yes, no = Seen("the promise", true), Seen("the promise", false)
)

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		body    func(*T)
		verdict v1alpha2.Verdict
		message string
	}{
		"held":                {func(t *T) { fine(t); t.Expect(yes, expect.IsTrue) }, v1alpha2.Conformant, ""},
		"no control":          {func(t *T) { t.Expect(yes, expect.IsTrue) }, v1alpha2.Unknown, "1 expectations and 0 controls"},
		"no expectation":      {fine, v1alpha2.Unknown, "0 expectations and 1 controls"},
		"broken":              {func(t *T) { fine(t); t.Expect(no, expect.IsTrue) }, v1alpha2.NonConformant, "the promise\nexpected it to be so"},
		"precondition failed": {func(t *T) { t.Given(no, expect.IsTrue) }, v1alpha2.Unknown, "given: the promise"},
		"the world broke":     {func(t *T) { t.NoError(errors.New("the pod is gone")) }, v1alpha2.Unknown, "the pod is gone"},
		"a bug of the suite":  {func(*T) { panic("a bug") }, v1alpha2.Unknown, "the suite itself failed: a bug"},
		"nothing is wanted":   {func(t *T) { fine(t); t.Expect(no) }, v1alpha2.Unknown, "authoring mistake: nothing is wanted of the promise"},
		"only a budget is wanted": {func(t *T) {
			fine(t)
			t.Expect(world{time.Now(), func(time.Duration) (bool, error) { return false, nil }}, expect.NoneLost())
		}, v1alpha2.Unknown, "authoring mistake: nothing is wanted of the mesh"},
		"a matcher of another type": {func(t *T) { t.Expect(Seen("a number", 1), expect.IsTrue) },
			v1alpha2.Unknown, "want bool, got int"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "SCOPE-01", c.body)
			if r.Verdict != c.verdict {
				t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.verdict)
			}
			if !strings.Contains(r.Message, c.message) {
				t.Errorf("got message %q, want one with %q", r.Message, c.message)
			}
		})
	}
}

// world is a mesh whose state is a function of the time since the spec began.
type world struct {
	begun time.Time
	state func(time.Duration) (ok bool, err error)
}

func (w world) String() string { return "the mesh" }

func (w world) Look(_ context.Context, n int) (any, error) {
	var os traffic.Outcomes
	for range n {
		time.Sleep(time.Millisecond)
		ok, err := w.state(time.Since(w.begun))
		if err != nil {
			return nil, err
		}
		os = append(os, outcome(ok))
	}
	return os, nil
}

func (w world) Spread(ctx context.Context, n int, over time.Duration) (os traffic.Outcomes, err error) {
	for range n {
		time.Sleep(over / time.Duration(n))
		one, err := w.Look(ctx, 1)
		if err != nil {
			return nil, err
		}
		os = append(os, one.(traffic.Outcomes)...)
	}
	return os, nil
}

func outcome(ok bool) traffic.Outcome {
	if ok {
		return traffic.Outcome{Kind: traffic.Reached, Cluster: "a", Code: 200}
	}
	return traffic.Outcome{Kind: traffic.Reset}
}

type cluster string

func (c cluster) String() string { return string(c) }

// The verdicts of all specs pass through judge. Each row is a world, and what must be made of it by
// an expectation, a control and a precondition.
func TestJudge(t *testing.T) {
	const second = time.Second
	broken := errors.New("the stream to the pod broke")
	type state = func(time.Duration) (bool, error)
	is := func(f func(d time.Duration) bool) state {
		return func(d time.Duration) (bool, error) { return f(d), nil }
	}
	const settles = "right, wrong for a second, then right"
	count := 0
	for name, c := range map[string]struct {
		state
		want  v1alpha2.Verdict // of an expectation; elsewhere, what is non-conformant is unknown, or settles
		flaky bool
	}{
		"right":                     {is(func(time.Duration) bool { return true }), v1alpha2.Conformant, false},
		"late":                      {is(func(d time.Duration) bool { return d > 20*second }), v1alpha2.Conformant, false},
		"too late":                  {is(func(d time.Duration) bool { return d > 40*second }), v1alpha2.NonConformant, false},
		"never":                     {is(func(time.Duration) bool { return false }), v1alpha2.NonConformant, false},
		"right once, then wrong":    {is(func(d time.Duration) bool { return d < 50*time.Millisecond }), v1alpha2.NonConformant, true},
		"right for 4 s, then wrong": {is(func(d time.Duration) bool { return d < 4*second }), v1alpha2.NonConformant, true},
		"20 s wrong, 4 s right":     {is(func(d time.Duration) bool { return d%(24*second) > 20*second }), v1alpha2.NonConformant, true},
		settles:                     {is(func(d time.Duration) bool { return d < second || d > 2*second }), v1alpha2.NonConformant, true},
		"settles too late": {is(func(d time.Duration) bool { return d%(4*second) < 3*second || d > 40*second }),
			v1alpha2.NonConformant, true},
		"1 of 20 calls wrong": {is(func(time.Duration) bool { count++; return count%20 != 0 }), v1alpha2.NonConformant, false},
		"world broken before": {func(d time.Duration) (bool, error) { return true, onlyIf(d < 5*second, broken) },
			v1alpha2.Conformant, false},
		"world broken for good": {func(time.Duration) (bool, error) { return false, broken }, v1alpha2.Unknown, false},
		"world broken in the hold time": {func(d time.Duration) (bool, error) { return true, onlyIf(d > second, broken) },
			v1alpha2.Unknown, false},
		"world broken after": {func(d time.Duration) (bool, error) { return true, onlyIf(d > 10*second, broken) },
			v1alpha2.Conformant, false},
	} {
		for _, role := range []string{Expectation, "control", "precondition"} {
			t.Run(name+" as "+role, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					count = 0
					want, wantFlaky := c.want, c.flaky
					switch {
					case role != Expectation && name == settles:
						want, wantFlaky = v1alpha2.Conformant, false
					case role != Expectation && want == v1alpha2.NonConformant:
						want = v1alpha2.Unknown
					}
					r := run(t, "SCOPE-01", func(s *T) {
						fine(s)
						s.Expect(yes, expect.IsTrue)
						judge := map[string]Judge{Expectation: s.Expect, "control": s.Control, "precondition": s.Given}[role]
						judge(world{time.Now(), c.state}, expect.AnsweredBy(cluster("a")))
					})
					if r.Verdict != want {
						t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, want)
					}
					if flaky := strings.Contains(r.Message, "was as expected"); flaky != wantFlaky {
						t.Errorf("got flaky %t (%s), want %t", flaky, r.Message, wantFlaky)
					}
					if r.Verdict == v1alpha2.NonConformant && r.Failed != Expectation {
						t.Errorf("got %q as what failed, want the expectation", r.Failed)
					}
				})
			})
		}
	}
}

func TestExpectAlways(t *testing.T) {
	broken := errors.New("the stream to the pod broke")
	for name, c := range map[string]struct {
		state func(time.Duration) (bool, error)
		want  v1alpha2.Verdict
	}{
		"wrong at first":         {func(d time.Duration) (bool, error) { return d > time.Second, nil }, v1alpha2.NonConformant},
		"not known, then right":  {func(d time.Duration) (bool, error) { return true, onlyIf(d < time.Second, broken) }, v1alpha2.Conformant},
		"not known, then wrong":  {func(d time.Duration) (bool, error) { return false, onlyIf(d < time.Second, broken) }, v1alpha2.NonConformant},
		"never known":            {func(time.Duration) (bool, error) { return false, broken }, v1alpha2.Unknown},
		"right, and stays right": {func(time.Duration) (bool, error) { return true, nil }, v1alpha2.Conformant},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					begun := time.Now()
					s.ExpectAlways(Probe("the gateway", func(context.Context) (any, error) {
						time.Sleep(10 * time.Millisecond)
						return c.state(time.Since(begun))
					}), expect.IsTrue)
				})
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
			})
		})
	}
}

func TestExpectWithin(t *testing.T) {
	for name, c := range map[string]struct {
		right time.Duration // when it comes to look as wanted
		want  v1alpha2.Verdict
	}{
		"later than the convergence timeout": {DefaultTimes.Convergence + time.Second, v1alpha2.Conformant},
		"later than the limit":               {41 * time.Second, v1alpha2.NonConformant},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					begun := time.Now()
					s.ExpectWithin(40*time.Second, Probe("a slow mesh", func(context.Context) (any, error) {
						return time.Since(begun) > c.right, nil
					}), expect.IsTrue)
				})
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
			})
		})
	}
}

// Judgments hold side by side, and what breaks one of them counts wherever the spec is by then.
func TestJudgmentsHoldMeanwhile(t *testing.T) {
	const second = time.Second
	is := func(state func(time.Duration) bool) world {
		return world{time.Now(), func(d time.Duration) (bool, error) { return state(d), nil }}
	}
	right := func(time.Duration) bool { return true }
	a := expect.AnsweredBy(cluster("a"))
	for name, c := range map[string]struct {
		body    func(*T)
		want    v1alpha2.Verdict
		message string
		took    time.Duration // at most
	}{
		"three of them": {func(s *T) {
			s.Expect(is(right), a)
			s.Control(is(right), a)
			s.Expect(is(right), a)
		}, v1alpha2.Conformant, "", 22 * second}, // one hold time, three at rest, and the calls
		"a change between them": {func(s *T) {
			s.Control(is(right), a)
			s.Still()
			s.Changed()
			s.Expect(is(right), a)
		}, v1alpha2.Conformant, "", 27 * second},
		"parts that change what is their own": {func(s *T) {
			s.Control(is(right), a)
			part := func() {
				for range 3 {
					s.Expect(is(right), a)
					s.Still()
					s.Changed()
				}
			}
			s.Together(part, part, part, part)
		}, v1alpha2.Conformant, "", 35 * second},
		"a change beside them": {func(s *T) {
			s.Control(is(right), a)
			s.Changed()
		}, v1alpha2.Unknown, "authoring mistake: the mesh was changed while a judgment held", 6 * second},
		"the first breaks while another is awaited": {func(s *T) {
			s.Expect(is(func(d time.Duration) bool { return d < 3*second }), a)
			s.Control(is(func(d time.Duration) bool { return d > 20*second }), a)
		}, v1alpha2.NonConformant, "was as expected", 30 * second},
		"the first breaks, then the world does": {func(s *T) {
			s.Expect(is(func(d time.Duration) bool { return d < 3*second }), a)
			time.Sleep(10 * second)
			s.NoError(errors.New("the pod is gone"))
		}, v1alpha2.NonConformant, "was as expected", 12 * second},
		"the world breaks before the first has held": {func(s *T) {
			s.Expect(is(func(d time.Duration) bool { return d < 3*second }), a)
			s.NoError(errors.New("the pod is gone"))
		}, v1alpha2.Unknown, "the pod is gone", 6 * second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", c.body)
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
				if !strings.Contains(r.Message, c.message) {
					t.Errorf("got message %q, want one with %q", r.Message, c.message)
				}
				if r.Took > c.took {
					t.Errorf("it took %s, want at most %s", r.Took, c.took)
				}
				if r.Verdict == v1alpha2.NonConformant && r.At == "" {
					t.Error("it ended at no line")
				}
			})
		})
	}
}

// Beside other specs judgments hold one after the other, and calls that an event cost are not the
// last word.
func TestBesideOtherSpecs(t *testing.T) {
	a := expect.AnsweredBy(cluster("a"))
	event := traffic.Timeline{Begin: time.Now(), End: time.Now().Add(time.Second), Calls: []traffic.Timed{{At: time.Now(), Took: time.Second}}}
	known := func(words string) func(string) bool {
		return func(message string) bool { return strings.Contains(message, words) }
	}
	costly := func(s *T) { fine(s); s.Expect(Seen("calls meanwhile", event), expect.NoneLost()) }
	broken := func(s *T) { fine(s); s.NoError(errors.New("the stream to the pod broke")) }
	bad := func(time.Duration) (bool, error) { return false, nil }
	for name, c := range map[string]struct {
		body  func(*T)
		known func(string) bool
		retry bool
		took  time.Duration // at least
	}{
		"three judgments": {func(s *T) {
			for range 3 {
				s.Control(world{time.Now(), func(time.Duration) (bool, error) { return true, nil }}, a)
			}
			s.Expect(yes, expect.IsTrue)
		}, nil, false, 25 * time.Second},
		"an event that cost a call":             {costly, nil, true, 0},
		"an event that is known to cost calls":  {costly, known("no call to fail"), false, 0},
		"an event, and something else is known": {costly, known("answered by"), true, 0},
		"nothing was learned of what is known":  {broken, known(""), true, 0},
		"nothing was learned":                   {broken, nil, true, 0},
		"an open connection that is cut": {func(s *T) {
			fine(s)
			cut := &Connection{ended: make(chan struct{}), ends: peer.Ends{Client: peer.End{How: peer.Reset}}}
			close(cut.ended)
			s.Control(cut, expect.StaysOpen())
		}, nil, true, 0},
		"a count of what all do": {func(s *T) {
			fine(s)
			s.Expect(Counter{"packets", 0, func(context.Context) (int64, error) { return 1, nil }}, expect.NoneCounted())
		}, nil, true, 0},
		"a first look that decides": {func(s *T) { fine(s); s.ExpectAlways(world{time.Now(), bad}, a) }, nil, true, 0},
		"an unsafe outcome": {func(s *T) {
			fine(s)
			s.RecordOutcome("a client", world{time.Now(), bad}, func(traffic.Outcomes) string { return "nobody named it" })
		}, nil, true, 0},
		"a value that is wrong": {func(s *T) { fine(s); s.Expect(no, expect.IsTrue) }, nil, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Spec{Behavior: behaviors.ByID("SCOPE-01"), body: c.body}
				r, _ := s.Run(t.Context(), Attempt{Fixture: &fixture.Fixture{Fleet: &mesh.Fleet{}}, Times: testTimes, Parallel: true, Known: c.known})
				if r.Retry != c.retry {
					t.Errorf("got retry %t (%s: %s), want %t", r.Retry, r.Verdict, r.Message, c.retry)
				}
				if r.Took < c.took {
					t.Errorf("it took %s, want %s at least", r.Took, c.took)
				}
			})
		})
	}
}

// A mesh that is right for 10 s of every 30 s is never conformant, whenever a spec comes upon it: in
// the wrong 20 s it waits for the right ones, which do not last.
func TestConfirmAtAnyTime(t *testing.T) {
	for phase := time.Duration(0); phase < 30*time.Second; phase += 500 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			r := run(t, "SCOPE-01", func(s *T) {
				fine(s)
				s.Expect(world{time.Now(), func(d time.Duration) (bool, error) {
					return (d+phase)%(30*time.Second) < 10*time.Second, nil
				}}, expect.AnsweredBy(cluster("a")))
			})
			if r.Verdict != v1alpha2.NonConformant {
				t.Errorf("come upon it at %s: got verdict %s (%s), want %s", phase, r.Verdict, r.Message, v1alpha2.NonConformant)
			}
		})
	}
}

// What held must hold until the spec ends, unless the spec changed something.
func TestConfirm(t *testing.T) {
	const second = time.Second
	begun := func(state func(time.Duration) bool) world {
		return world{time.Now(), func(d time.Duration) (bool, error) { return state(d), nil }}
	}
	for name, c := range map[string]struct {
		state func(time.Duration) bool
		then  func(*T)
		want  v1alpha2.Verdict
	}{
		"stays right":            {func(time.Duration) bool { return true }, func(*T) { time.Sleep(10 * second) }, v1alpha2.Conformant},
		"20 s wrong, 10 s right": {func(d time.Duration) bool { return d%(30*second) > 20*second }, func(*T) {}, v1alpha2.NonConformant},
		"10 s right, 20 s wrong": {func(d time.Duration) bool { return d%(30*second) < 10*second }, func(*T) {}, v1alpha2.NonConformant},
		"wrong after a change": {func(d time.Duration) bool { return d < 10*second }, func(s *T) {
			s.Still()
			s.Changed()
			time.Sleep(10 * second)
		}, v1alpha2.Conformant},
		"wrong later": {func(d time.Duration) bool { return d < 10*second }, func(*T) { time.Sleep(10 * second) }, v1alpha2.NonConformant},
		"a counter that has gone on": {func(time.Duration) bool { return true }, func(s *T) {
			last := time.Now().Add(8 * second)
			s.Expect(Probe("a counter", func(context.Context) (any, error) { return time.Now().Before(last), nil }), expect.IsTrue)
		}, v1alpha2.Conformant},
		"a control that is wrong later": {func(time.Duration) bool { return true }, func(s *T) {
			s.Still()
			s.Changed()
			s.Control(begun(func(d time.Duration) bool { return d < 10*second }), expect.AnsweredBy(cluster("a")))
		}, v1alpha2.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					s.Expect(begun(c.state), expect.AnsweredBy(cluster("a")))
					c.then(s)
				})
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
			})
		})
	}
}

// What is lost between a change and its effect is counted, and a budget limits it.
func TestBudgets(t *testing.T) {
	late := func(d time.Duration) (bool, error) { return d > 4*time.Second, nil }
	for name, c := range map[string]struct {
		budget expect.Budget
		want   v1alpha2.Verdict
	}{
		"none":           {expect.NoneLost(), v1alpha2.NonConformant},
		"none after 2 s": {expect.NoneAfter(2 * time.Second), v1alpha2.NonConformant},
		"none after 5 s": {expect.NoneAfter(5 * time.Second), v1alpha2.Conformant},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					s.Expect(world{time.Now(), late}, expect.AnsweredBy(cluster("a")), c.budget)
				})
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
				if said := fmt.Sprint(r.Observations); c.want == v1alpha2.Conformant && !strings.Contains(said, "calls failed on the way") {
					t.Errorf("the losses are not told: %s", said)
				}
			})
		})
	}
}

func onlyIf(b bool, err error) error {
	if b {
		return err
	}
	return nil
}

func TestSpecTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Whatever the spec sees after its time is not believed.
		r := run(t, "SCOPE-01", func(s *T) { <-s.Context().Done(); fine(s); s.Expect(yes, expect.IsTrue) })
		if r.Verdict != v1alpha2.Unknown {
			t.Errorf("got %s, want unknown", r.Verdict)
		}
		if want := "the spec did not end within its 1m0s"; !strings.Contains(r.Message, want) {
			t.Errorf("got %q, want it to say %q", r.Message, want)
		}
	})
}

// The gravest ending of several clusters counts.
func TestEach(t *testing.T) {
	unknown := func(s *T) { s.NoError(errors.New("the pod is gone")) }
	broken := func(s *T) { s.Expect(no, expect.IsTrue) }
	good := func(s *T) { fine(s); s.Expect(yes, expect.IsTrue) }
	for name, c := range map[string]struct {
		bodies []func(*T)
		want   v1alpha2.Verdict
	}{
		"all good":           {[]func(*T){good, good}, v1alpha2.Conformant},
		"one unknown":        {[]func(*T){good, unknown}, v1alpha2.Unknown},
		"unknown and broken": {[]func(*T){unknown, broken}, v1alpha2.NonConformant},
		"broken and unknown": {[]func(*T){broken, unknown}, v1alpha2.NonConformant},
	} {
		t.Run(name, func(t *testing.T) {
			clusters := make(Clusters, len(c.bodies))
			for i := range clusters {
				clusters[i] = &Cluster{Cluster: &mesh.Cluster{Name: fmt.Sprint(i)}}
			}
			r := run(t, "SCOPE-01", func(s *T) {
				s.Each(clusters, func(x *Cluster) {
					var i int
					_, _ = fmt.Sscan(x.Name, &i)
					c.bodies[i](s)
				})
			})
			if r.Verdict != c.want {
				t.Errorf("got %s (%s), want %s", r.Verdict, r.Message, c.want)
			}
		})
	}
}

func TestCleanupRunsBackward(t *testing.T) {
	var order []string
	s := &Spec{Behavior: behaviors.ByID("SCOPE-01"), body: func(t *T) {
		for _, n := range []string{"first", "second"} {
			t.Cleanup(func(context.Context) error { order = append(order, n); return nil })
		}
		t.Cleanup(func(context.Context) error { return errors.New("it is stuck") })
		panic("a bug")
	}}
	_, cleanup := s.Run(t.Context(), Attempt{Fixture: &fixture.Fixture{Fleet: &mesh.Fleet{}}, Times: testTimes})
	if len(order) != 0 {
		t.Errorf("cleaned up before the evidence was saved: %v", order)
	}
	left := cleanup(t.Context())
	if diff := cmp.Diff([]string{"second", "first"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if len(left) != 1 {
		t.Fatalf("got %v, want one", left)
	}
	if want := "cleaning up after SCOPE-01: it is stuck"; left[0].Error() != want {
		t.Errorf("got %v, want %q", left[0], want)
	}
}

func TestRecordKeepsBeginningAndEnd(t *testing.T) {
	s := &T{}
	outcomes := traffic.Outcomes{{Kind: traffic.Reset, Detail: "EOF"}, {Kind: traffic.Reached, Cluster: "cluster1"}}
	for i := range 1000 {
		s.record(traffic.Record{From: fmt.Sprint(i), Call: traffic.Call{URL: "http://echo/", Times: 2}, Outcomes: outcomes})
	}
	lines := s.result.Calls
	if len(lines) != 300 {
		t.Fatalf("got %d lines, want 300", len(lines))
	}
	for i, want := range map[int]string{
		0:   "  0 -> http://echo/ (2, 0s): 1 x cluster1, 1 x reset; the first that failed: EOF",
		50:  "... 701 more ...",
		51:  "  751 -> ",
		299: "  999 -> ",
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %d: got %q, want %q", i, lines[i], want)
			}
		})
	}
}

func TestConvergenceMeasuresTheMeshOnly(t *testing.T) {
	s := &T{}
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
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			if got := s.converged(c.took, c.begun, c.looks); got != c.want {
				t.Errorf("%+v: got %q, want %q", c, got, c.want)
			}
		})
	}
	if got := len(s.result.Convergence); got != 3 {
		t.Errorf("got %d samples, want 3: %v", got, s.result.Convergence)
	}
}

func TestAnswers(t *testing.T) {
	var clusters Clusters
	for _, name := range []string{"cluster1", "cluster2"} {
		c := &mesh.Cluster{Name: name}
		clusters = append(clusters, &Cluster{Cluster: c, Client: &traffic.Client{Cluster: c, Name: "client in " + name}})
	}
	s := &T{Fixture: &fixture.Fixture{Fleet: &mesh.Fleet{}, Clusters: clusters}}
	echo := &Service{Name: "echo", t: s}
	answers := func(clusters ...string) (os traffic.Outcomes) {
		for _, c := range clusters {
			o := traffic.Outcome{Kind: traffic.Reached, Cluster: c}
			if c == "" {
				o.Kind = traffic.Reset
			}
			os = append(os, o)
		}
		return os
	}
	saw := func(client int, os traffic.Outcomes) { s.countAnswers(clusters[client].Client.HTTP(echo), os) }

	saw(0, answers("cluster1")) // a service whose labels nobody set is not known
	echo.noteLabel(clusters, workload.LabelGlobal, "")
	saw(0, answers("cluster1", "cluster1"))
	echo.noteLabel(clusters[:1], workload.LabelGlobal, "true")
	saw(0, answers("cluster1", "cluster1", "cluster1")) // one-sided: neither local nor global
	echo.noteLabel(clusters, workload.LabelGlobal, "true")
	saw(1, answers("cluster2", "cluster1", ""))
	saw(1, answers("cluster2"))
	echo.noteLabel(clusters, "istio.io/use-waypoint", "wp")
	s.countAnswers(clusters[0].Client.TCP(echo), answers("cluster2"))

	want := []Answers{
		{"cluster1", "global", "echo behind a waypoint", map[string]int{"cluster2": 1}, 0},
		{"cluster1", "local", "echo", map[string]int{"cluster1": 2}, 0},
		{"cluster2", "global", "echo", map[string]int{"cluster1": 1, "cluster2": 2}, 1},
	}
	if diff := cmp.Diff(want, s.result.Answers); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	twice := AddAnswers(AddAnswers(nil, want...), want...)
	if got := twice[2].ByCluster["cluster2"]; got != 4 {
		t.Errorf("added twice: got %d, want 4", got)
	}
	if got := want[2].ByCluster["cluster2"]; got != 2 {
		t.Errorf("adding changed what was added: got %d, want 2", got)
	}
}

// An outcome must stay. An unsafe one, or one that the catalog does not name, is a violation
// whenever it is seen.
func TestRecordOutcome(t *testing.T) {
	named := func(f func(time.Duration) string) func(time.Duration) string { return f }
	for name, c := range map[string]struct {
		outcome func(time.Duration) string
		want    v1alpha2.Verdict
	}{
		"acceptable": {named(func(time.Duration) string { return "fails-closed" }), v1alpha2.Conformant},
		"acceptable after a while": {named(func(d time.Duration) string { return map[bool]string{true: "fails-closed"}[d > 5*time.Second] }),
			v1alpha2.Conformant},
		"unsafe": {named(func(time.Duration) string { return "served-remotely" }), v1alpha2.NonConformant},
		"unsafe in the hold time": {named(func(d time.Duration) string {
			return map[bool]string{true: "fails-closed", false: "served-remotely"}[d < 3*time.Second]
		}), v1alpha2.NonConformant},
		"not named": {named(func(time.Duration) string { return "melts" }), v1alpha2.NonConformant},
		"none":      {named(func(time.Duration) string { return "" }), v1alpha2.Unknown},
		"until later": {named(func(d time.Duration) string { return map[bool]string{true: "fails-closed"}[d < 8*time.Second] }),
			v1alpha2.Unknown},
		"unsafe later": {named(func(d time.Duration) string {
			return map[bool]string{true: "fails-closed", false: "served-remotely"}[d < 8*time.Second]
		}), v1alpha2.NonConformant},
		"not steady": {named(func(d time.Duration) string {
			return map[bool]string{true: "fails-closed"}[d%(2*time.Second) < time.Second]
		}), v1alpha2.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "WP-07", func(s *T) {
					fine(s)
					begun := time.Now()
					s.RecordOutcome("the client", world{begun, func(time.Duration) (bool, error) { return false, nil }},
						func(traffic.Outcomes) string { return c.outcome(time.Since(begun)) })
				})
				if r.Verdict != c.want {
					t.Errorf("got %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
				if strings.HasPrefix(r.At, "waitgroup.go") {
					t.Errorf("got the line of a goroutine (%s), want that of the spec", r.At)
				}
			})
		})
	}
}

// A behavior has one outcome for all that its spec looks at, unless the catalog gives each row its
// own: then the gravest is that of the whole.
func TestRows(t *testing.T) {
	for name, c := range map[string]struct {
		id   string
		rows []string
		want Result
	}{
		"one for all": {"WP-07", []string{"fails-closed", "fails-closed"}, Result{Verdict: v1alpha2.Conformant, Outcome: "fails-closed"}},
		"two for one": {"WP-07", []string{"fails-closed", "stays-local"}, Result{Verdict: v1alpha2.Unknown, Outcome: "stays-local"}},
		"one per row": {"WP-04", []string{"open", "enforced"}, Result{Verdict: v1alpha2.Conformant, Outcome: "open",
			Rows: []v1alpha2.RowOutcome{{Row: "0", Outcome: "open"}, {Row: "1", Outcome: "enforced"}}}},
		"graver later": {"WP-04", []string{"served", "open"}, Result{Verdict: v1alpha2.Conformant, Outcome: "open",
			Rows: []v1alpha2.RowOutcome{{Row: "0", Outcome: "served"}, {Row: "1", Outcome: "open"}}}},
		"one row unsafe": {"WP-04", []string{"enforced", "bypassed"}, Result{Verdict: v1alpha2.NonConformant, Outcome: "enforced",
			Rows: []v1alpha2.RowOutcome{{Row: "0", Outcome: "enforced"}}}},
		"one row not named": {"WP-04", []string{"enforced", "melts"}, Result{Verdict: v1alpha2.NonConformant, Outcome: "enforced",
			Rows: []v1alpha2.RowOutcome{{Row: "0", Outcome: "enforced"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, c.id, func(s *T) {
					fine(s)
					for i, outcome := range c.rows {
						s.RecordOutcome(strconv.Itoa(i), steady(true), func(traffic.Outcomes) string { return outcome })
					}
				})
				got := Result{Verdict: r.Verdict, Outcome: r.Outcome, Rows: r.Rows}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", r.Message, diff)
				}
			})
		})
	}
}

// Within its budget a change may take its time: what is unsafe does not count yet.
func TestUnsafeWithinBudget(t *testing.T) {
	for name, c := range map[string]struct {
		until time.Duration
		want  v1alpha2.Verdict
	}{
		"over in time": {8 * time.Second, v1alpha2.Conformant},
		"too long":     {12 * time.Second, v1alpha2.NonConformant},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "WP-07", func(s *T) {
					fine(s)
					begun := time.Now()
					s.RecordOutcome("the client", steady(true), func(traffic.Outcomes) string {
						return map[bool]string{true: "bypassed", false: "stays-local"}[time.Since(begun) < c.until]
					}, expect.NoneAfter(10*time.Second))
				})
				if r.Verdict != c.want {
					t.Errorf("got %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
			})
		})
	}
}

func steady(ok bool) world {
	return world{time.Now(), func(time.Duration) (bool, error) { return ok, nil }}
}

// gomega's own matchers work beside ours.
func TestGomegaMatchers(t *testing.T) {
	r := run(t, "SCOPE-01", func(s *T) {
		fine(s)
		s.Expect(Seen("a list", []string{"a", "b"}), gomega.ContainElement("a"), gomega.HaveLen(2))
	})
	if r.Verdict != v1alpha2.Conformant {
		t.Errorf("got %s: %s", r.Verdict, r.Message)
	}
}
