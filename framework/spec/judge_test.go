package spec

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// phases are what a subject that is no traffic looks like from a time on: right, wrong, or such
// that nothing is learned.
type phases []struct {
	from time.Duration
	what string
}

func (p phases) look(d time.Duration) (ok bool, err error) {
	what := "right"
	for _, phase := range p {
		if d >= phase.from {
			what = phase.what
		}
	}
	return what == "right", onlyIf(what == "unknown", errors.New("istiod did not answer"))
}

// Before a change arrives, the few calls of a look may all be answered as wanted by chance. The sample
// that decides is taken only once a whole one was as wanted.
func TestLuckBeforeAChangeArrives(t *testing.T) {
	lucky := func(d time.Duration) (bool, error) { return d < firstLook*2*time.Millisecond || d > 2*time.Second, nil }
	for name, c := range map[string]struct {
		changes bool
		want    v1alpha2.Verdict
	}{
		"a change is on its way": {true, v1alpha2.Conformant},
		"nothing has changed":    {false, v1alpha2.NonConformant},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					if time.Sleep(31 * time.Second); c.changes {
						s.Changed()
					}
					s.Expect(world{time.Now(), lucky}, expect.AnsweredBy(cluster("a")))
				})
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
			})
		})
	}
}

// What is no traffic is looked at again and again within the hold time.
func TestProbesInTheHoldTime(t *testing.T) {
	const second = time.Second
	for name, c := range map[string]struct {
		phases  phases
		want    v1alpha2.Verdict
		message string
	}{
		"right":                     {nil, v1alpha2.Conformant, ""},
		"right after 3 s":           {phases{{0, "wrong"}, {3 * second, "right"}}, v1alpha2.Conformant, ""},
		"right for 3 s":             {phases{{3 * second, "wrong"}}, v1alpha2.NonConformant, "was as expected"},
		"nothing learned for 2 s":   {phases{{second, "unknown"}, {3 * second, "right"}}, v1alpha2.Conformant, ""},
		"nothing learned after 1 s": {phases{{second + 1, "unknown"}}, v1alpha2.Unknown, "by 8 of 10 looks"},
		"nothing learned after 0 s": {phases{{1, "unknown"}}, v1alpha2.Unknown, "by 10 of 10 looks"},
		"wrong, then not known":     {phases{{second, "wrong"}, {2 * second, "unknown"}}, v1alpha2.NonConformant, "was as expected"},
		"not known, then wrong":     {phases{{second, "unknown"}, {4 * second, "wrong"}}, v1alpha2.NonConformant, "was as expected"},
		"never known":               {phases{{0, "unknown"}}, v1alpha2.Unknown, "istiod did not answer"},
	} {
		for _, role := range []string{Expectation, "control", "precondition"} {
			t.Run(name+" as "+role, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					want := c.want
					if role != Expectation && want == v1alpha2.NonConformant {
						want = v1alpha2.Unknown
					}
					r := run(t, "SCOPE-01", func(s *T) {
						fine(s)
						s.Expect(yes, expect.IsTrue)
						begun := time.Now()
						judge := map[string]Judge{Expectation: s.Expect, "control": s.Control, "precondition": s.Given}[role]
						judge(Probe("istiod", func(context.Context) (any, error) { return c.phases.look(time.Since(begun)) }), expect.IsTrue)
					})
					if r.Verdict != want {
						t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, want)
					}
					if !strings.Contains(r.Message, c.message) {
						t.Errorf("got message %q, want one with %q", r.Message, c.message)
					}
				})
			})
		}
	}
}

// A look that the end of the spec's time cut short says nothing of the mesh.
func TestProbeAtTheEndOfTheTime(t *testing.T) {
	for name, at := range map[string]time.Duration{"as a change arrives": 0, "within the hold time": testTimes.Spec - 2*time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					time.Sleep(at)
					first := at > 0
					s.Expect(Probe("istiod", func(ctx context.Context) (any, error) {
						if first {
							first = false
							return true, nil
						}
						<-ctx.Done()
						return false, ctx.Err()
					}), expect.IsTrue)
				})
				if r.Verdict != v1alpha2.Unknown {
					t.Errorf("got verdict %s (%s), want unknown", r.Verdict, r.Message)
				}
				if want := "the spec did not end within its 1m0s; it ended with: "; !strings.Contains(r.Message, want) {
					t.Errorf("got message %q, want one with %q", r.Message, want)
				}
			})
		})
	}
}

// A control that is a promise of the behavior itself counts as a control, and breaks as a promise.
func TestControlIsPromise(t *testing.T) {
	for name, c := range map[string]struct {
		control, promise Subject
		want             v1alpha2.Verdict
		failed           string
	}{
		"held":                   {yes, yes, v1alpha2.Conformant, ""},
		"broken":                 {no, yes, v1alpha2.NonConformant, Expectation},
		"without an expectation": {yes, nil, v1alpha2.Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "SCOPE-01", func(s *T) {
				s.ControlIsPromise(behaviors.Source{}, c.control, expect.IsTrue)
				if c.promise != nil {
					s.Expect(c.promise, expect.IsTrue)
				}
			})
			if r.Verdict != c.want {
				t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
			}
			if r.Failed != c.failed {
				t.Errorf("got %q as what failed, want %q", r.Failed, c.failed)
			}
		})
	}
}

// A verb changes the mesh once the judgments so far have held, and what stood before it need not
// stand at the end.
func TestChangeWaitsForJudgments(t *testing.T) {
	for name, c := range map[string]struct {
		right   time.Duration // how long the mesh is right
		want    v1alpha2.Verdict
		changed bool
	}{
		"they hold":     {20 * time.Second, v1alpha2.Conformant, true},
		"one does not":  {3 * time.Second, v1alpha2.NonConformant, false},
		"it ends later": {6 * time.Second, v1alpha2.Conformant, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				changed := time.Duration(0)
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					begun := time.Now()
					s.Expect(world{begun, func(d time.Duration) (bool, error) { return d < c.right, nil }}, expect.AnsweredBy(cluster("a")))
					s.change(func() { changed = time.Since(begun) })
					s.Expect(yes, expect.IsTrue)
				})
				if r.Verdict != c.want {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.want)
				}
				if got := changed > 0; got != c.changed {
					t.Errorf("got changed %t, want %t", got, c.changed)
				}
				if c.changed && changed < testTimes.Hold {
					t.Errorf("changed after %s, want the hold time of %s first", changed, testTimes.Hold)
				}
			})
		})
	}
}
