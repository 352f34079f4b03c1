package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/reports/api/v1alpha2"
)

var whole = v1alpha2.Implementation{
	Organization: "Example", Project: "mesh", Version: "v1.2.3", URL: "https://mesh.example.com", Contact: []string{"conformance@example.com"},
}

func TestReadImplementation(t *testing.T) {
	const text = "organization: Example\nproject: mesh\nversion: v1.2.3\nurl: https://mesh.example.com\ncontact: [conformance@example.com]\n"
	for name, c := range map[string]struct {
		text string // empty: no file
		want v1alpha2.Implementation
		err  string
	}{
		"whole":            {text: text, want: whole},
		"an unknown field": {text: "company: a\n", err: "it holds organization"},
		"no file":          {err: "no such file"},
		"a large file":     {text: strings.Repeat("# x\n", 20<<10), err: "larger than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "implementation.yaml")
			if c.text != "" {
				if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := ReadImplementation(file)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c.err == "" && err != nil {
				t.Errorf("got %v, want none", err)
			}
			if c.err != "" && !strings.Contains(fmt.Sprint(err), c.err) {
				t.Errorf("got error %v, want one with %q", err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
		})
	}
}

func TestCertifiable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha2.ConformanceReport)
		want   []string // nothing: it may be certified
	}{
		"whole": {func(*v1alpha2.ConformanceReport) {}, nil},
		"nobody is named": {func(r *v1alpha2.ConformanceReport) { r.Implementation = v1alpha2.Implementation{} },
			[]string{"the implementation's organization is missing", "(rule C05)"}},
		"a branch": {func(r *v1alpha2.ConformanceReport) { r.Implementation.Version = "main" }, []string{`"main" is not a release`}},
		"several at once": {func(r *v1alpha2.ConformanceReport) { r.Filters.Include = []string{"LB"}; r.Suite.Dirty = true },
			[]string{"(rule C01)", "(rule C06)"}},
		"loose limits": {func(r *v1alpha2.ConformanceReport) {
			r.Timeouts = limits(spec.Times{Convergence: time.Hour, Spec: time.Hour})
		}, []string{"(settle) is 3600 s", "(hold) is 0 s", "(spec) is 3600 s", "(rule C10)"}},
		"stand-ins": {func(r *v1alpha2.ConformanceReport) { r.Environment.StandIns = []v1alpha2.StandIn{{Name: "ztunnel"}} },
			[]string{"something stands in for ztunnel"}},
	} {
		t.Run(name, func(t *testing.T) {
			head := &v1alpha2.ConformanceReport{
				Mode: v1alpha2.ModeCertified, Profile: "core", Implementation: whole,
				Suite:       v1alpha2.Suite{Version: "v0.1.0", Commit: strings.Repeat("a", 40)},
				Timeouts:    limits(spec.DefaultTimes),
				Environment: v1alpha2.Environment{Images: []v1alpha2.Image{{Name: "pilot", Digest: "sha256:" + strings.Repeat("0", 64)}}},
			}
			c.change(head)
			err := certifiable(head)
			if len(c.want) == 0 {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			var usage UsageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a UsageError", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}
