package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"ambient.test/conformance/reports/api/v1alpha2"
)

func TestPrintTrials(t *testing.T) {
	found := func(mutant, id string, broken, restored v1alpha2.Verdict, message string) trial {
		return trial{mutant: mutant, id: id, broken: broken, restored: restored, message: message}
	}
	killed := found("M01", "A-01", v1alpha2.NonConformant, v1alpha2.Conformant, "a.go:1: client -> echo\nexpected 1\nseen     2")
	byControl := found("M01", "A-02", v1alpha2.NonConformant, v1alpha2.Conformant, "a.go:2: control: client -> echo")
	again := found("M02", "A-02", v1alpha2.NonConformant, v1alpha2.Conformant, "a.go:3: client -> echo")
	for name, c := range map[string]struct {
		all  []trial
		err  error
		code int // 0: no error
		says []string
		not  string
	}{
		"all killed": {[]trial{killed}, nil, 0, []string{"killed", "client -> echo: 2"}, "Only a control"},
		"by its control alone": {[]trial{killed, byControl}, nil, 0,
			[]string{"Only a control was seen failing, not the expectation itself: A-02\n"}, "A-01,"},
		"by its expectation elsewhere": {[]trial{byControl, again}, nil, 0, nil, "Only a control"},
		"survivor": {[]trial{killed, found("M02", "A-03", v1alpha2.Conformant, v1alpha2.Conformant, "")}, nil,
			exitNonConformant, []string{"SURVIVED"}, ""},
		"unknown on the mutant": {[]trial{found("M02", "A-03", v1alpha2.Unknown, v1alpha2.Conformant, "")}, nil, exitUnknown,
			[]string{"unclear"}, "killed"},
		"not restored": {[]trial{found("M02", "A-03", v1alpha2.NonConformant, v1alpha2.NonConformant, "")}, nil,
			exitUnknown, []string{"killed, not restored"}, ""},
		"could not go on": {[]trial{killed}, unknown(errors.New("no fleet")), exitUnknown, []string{"killed"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := printTrials(&out, c.all, c.err)
			var e exit
			if (c.code == 0) != (err == nil) || c.code != 0 && (!errors.As(err, &e) || e.code != c.code) {
				t.Errorf("error %v, want exit code %d", err, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%q is not in\n%s", s, &out)
				}
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("%q is in\n%s", c.not, &out)
			}
		})
	}
}
