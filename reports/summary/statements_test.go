package summary_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
)

func TestStatements(t *testing.T) {
	r := &v1alpha2.ConformanceReport{
		NotAutomated: []string{"INST-09"},
		Behaviors: []v1alpha2.BehaviorResult{
			{ID: "INST-01", Level: "core", Verdict: v1alpha2.Conformant},
			{ID: "INST-02", Level: "core", Verdict: v1alpha2.Skipped, Skip: &v1alpha2.Skip{Class: "topology", Reason: "it changes the mesh"}},
			{ID: "INST-14", Level: "core", Verdict: v1alpha2.Unknown},
			{ID: "SCOPE-07", Level: "limitation", Verdict: v1alpha2.Conformant, Outcome: "intersection"},
			{ID: "SCOPE-17", Level: "limitation", Verdict: v1alpha2.NonConformant, Known: "F-05"},
			{ID: "GW-13", Level: "core", Verdict: v1alpha2.NonConformant},
		},
	}
	got := map[string]summary.Seen{}
	all := summary.Statements(r)
	for i, s := range all {
		if s.N != i+1 {
			t.Errorf("statement %d has the number %d", i+1, s.N)
		}
		for _, x := range s.Seen {
			got[x.ID] = x
		}
	}
	if len(all) != len(behaviors.Statements) {
		t.Errorf("got %d statements, want %d", len(all), len(behaviors.Statements))
	}
	for id, want := range map[string]summary.Seen{
		"INST-01":  {Standing: "conformant", Says: "holds"},
		"INST-02":  {Standing: "skipped", Says: "did not run: it changes the mesh"},
		"INST-09":  {Says: "has no spec yet"},
		"INST-14":  {Standing: "unknown", Says: "could not be judged"},
		"SCOPE-07": {Standing: "conformant", Says: "recorded intersection"},
		"SCOPE-17": {Standing: "known", Says: "is broken, known as F-05"},
		"GW-13":    {Standing: "non-conformant", Says: "is broken"},
		"GW-01":    {Says: "is not in this report"},
	} {
		t.Run(id, func(t *testing.T) {
			want.ID = id
			if diff := cmp.Diff(want, got[id]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for version, want := range map[string]string{"1.28.3": "alpha", "1.29.0": "beta", "v0.0.0-20260827124520-eed52ebb66ad": "beta", "": ""} {
		t.Run(version, func(t *testing.T) {
			r := &v1alpha2.ConformanceReport{}
			r.Environment.Istio = version
			if got := summary.Status(r); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
