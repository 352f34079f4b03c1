package main

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/mutants"
	"ambient.test/conformance/reports/api/v1alpha2"
)

func TestPrintTrials(t *testing.T) {
	green := spec.Result{Verdict: v1alpha2.Conformant}
	red := func(line string) spec.Result {
		return spec.Result{Verdict: v1alpha2.NonConformant, Failed: spec.Expectation, At: line,
			Message: line + ": client -> echo\nexpected 1\nseen     2"}
	}
	control := spec.Result{Verdict: v1alpha2.Unknown, Failed: "control", At: "a.go:2", Message: "a.go:2: control: client -> echo"}
	lost := spec.Result{Verdict: v1alpha2.Unknown, Message: "the pod is gone"}
	kill := trial{"M01", "A-01", red("a.go:1"), green}
	for name, c := range map[string]struct {
		all      []trial
		err      error
		complete bool
		code     int // 0: no error
		says     string
		not      string
	}{
		"killed": {all: []trial{kill}, complete: true,
			says: "A-01      killed  a.go:1  conformant  a.go:1: client -> echo: 2", not: "never killed"},
		"noticed by a control": {all: []trial{kill, {"M01", "A-02", control, green}}, says: "1 killed, 1 noticed, 0 survived, 0 unclear\n" +
			"never killed at an expectation: A-02\n"},
		"never killed by all": {all: []trial{kill, {"M01", "A-02", control, green}}, complete: true, code: exitNonConformant,
			says: "never killed at an expectation: A-02\n"},
		"killed by another": {all: []trial{{"M01", "A-02", control, green}, {"M02", "A-02", red("a.go:3"), green}},
			complete: true, not: "never killed"},
		"survivor":           {all: []trial{kill, {"M02", "A-03", green, green}}, code: exitNonConformant, says: "SURVIVED"},
		"nothing learned":    {all: []trial{{"M02", "A-03", lost, green}}, code: exitUnknown, says: "unclear"},
		"not restored":       {all: []trial{{"M02", "A-03", red("a.go:1"), red("a.go:1")}}, code: exitUnknown, says: "non-conformant"},
		"no-op does nothing": {all: []trial{{mutants.NoOp, "A-01", green, green}}, says: "unharmed", not: "never killed"},
		"no-op kills":        {all: []trial{{mutants.NoOp, "A-01", red("a.go:1"), green}}, code: exitNonConformant, says: "killed"},
		"no-op is noticed":   {all: []trial{{mutants.NoOp, "A-01", control, green}}, code: exitNonConformant, says: "noticed"},
		"could not go on":    {all: []trial{kill}, err: unknown(errors.New("no fleet")), code: exitUnknown, says: "killed"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := printTrials(&out, c.all, c.err, c.complete)
			var e exit
			if errors.As(err, &e); e.code != c.code {
				t.Errorf("got %v, want exit code %d", err, c.code)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("%q is not in\n%s", c.says, &out)
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("%q is in\n%s", c.not, &out)
			}
		})
	}
}

func TestSeenRestored(t *testing.T) {
	green, red := spec.Result{Verdict: v1alpha2.Conformant}, spec.Result{Verdict: v1alpha2.NonConformant}
	restored, left := seenRestored([]trial{
		{mutant: "M01", id: "A-01", broken: red},
		{mutant: "M01", id: "A-02", broken: green}, // a survivor says nothing of the restored mesh
		{mutant: "M02", id: "A-02", broken: red},
		{mutant: "M02", id: "A-03", broken: red},
		{mutant: mutants.NoOp, id: "A-01", broken: green},
		{mutant: mutants.NoOp, id: "A-03", broken: red},
	})
	if d := cmp.Diff([]string{"A-02", "A-03"}, left); d != "" {
		t.Errorf("must run on the restored mesh (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"A-01"}, slices.Collect(maps.Keys(restored))); d != "" {
		t.Errorf("seen on the restored mesh (-want +got):\n%s", d)
	}
}

// Each mutant is tried once, by one fleet; the one that breaks nothing last, by all of them. What fails
// on one fleet ends it for all.
func TestMutantsAreShared(t *testing.T) {
	fleets := []*mesh.Fleet{{RunID: "one"}, {RunID: "two"}}
	noop := &mutants.Mutant{Mutant: behaviors.Mutant{ID: mutants.NoOp}}
	chosen := []*mutants.Mutant{
		{Mutant: behaviors.Mutant{ID: "M01"}}, {Mutant: behaviors.Mutant{ID: "M02"}}, {Mutant: behaviors.Mutant{ID: "M03"}}, noop,
	}
	broken := errors.New("cannot be mended")
	for name, c := range map[string]struct {
		chosen []*mutants.Mutant
		want   []string
	}{
		"all":           {chosen: chosen, want: []string{"M01", "M02", "M03", mutants.NoOp}},
		"without no-op": {chosen: chosen[:3], want: []string{"M01", "M02", "M03"}},
		"no-op alone":   {chosen: chosen[3:], want: []string{mutants.NoOp}},
		"nothing":       {},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := share(fleets, c.chosen, func(i int, on ...*mesh.Fleet) ([]trial, error) {
				id := c.chosen[i].ID
				if want := map[bool]int{true: len(fleets), false: 1}[id == mutants.NoOp]; len(on) != want {
					t.Errorf("%s was tried on %d fleets, want %d", id, len(on), want)
				}
				return []trial{{mutant: id}}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range all {
				got = append(got, x.mutant)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
	t.Run("a fleet that cannot be mended", func(t *testing.T) {
		all, err := share(fleets[:1], chosen, func(i int, _ ...*mesh.Fleet) ([]trial, error) {
			if i == 1 {
				return []trial{{mutant: "M02"}}, broken
			}
			return []trial{{mutant: chosen[i].ID}}, nil
		})
		if !errors.Is(err, broken) || len(all) != 2 {
			t.Errorf("got %v and %d trials, want those of M01 and M02 and the error", err, len(all))
		}
	})
}
