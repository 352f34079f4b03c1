package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ambient.test/conformance/reports/api/v1alpha2"
)

func TestVendor(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	whole := file("whole.yaml", "organization: Example\nproject: mesh\nversion: v1.2.3\nurl: https://mesh.example.com\ncontact: [conformance@example.com]\n")
	head := func() *v1alpha2.ConformanceReport {
		return &v1alpha2.ConformanceReport{
			Mode: v1alpha2.ModeConformance, Profile: "core", Suite: v1alpha2.Suite{Version: "v0.1.0", Commit: strings.Repeat("a", 40)},
			Environment: v1alpha2.Environment{Images: []v1alpha2.Image{{Name: "pilot", Digest: "sha256:" + strings.Repeat("0", 64)}}},
		}
	}
	r := head()
	if err := (&vendor{certified: true, file: whole}).apply(r); err != nil {
		t.Fatal(err)
	}
	if r.Mode != v1alpha2.ModeCertified || r.Implementation.URL != "https://mesh.example.com" || len(r.Implementation.Contact) != 1 {
		t.Errorf("%+v", r)
	}
	r = head()
	if err := (&vendor{file: whole}).apply(r); err != nil || r.Mode != v1alpha2.ModeConformance || r.Implementation.Project != "mesh" {
		t.Errorf("%v %+v", err, r)
	}
	for name, c := range map[string]struct {
		vendor vendor
		change func(*v1alpha2.ConformanceReport)
		want   []string
	}{
		"nobody is named":  {vendor{certified: true}, func(*v1alpha2.ConformanceReport) {}, []string{"the implementation's organization is missing", "(rule C05)"}},
		"a branch":         {vendor{certified: true, file: file("branch.yaml", "organization: a\nproject: b\nversion: main\nurl: https://a.example\ncontact: ['@a']\n")}, func(*v1alpha2.ConformanceReport) {}, []string{`"main" is not a release`}},
		"several at once":  {vendor{certified: true, file: whole}, func(r *v1alpha2.ConformanceReport) { r.Filters.Include = []string{"LB"}; r.Suite.Dirty = true }, []string{"(rule C01)", "(rule C06)"}},
		"stand-ins":        {vendor{certified: true, file: whole}, func(r *v1alpha2.ConformanceReport) { r.Environment.StandIns = []v1alpha2.StandIn{{Name: "ztunnel"}} }, []string{"something stands in for ztunnel"}},
		"an unknown field": {vendor{file: file("odd.yaml", "company: a\n")}, func(*v1alpha2.ConformanceReport) {}, []string{"company", "it holds organization"}},
		"no file":          {vendor{file: filepath.Join(dir, "none")}, func(*v1alpha2.ConformanceReport) {}, []string{"no such file"}},
		"a large file":     {vendor{file: file("large.yaml", strings.Repeat("# x\n", 20<<10))}, func(*v1alpha2.ConformanceReport) {}, []string{"larger than 64 KiB"}},
	} {
		r := head()
		c.change(r)
		err := c.vendor.apply(r)
		var e exit
		if !errors.As(err, &e) || e.code != exitUsage || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}
