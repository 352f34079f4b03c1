package junit_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/junit"
	"ambient.test/conformance/reports/summary"
)

// junitForm is what Jenkins' schema for JUnit files allows of the elements that are written here:
// attributes, those of them that must be there, and children.
var junitForm = map[string]struct{ attributes, required, children []string }{
	"":           {nil, nil, []string{"testsuites"}},
	"testsuites": {[]string{"name", "time", "tests", "failures", "errors"}, nil, []string{"testsuite"}},
	"testsuite": {
		[]string{
			"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package", "file",
			"log", "url", "version",
		},
		[]string{"name"},
		[]string{"testsuite", "properties", "testcase", "system-out", "system-err"},
	},
	"properties": {nil, nil, []string{"property"}},
	"property":   {[]string{"name", "value"}, []string{"name", "value"}, nil},
	"testcase": {[]string{"name", "time", "classname", "group", "assertions", "status", "file", "line", "url"}, []string{"name"},
		[]string{"skipped", "error", "failure", "system-out", "system-err"}},
	"skipped":    {[]string{"type", "message"}, nil, nil},
	"error":      {[]string{"type", "message"}, nil, nil},
	"failure":    {[]string{"type", "message"}, nil, nil},
	"system-out": {},
	"system-err": {},
}

var junitTime = regexp.MustCompile(`^[0-9]+(\.[0-9]{0,3})?$`)

func checkJUnit(data []byte) error {
	d := xml.NewDecoder(bytes.NewReader(data))
	path := []string{""}
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			name, in := t.Name.Local, path[len(path)-1]
			form, known := junitForm[name]
			if !known || !slices.Contains(junitForm[in].children, name) {
				return fmt.Errorf("%s may not stand in %q", name, in)
			}
			var there []string
			for _, a := range t.Attr {
				there = append(there, a.Name.Local)
				if !slices.Contains(form.attributes, a.Name.Local) {
					return fmt.Errorf("%s has no attribute %s", name, a.Name.Local)
				}
				if a.Name.Local == "time" && !junitTime.MatchString(a.Value) {
					return fmt.Errorf("%s: the time %q is no number of seconds", name, a.Value)
				}
			}
			for _, r := range form.required {
				if !slices.Contains(there, r) {
					return fmt.Errorf("%s lacks %s", name, r)
				}
			}
			path = append(path, name)
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
}

func TestJUnitHasJenkinsForm(t *testing.T) {
	rich := example.Rich(t)
	hostile := *rich
	hostile.Behaviors = slices.Clone(rich.Behaviors)
	for i := range hostile.Behaviors {
		b := &hostile.Behaviors[i]
		b.Message, b.Promise = "]]></failure>\x1b[31m\x00\ufffe&<!--"+b.Message, b.Promise+`"><x>`
		b.Observations = append(slices.Clone(b.Observations), "</system-out>", strings.Repeat("long ", 4000))
	}
	for name, r := range map[string]*v1alpha2.ConformanceReport{"rich": rich, "hostile": &hostile, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := junit.Write(&out, r); err != nil {
				t.Fatal(err)
			}
			if err := checkJUnit(out.Bytes()); err != nil {
				t.Error(err)
			}
			got, err := junit.Verdicts(out.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]v1alpha2.Verdict{}
			for _, b := range r.Behaviors {
				want[b.ID] = b.Verdict
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			if n := out.Len(); n > 64<<10+len(r.Behaviors)*3*junit.MaxText {
				t.Errorf("logs are not trimmed: %d bytes", n)
			}
		})
	}
	for _, bad := range []string{
		`<testsuites><testcase name="a"/></testsuites>`, `<testsuites><testsuite/></testsuites>`, `<testsuites time="1 s"/>`,
		`<testsuite name="a"/>`, `<testsuites><testsuite name="a" color="red"/></testsuites>`,
	} {
		t.Run(bad, func(t *testing.T) {
			if checkJUnit([]byte(bad)) == nil {
				t.Error("the check lets it pass")
			}
		})
	}
}

func TestJUnitTellsAll(t *testing.T) {
	r := example.Rich(t)
	var out bytes.Buffer
	if err := junit.Write(&out, r); err != nil {
		t.Fatal(err)
	}
	flaky := summary.Flaky(r)[0].ID
	for _, want := range []string{
		`<testsuite name="GW East-west gateway"`, `name="LB-01 ` + behaviors.ByID("LB-01").Promise + `" classname="amc.balancing"`,
		`<failure message="client of cluster1 -&gt; echo.amc-lb (global) expected: answers`, `type="non-conformant"`,
		`<error message="the pods of echo were not ready`,
		`<skipped message="user: taken out by the user: DNS"`, "evidence: evidence/LB-01/calls.txt", "outcome: fails-closed",
		`<property name="istio" value="1.31.0"`, `<property name="flaky in the run" value="1"`, `<property name="flaky" value="` + flaky + `"`,
		"flaky: 2 attempts, the last counts",
		`<property name="coverage" value="`,
		`<property name="stand-in for ztunnel" value="nodeproxy speaks`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

// A known violation must not fail a CI job, and reads back as the violation that it is.
func TestKnownViolationIsASkip(t *testing.T) {
	example.KnowFault(t, "LB-01")
	r := example.Rich(t)
	i := slices.IndexFunc(r.Behaviors, func(b v1alpha2.BehaviorResult) bool { return b.ID == "LB-01" })
	r.Behaviors[i].Verdict, r.Behaviors[i].Message = v1alpha2.NonConformant, "one cluster answered"
	failed := r.Summary.NonConformant
	summary.Fill(r)
	var out bytes.Buffer
	if err := junit.Write(&out, r); err != nil {
		t.Fatal(err)
	}
	if err := checkJUnit(out.Bytes()); err != nil {
		t.Error(err)
	}
	if want := `<skipped message="known: finding F-90: one cluster answered" type="known"`; !strings.Contains(out.String(), want) {
		t.Errorf("it does not say %q", want)
	}
	if want := fmt.Sprintf(`failures="%d"`, failed); !strings.Contains(out.String(), want) {
		t.Errorf("the known violation is counted as a failure, want %s", want)
	}
	got, err := junit.Verdicts(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got["LB-01"] != v1alpha2.NonConformant {
		t.Errorf("LB-01 reads back as %s, want %s", got["LB-01"], v1alpha2.NonConformant)
	}
}
