package summary_test

import (
	"bytes"
	"strings"
	"testing"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/summary"
)

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		report v1alpha2.ConformanceReport
		want   int
	}{
		"all conformant":         {v1alpha2.ConformanceReport{Summary: v1alpha2.Counts{Conformant: 1}}, summary.ExitConformant},
		"conformant and skipped": {v1alpha2.ConformanceReport{Summary: v1alpha2.Counts{Conformant: 3, Skipped: 9}}, summary.ExitConformant},
		"a violation":            {v1alpha2.ConformanceReport{Summary: v1alpha2.Counts{NonConformant: 1}}, summary.ExitNonConformant},
		"a violation and unknown": {
			v1alpha2.ConformanceReport{Summary: v1alpha2.Counts{NonConformant: 1, Unknown: 4, Conformant: 2}}, summary.ExitNonConformant,
		},
		"nothing":         {v1alpha2.ConformanceReport{}, summary.ExitUnknown},
		"all skipped":     {v1alpha2.ConformanceReport{Summary: v1alpha2.Counts{Skipped: 4}}, summary.ExitUnknown},
		"one unknown":     {v1alpha2.ConformanceReport{Summary: v1alpha2.Counts{Unknown: 1, Conformant: 7}}, summary.ExitUnknown},
		"the run stopped": {v1alpha2.ConformanceReport{Summary: v1alpha2.Counts{Conformant: 7}, Failure: "f"}, summary.ExitUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summary.ExitCode(&c.report); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	broken := v1alpha2.BehaviorResult{
		ID: "LB-01", Verdict: v1alpha2.NonConformant,
		Message: "client of cluster1 -> echo:\n expected both clusters, saw cluster1 40 of 40\x1b[31m",
	}
	if err := b.Record(broken); err != nil {
		t.Fatal(err)
	}
	r := b.Report()
	var out bytes.Buffer
	if err := summary.Table(&out, &r); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{
		"chapter                           conformant  non-conformant  unknown  skipped\n",
		"non-conformant:\n  LB-01    Requests to a global service",
		"client of cluster1 -> echo: expected both clusters, saw cluster1 40 of 40",
		"convergence: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("control characters reach the terminal")
	}
}
