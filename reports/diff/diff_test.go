package diff

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/reports/api/v1alpha2"
)

func TestKinds(t *testing.T) {
	result := func(v v1alpha2.Verdict) *v1alpha2.BehaviorResult {
		b := &v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v}
		if v == v1alpha2.Skipped {
			b.Skip = &v1alpha2.Skip{Class: "topology", Reason: "one cluster"}
		}
		return b
	}
	conformant, violated := result(v1alpha2.Conformant), result(v1alpha2.NonConformant)
	unknown, skipped := result(v1alpha2.Unknown), result(v1alpha2.Skipped)
	for name, c := range map[string]struct {
		from, to *v1alpha2.BehaviorResult
		want     Kind
		worse    bool
	}{
		"broke":             {conformant, violated, Broke, true},
		"broke from absent": {nil, violated, Broke, true},
		"lost to unknown":   {conformant, unknown, Lost, true},
		"lost to skipped":   {conformant, skipped, Lost, true},
		"lost to absent":    {conformant, nil, Lost, true},
		"fixed":             {violated, conformant, Fixed, false},
		"gained":            {skipped, conformant, Gained, false},
		"other":             {violated, unknown, Other, false},
		"changed":           {nil, skipped, Changed, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := Compare(reportOf(c.from), reportOf(c.to))
			if len(d.Behaviors) != 1 {
				t.Fatalf("got %d changes, want 1", len(d.Behaviors))
			}
			if got := d.Behaviors[0].Kind; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if d.Worse != c.worse {
				t.Errorf("got worse %t, want %t", d.Worse, c.worse)
			}
		})
	}
}

func reportOf(results ...*v1alpha2.BehaviorResult) *v1alpha2.ConformanceReport {
	r := &v1alpha2.ConformanceReport{}
	for _, b := range results {
		if b != nil {
			r.Behaviors = append(r.Behaviors, *b)
		}
	}
	return r
}

func TestText(t *testing.T) {
	same := &v1alpha2.BehaviorResult{ID: "LB-02", Verdict: v1alpha2.Conformant}
	a := reportOf(&v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.Conformant}, same)
	b := reportOf(&v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.NonConformant, Message: "seen:\ncluster1 40 of 40\x1b[31m"}, same)
	b.Environment.Istio = "1.31.0"
	var out strings.Builder
	if err := Compare(a, b).Text(&out); err != nil {
		t.Fatal(err)
	}
	want := "Istio: none -> 1.31.0\n" +
		"broke    LB-01     conformant -> non-conformant\n" +
		"                   seen: cluster1 40 of 40[31m\n" +
		"1 broke, 1 as before\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoChange(t *testing.T) {
	r := reportOf(&v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.Conformant})
	if diff := cmp.Diff(&Diff{Same: 1}, Compare(r, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
