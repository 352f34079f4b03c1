package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/text"
)

// besideAgree holds the files beside the report against it that do not follow from it alone. A
// bundle may lack them: a run that was refused by its preflight has no Ginkgo report.
func (in *inspection) besideAgree() []string {
	return slices.Concat(in.preflightAgrees(), in.ginkgoAgrees())
}

func (in *inspection) preflightAgrees() []string {
	_, there := slices.BinarySearch(in.names, layout.PreflightFile)
	switch rows := in.report.Preflight; {
	case !there && len(rows) > 0:
		return []string{fmt.Sprintf("the report has %d preflight checks, and %s is missing", len(rows), layout.PreflightFile)}
	case !there:
		return nil
	case in.files[layout.PreflightFile].sum != sumOf(bundle.Preflight(rows)):
		return []string{layout.PreflightFile + " does not hold the preflight checks of the report"}
	}
	return nil
}

// maxGinkgoBytes and maxGinkgoSpecs bound what reading a hostile Ginkgo report costs. That of an
// honest run has some hundred specs and less than 1 MiB.
const (
	maxGinkgoBytes = 16 << 20
	maxGinkgoSpecs = 20_000
)

// few is a list that is not longer than it may be.
type few[T any] []T

func (l *few[T]) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return err // null is an empty list
	}
	for d.More() {
		var x T
		if err := d.Decode(&x); err != nil {
			return err
		}
		if *l = append(*l, x); len(*l) > maxGinkgoSpecs {
			return errors.New("the list is too long")
		}
	}
	return nil
}

// ginkgoSuite is what a report of Ginkgo says of verdicts.
type ginkgoSuite struct {
	SuiteSucceeded bool
	// SpecialSuiteFailureReasons has a reason when the suite was cut off: then Ginkgo waited for no
	// more specs, though some had ended.
	SpecialSuiteFailureReasons few[string]
	SpecReports                few[ginkgoSpec]
}

type ginkgoSpec struct {
	LeafNodeType   string
	LeafNodeLabels few[string] // the id is the first
	State          string
	ReportEntries  few[struct {
		Name  string
		Value struct{ AsJSON string }
	}]
}

// verdict is what the spec itself reported; empty when it reported nothing.
func (s *ginkgoSpec) verdict(id string) v1alpha2.Verdict {
	for _, e := range s.ReportEntries {
		var said struct {
			Verdict v1alpha2.Verdict `json:"verdict"`
		}
		if e.Name == id && json.Unmarshal([]byte(e.Value.AsJSON), &said) == nil {
			return said.Verdict
		}
	}
	return ""
}

func readGinkgo(data []byte) (*ginkgoSuite, error) {
	var suites few[ginkgoSuite]
	if err := json.Unmarshal(data, &suites); err != nil || len(suites) != 1 {
		return nil, errors.New(layout.GinkgoFile + " is not a report of one Ginkgo suite")
	}
	return &suites[0], nil
}

func (in *inspection) ginkgoAgrees() (wrong []string) {
	if _, there := slices.BinarySearch(in.names, layout.GinkgoFile); !there {
		return nil
	}
	data, err := bundle.ReadFile(in.root, layout.GinkgoFile, maxGinkgoBytes)
	switch {
	case err != nil:
		return one(err)
	case sumOf(data) != in.files[layout.GinkgoFile].sum:
		return []string{layout.GinkgoFile + " was changed while it was read"}
	}
	suite, err := readGinkgo(data)
	if err != nil {
		return one(err)
	}
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s: %s", layout.GinkgoFile, fmt.Sprintf(format, args...)))
	}
	specs := map[string]*ginkgoSpec{}
	failed := false
	for i := range suite.SpecReports {
		s := &suite.SpecReports[i]
		if s.LeafNodeType != "It" || len(s.LeafNodeLabels) == 0 {
			continue
		}
		id := s.LeafNodeLabels[0]
		if specs[id] != nil {
			say("%s appears twice", text.Line(id, 40))
		}
		specs[id] = s
	}
	for i := range in.report.Behaviors {
		b := &in.report.Behaviors[i]
		s := specs[b.ID]
		if s == nil {
			say("%s is missing", text.Line(b.ID, 40))
			continue
		}
		failed = failed || s.State == "failed"
		if said := s.verdict(b.ID); said != "" && said != b.Verdict || !fits(s.State, b, len(suite.SpecialSuiteFailureReasons) > 0) {
			say("%s is %s there, and %s in the report", text.Line(b.ID, 40), text.Line(s.State, 20), b.Verdict)
		}
	}
	if suite.SuiteSucceeded && failed {
		say("the suite succeeded and a spec of it failed")
	}
	return wrong
}

// fits reports whether Ginkgo's state of a spec can stand beside its verdict. Ginkgo has no word
// for a failure that is known, and skips it. What it did not wait for, because it was cut off or
// because of its own filters, has no verdict there.
func fits(state string, b *v1alpha2.BehaviorResult, cutOff bool) bool {
	switch state {
	case "passed":
		return b.Verdict == v1alpha2.Conformant
	case "failed":
		return b.Verdict == v1alpha2.NonConformant && b.Known == "" || b.Verdict == v1alpha2.Unknown
	case "skipped":
		return b.Verdict == v1alpha2.Skipped || b.Verdict == v1alpha2.Unknown || b.Known != "" || cutOff
	}
	return b.Verdict == v1alpha2.Unknown || cutOff // interrupted, timedout and others
}
