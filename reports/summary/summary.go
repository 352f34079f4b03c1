// Package summary computes what follows from a report's behaviors and says it in words: counts,
// result and exit code, the table for the terminal and the Markdown for a CI job's page.
package summary

import (
	"math"
	"slices"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Exit codes of the command. Those of a run are what [ExitCode] returns.
const (
	ExitConformant    = 0
	ExitNonConformant = 1 // a promise was seen broken
	ExitUnknown       = 2 // unknown or partial: nothing was learned of something that the profile promises
	ExitUsage         = 3
)

// NeverRan is the message of a behavior that was planned and has not had its turn.
const NeverRan = "it was planned and never ran"

// ExitCode is the exit code of a run with this report.
func ExitCode(r *v1alpha2.ConformanceReport) int {
	switch r.Result {
	case v1alpha2.Success, v1alpha2.Recorded:
		return ExitConformant
	case v1alpha2.Failure:
		return ExitNonConformant
	}
	return ExitUnknown
}

// Fill sets every field of a report that follows from its other fields: what is flaky or known,
// counts, features, percentiles and result. Verify compares a report with it.
func Fill(r *v1alpha2.ConformanceReport) {
	for i := range r.Behaviors {
		b := &r.Behaviors[i]
		b.Flaky = b.Attempts > 1
	}
	fillKnown(r)
	fillCounts(r)
	fillFeatures(r)
	r.Convergence = convergenceOf(r)
	r.Result = resultOf(r)
}

// Filled is a copy of the report in which every field that follows from others does.
func Filled(r *v1alpha2.ConformanceReport) *v1alpha2.ConformanceReport {
	c := *r
	c.Features, c.Behaviors = slices.Clone(r.Features), slices.Clone(r.Behaviors)
	Fill(&c)
	return &c
}

// fillKnown marks the violations that are known of the version, and those that were and hold now.
func fillKnown(r *v1alpha2.ConformanceReport) {
	if r.Catalog.Digest != behaviors.Digest() {
		return
	}
	for i := range r.Behaviors {
		b := &r.Behaviors[i]
		b.Known, b.Fixed = "", ""
		switch fault := KnownFault(r, b.ID); {
		case fault == nil:
		case b.Verdict == v1alpha2.NonConformant && fault.Explains(b.Message):
			b.Known = fault.Finding
		case b.Verdict == v1alpha2.Conformant && !fault.Sporadic:
			b.Fixed = fault.Finding
		}
	}
}

// KnownFault is the fault by which the version under test is known to break a behavior; nil when
// none is known, and in certified runs, where none counts. The faults are those of this build's
// catalog: of another one nothing is known here.
func KnownFault(r *v1alpha2.ConformanceReport, id string) *behaviors.Known {
	version, err := behaviors.ParseVersion(r.Environment.Istio)
	b := behaviors.ByID(id)
	if err != nil || b == nil || r.Mode == v1alpha2.ModeCertified || r.Catalog.Digest != behaviors.Digest() {
		return nil
	}
	return b.KnownIn(version, r.Environment.StandInParts())
}

func fillCounts(r *v1alpha2.ConformanceReport) {
	r.Summary, r.Levels, r.Chapters = v1alpha2.Counts{}, nil, nil
	levels, chapters := map[string]*v1alpha2.Counts{}, map[string]*v1alpha2.Counts{}
	count := func(m map[string]*v1alpha2.Counts, name string, b *v1alpha2.BehaviorResult) {
		if m[name] == nil {
			m[name] = &v1alpha2.Counts{}
		}
		m[name].Add(b)
	}
	for i := range r.Behaviors {
		b := &r.Behaviors[i]
		r.Summary.Add(b)
		count(levels, b.Level, b)
		count(chapters, b.Chapter, b)
	}
	for _, l := range behaviors.Levels {
		if c := levels[string(l)]; c != nil {
			r.Levels = append(r.Levels, v1alpha2.Group{Name: string(l), Counts: *c})
		}
	}
	for _, c := range behaviors.Chapters {
		if n := chapters[c.Prefix]; n != nil {
			r.Chapters = append(r.Chapters, v1alpha2.Group{Name: c.Prefix, Counts: *n})
		}
	}
}

func fillFeatures(r *v1alpha2.ConformanceReport) {
	verdicts := make(map[string]v1alpha2.Verdict, len(r.Behaviors))
	for _, b := range r.Behaviors {
		verdicts[b.ID] = b.Verdict
	}
	for i := range r.Features {
		f := &r.Features[i]
		f.Supported = len(f.Behaviors) > 0
		for _, id := range f.Behaviors {
			f.Supported = f.Supported && verdicts[id] == v1alpha2.Conformant
		}
	}
}

// convergenceOf is nil when nothing was measured.
func convergenceOf(r *v1alpha2.ConformanceReport) *v1alpha2.Convergence {
	var times []float64
	for _, b := range r.Behaviors {
		times = append(times, b.ConvergeSeconds...)
	}
	if len(times) == 0 {
		return nil
	}
	slices.Sort(times)
	at := func(p float64) float64 { return times[int(math.Ceil(p*float64(len(times))))-1] }
	return &v1alpha2.Convergence{Samples: len(times), P50: at(.50), P90: at(.90), P99: at(.99), Max: times[len(times)-1]}
}

func resultOf(r *v1alpha2.ConformanceReport) v1alpha2.Result {
	switch {
	case r.Summary.NonConformant > 0:
		return v1alpha2.Failure
	case len(Shortfalls(r)) > 0:
		return v1alpha2.Partial
	case mustCover(r) == behaviors.Limitation:
		return v1alpha2.Recorded
	}
	return v1alpha2.Success
}
