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
	for want, c := range map[int][]v1alpha2.Counts{
		summary.ExitConformant:    {{Conformant: 1}, {Conformant: 3, Skipped: 9}},
		summary.ExitNonConformant: {{NonConformant: 1}, {NonConformant: 1, Unknown: 4, Conformant: 2}},
		summary.ExitUnknown:       {{}, {Skipped: 4}, {Unknown: 1, Conformant: 7}},
	} {
		for _, counts := range c {
			if got := summary.ExitCode(&v1alpha2.ConformanceReport{Summary: counts}); got != want {
				t.Errorf("%+v: %d, want %d", counts, got, want)
			}
		}
	}
}

func TestTable(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	if err := b.Record(v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.NonConformant, Message: "client of cluster1 -> echo:\n expected both clusters, saw cluster1 40 of 40\x1b[31m"}); err != nil {
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
