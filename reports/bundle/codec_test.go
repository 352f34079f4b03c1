package bundle_test

import (
	"bytes"
	"strings"
	"testing"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/internal/example"
)

// What can be read can be written and read again as the same; nothing panics.
func FuzzDecode(f *testing.F) {
	p := example.Plan(f, behaviors.ProfileSmoke, plan.Filters{})
	b := example.Open(f, p)
	example.RecordAll(f, b, p)
	r := b.Report()
	data, err := bundle.Encode(&r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("apiVersion: " + v1alpha2.APIVersion + "\nkind: ConformanceReport\nbehaviors: [{id: LB-01, level: core, verdict: skipped, skip: {class: user, reason: \"\\x7f\\u2028\"}}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := bundle.Decode(in)
		if err != nil {
			if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("not one sentence: %q", err)
			}
			return
		}
		one, err := bundle.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := bundle.Decode(one)
		if err != nil {
			t.Fatalf("what we wrote cannot be read: %v\n%s", err, one)
		}
		two, err := bundle.Encode(again)
		if err != nil || !bytes.Equal(one, two) {
			t.Fatalf("written twice, the bytes differ: %v", err)
		}
	})
}
