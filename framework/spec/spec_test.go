package spec

import (
	"context"
	"errors"
	"fmt"
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
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/reports/api/v1alpha2"
)

var testTimes = Times{Convergence: 10 * time.Second, Hold: time.Second, Spec: time.Minute}

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
func world(state func(time.Duration) (any, error)) Subject {
	begun := time.Now()
	return Probe("the mesh", func(context.Context) (any, error) {
		time.Sleep(10 * time.Millisecond)
		return state(time.Since(begun))
	})
}

// The verdicts of all specs pass through judge: each row is a world and what must be made of it.
func TestJudge(t *testing.T) {
	broken := errors.New("the stream to the pod broke")
	is := func(b bool) (any, error) { return b, nil }
	for name, c := range map[string]struct {
		state   func(time.Duration) (any, error)
		judge   func(*T) Judge
		verdict v1alpha2.Verdict
		flaky   bool
	}{
		"right":               {state: func(time.Duration) (any, error) { return is(true) }, verdict: v1alpha2.Conformant},
		"right after a while": {state: func(d time.Duration) (any, error) { return is(d > 3*time.Second) }, verdict: v1alpha2.Conformant},
		"right too late":      {state: func(d time.Duration) (any, error) { return is(d > 15*time.Second) }, verdict: v1alpha2.NonConformant},
		"never right":         {state: func(time.Duration) (any, error) { return is(false) }, verdict: v1alpha2.NonConformant},
		"right, then wrong": {state: func(d time.Duration) (any, error) { return is(d < 500*time.Millisecond) },
			verdict: v1alpha2.NonConformant, flaky: true},
		"not known at first": {state: func(d time.Duration) (any, error) { return d > time.Second, onlyIf(d < time.Second, broken) },
			verdict: v1alpha2.Conformant},
		"not known for a moment": {state: func(d time.Duration) (any, error) {
			return true, onlyIf(d > 100*time.Millisecond && d < 400*time.Millisecond, broken)
		}, verdict: v1alpha2.Conformant},
		"never known": {state: func(time.Duration) (any, error) { return nil, broken }, verdict: v1alpha2.Unknown},
		"always: wrong at first": {state: func(d time.Duration) (any, error) { return is(d > time.Second) },
			judge: func(t *T) Judge { return t.ExpectAlways }, verdict: v1alpha2.NonConformant},
		"always: not known, right": {state: func(d time.Duration) (any, error) {
			return d > time.Second,
				onlyIf(d < time.Second, broken)
		}, judge: func(t *T) Judge { return t.ExpectAlways }, verdict: v1alpha2.Conformant},
		"control: never": {state: func(time.Duration) (any, error) { return is(false) },
			judge: func(t *T) Judge { return t.Control }, verdict: v1alpha2.NonConformant},
		"precondition: never": {state: func(time.Duration) (any, error) { return is(false) },
			judge: func(t *T) Judge { return t.Given }, verdict: v1alpha2.Unknown},
		"precondition: after 3 s": {state: func(d time.Duration) (any, error) { return is(d > 3*time.Second) },
			judge: func(t *T) Judge { return t.Given }, verdict: v1alpha2.Conformant},
		"precondition: then broken": {state: func(d time.Duration) (any, error) { return is(d < 500*time.Millisecond) },
			judge: func(t *T) Judge { return t.Given }, verdict: v1alpha2.Unknown, flaky: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "SCOPE-01", func(s *T) {
					fine(s)
					s.Expect(yes, expect.IsTrue)
					judge := s.Expect
					if c.judge != nil {
						judge = c.judge(s)
					}
					judge(world(c.state), expect.IsTrue)
				})
				if r.Verdict != c.verdict {
					t.Errorf("got verdict %s (%s), want %s", r.Verdict, r.Message, c.verdict)
				}
				if flaky := strings.Contains(r.Message, "was as expected after"); flaky != c.flaky {
					t.Errorf("got flaky %t (%s), want %t", flaky, r.Message, c.flaky)
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
		if want := "the spec did not end within its 1m0s"; r.Verdict != v1alpha2.Unknown || !strings.Contains(r.Message, want) {
			t.Errorf("got %s %q, want unknown with %q", r.Verdict, r.Message, want)
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
	if want := "cleaning up after SCOPE-01: it is stuck"; len(left) != 1 || left[0].Error() != want {
		t.Errorf("got %v, want %q", left, want)
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
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: got %q, want %q", i, lines[i], want)
		}
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
		if got := s.converged(c.took, c.begun, c.looks); got != c.want {
			t.Errorf("%+v: got %q, want %q", c, got, c.want)
		}
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

// An outcome that the catalog does not name, or calls unsafe, is a violation; one that never gets a
// name is not known.
func TestRecordOutcome(t *testing.T) {
	for name, c := range map[string]struct {
		outcome string
		verdict v1alpha2.Verdict
	}{
		"acceptable": {"fails-closed", v1alpha2.Conformant},
		"unsafe":     {"served-remotely", v1alpha2.NonConformant},
		"not named":  {"melts", v1alpha2.NonConformant},
		"none":       {"", v1alpha2.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, "WP-07", func(s *T) {
					fine(s)
					s.recordOutcome(Probe("the client", func(context.Context) (any, error) {
						return traffic.Outcomes{{Kind: traffic.Reset}}, nil
					}), func(traffic.Outcomes) string { return c.outcome })
				})
				if r.Verdict != c.verdict {
					t.Errorf("got %s (%s), want %s", r.Verdict, r.Message, c.verdict)
				}
			})
		})
	}
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
