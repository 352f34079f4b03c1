package bundle_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/layout"
)

// A report of another version of the API is refused in one sentence that says what to do.
func TestReportOfAnotherVersion(t *testing.T) {
	b := example.Open(t, example.Plan(t, behaviors.ProfileSmoke, plan.Filters{}))
	name := filepath.Join(b.Dir(), layout.ReportFile)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(v1alpha2.APIVersion), []byte(api.Group+"/v1alpha1"), 1)
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = bundle.Read(b.Dir())
	var version *bundle.VersionError
	if !errors.As(err, &version) {
		t.Fatalf("got %v, want a VersionError", err)
	}
	want := "the report is of \"amc.ambient.test/v1alpha1\", and this release of amc reads only amc.ambient.test/v1alpha2: " +
		"run the suite again with this release, or use the release of amc that wrote the report"
	if diff := cmp.Diff(want, version.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsNotAReport(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"another kind":  {"apiVersion: v1\nkind: Pod\n", `it is a "Pod" of "v1"`},
		"a fleet file":  {"apiVersion: " + api.Group + "/v1alpha1\nrunID: x\n", `it is a "" of`},
		"not a mapping": {"just words\n", "it is not a report"},
		"empty":         {"", "it is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bundle.Decode([]byte(c.text))
			if err == nil {
				t.Fatal("it is taken for a report")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to contain %q", err, c.want)
			}
		})
	}
}

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
	f.Add([]byte("apiVersion: " + v1alpha2.APIVersion + "\nkind: ConformanceReport\n" +
		"behaviors: [{id: LB-01, level: core, verdict: skipped, skip: {class: user, reason: \"\\x7f\\u2028\"}}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	// Of the attack: numbers that cost, lists in lists, breaks of lines that not all readers know, tags,
	// directives, keys that are the same for some.
	for _, seed := range []string{
		"behaviors: [{attempts: -1e-999999}]\n", "seed: 0." + strings.Repeat("1", 500) + "\n", "seed: 0o17\n", "seed: .nan\n",
		"notAutomated:\n" + strings.Repeat("- ", 30) + "x\n", strings.Repeat("[", 5000), "mode: smoke #\u0085mode: certified\n",
		"mode: \"a\u2028b\"\n", "!!binary aGk=: b\n", "%YAML 1.1\n---\na: yes\n", "m\\x6fde: a\nmode: b\n", "a: b\r\rc: d\n",
		"a: 1\n...\nb: 2\n", "\ufeffkind: x\n", "<<: {a: b}\n", "Mode: smoke\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := bundle.Decode(in)
		if err != nil {
			if len(err.Error()) > 400 {
				t.Fatalf("too long for a sentence: %q", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("not one line: %q", err)
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
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Fatal("written twice, the bytes differ")
		}
	})
}
