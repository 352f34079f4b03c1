package summary_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/summary"
)

// A fault that is known hides no other one of the same behavior.
func TestKnownFaultHidesNoOther(t *testing.T) {
	example.KnowFault(t, "LB-01", "every call", "arrived late")
	for message, want := range map[string]string{"expected every call to succeed": "F-90", "it arrived late": "F-90", "it leaks": ""} {
		t.Run(message, func(t *testing.T) {
			r := v1alpha2.ConformanceReport{Environment: v1alpha2.Environment{Istio: "1.31.0"},
				Catalog:   v1alpha2.Catalog{Digest: behaviors.Digest()},
				Behaviors: []v1alpha2.BehaviorResult{{ID: "LB-01", Verdict: v1alpha2.NonConformant, Message: message}}}
			summary.Fill(&r)
			if got := r.Behaviors[0].Known; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A known violation stands for itself: it neither fails the run nor hides.
func TestKnownFaults(t *testing.T) {
	example.KnowFault(t, "LB-01")
	for name, c := range map[string]struct {
		verdict v1alpha2.Verdict
		istio   string
		mode    v1alpha2.Mode
		known   string
		fixed   string
		result  v1alpha2.Result
		counts  v1alpha2.Counts
		says    string
	}{
		"known": {v1alpha2.NonConformant, "1.31.0", v1alpha2.ModeConformance, "F-90", "", v1alpha2.Success,
			v1alpha2.Counts{Conformant: 7, Known: 1}, "\nknown:\n  LB-01 "},
		"of another version": {v1alpha2.NonConformant, "1.30.0", v1alpha2.ModeConformance, "", "", v1alpha2.Failure,
			v1alpha2.Counts{Conformant: 7, NonConformant: 1}, "\nnon-conformant:\n  LB-01 "},
		"certified": {v1alpha2.NonConformant, "1.31.0", v1alpha2.ModeCertified, "", "", v1alpha2.Failure,
			v1alpha2.Counts{Conformant: 7, NonConformant: 1}, "\nnon-conformant:\n  LB-01 "},
		"fixed": {v1alpha2.Conformant, "1.31.0", v1alpha2.ModeConformance, "", "F-90", v1alpha2.Success,
			v1alpha2.Counts{Conformant: 8}, "fixed: LB-01 holds, which finding F-90 says"},
		"sporadic": {v1alpha2.NonConformant, "1.31.0", v1alpha2.ModeConformance, "F-90", "", v1alpha2.Success,
			v1alpha2.Counts{Conformant: 7, Known: 1}, "\nknown:\n  LB-01 "},
		"sporadic, not seen": {v1alpha2.Conformant, "1.31.0", v1alpha2.ModeConformance, "", "", v1alpha2.Success,
			v1alpha2.Counts{Conformant: 8}, "\nconformant"},
		"not learned": {v1alpha2.Unknown, "1.31.0", v1alpha2.ModeConformance, "", "", v1alpha2.Partial,
			v1alpha2.Counts{Conformant: 7, Unknown: 1}, "\nunknown:\n  LB-01 "},
	} {
		t.Run(name, func(t *testing.T) {
			behaviors.KnownFaults["LB-01"][0].Sporadic = strings.HasPrefix(name, "sporadic") // as not every run shows it
			p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
			b := example.Open(t, p)
			example.RecordAll(t, b, p)
			r := b.Report()
			r.Finished, r.Mode, r.Environment.Istio = true, c.mode, c.istio
			var x *v1alpha2.BehaviorResult
			for i := range r.Behaviors {
				if r.Behaviors[i].ID == "LB-01" {
					x = &r.Behaviors[i]
				}
			}
			x.Verdict, x.Message = c.verdict, "one cluster answered"
			summary.Fill(&r)
			if diff := cmp.Diff([]string{c.known, c.fixed}, []string{x.Known, x.Fixed}); diff != "" {
				t.Errorf("known and fixed (-want +got):\n%s", diff)
			}
			if r.Result != c.result {
				t.Errorf("got result %s, want %s", r.Result, c.result)
			}
			c.counts.Skipped = r.Summary.Skipped
			if diff := cmp.Diff(c.counts, r.Summary); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			var out bytes.Buffer
			if err := summary.Table(&out, &r); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("the table does not say %q:\n%s", c.says, &out)
			}
		})
	}
}
