// Package bundle writes and reads bundles. A bundle is the directory that holds what a run found:
// it is valid at every moment of the run and closed on any exit.
//
// The package never talks to a cluster. All files but the evidence are rendered from report.yaml
// and can be rendered again.
package bundle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
)

// Bundle is a bundle that is being written. Its methods may be called from several goroutines.
//
// After every change report.yaml and junit.xml are whole and valid on disk. A run that is killed
// leaves a report in which everything that never ran is unknown.
type Bundle struct {
	mu     sync.Mutex
	dir    string
	root   *os.Root
	begin  time.Time
	report *v1alpha2.ConformanceReport
	index  map[string]int
	closed bool
}

// Open begins a bundle in dir with the report that [Planned] returns. It removes an older bundle
// there and nothing else.
func Open(dir string, head v1alpha2.ConformanceReport, p *plan.Plan) (*Bundle, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the bundle's directory cannot be created: %w", err)
	}
	root, err := OpenDir(dir)
	if err != nil {
		return nil, err
	}
	if err := removeOld(root, dir); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	b := &Bundle{dir: dir, root: root, begin: time.Now(), index: map[string]int{}}
	if head.Date.IsZero() {
		head.Date = b.begin
	}
	b.report = Planned(head, p)
	for i, x := range b.report.Behaviors {
		b.index[x.ID] = i
	}
	return b, b.save()
}

// Planned is the report of a run that has not begun: nothing ran yet. It overwrites what follows
// from the plan in head: catalog, profile, filters, features and behaviors.
func Planned(head v1alpha2.ConformanceReport, p *plan.Plan) *v1alpha2.ConformanceReport {
	r := &head
	r.APIVersion, r.Kind, r.Finished = v1alpha2.APIVersion, v1alpha2.Kind, false
	r.Date = r.Date.UTC().Truncate(time.Second)
	r.Catalog = v1alpha2.Catalog{Digest: behaviors.Digest(), Behaviors: len(behaviors.All())}
	r.Profile = string(p.Profile)
	r.Filters = v1alpha2.Filters{Include: p.Filters.Include, Exclude: p.Filters.Exclude}
	r.Behaviors, r.NotAutomated, r.Features = []v1alpha2.BehaviorResult{}, nil, nil
	for _, e := range p.Run {
		r.Behaviors = append(r.Behaviors, v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Unknown, Message: summary.NeverRan})
	}
	for _, e := range p.Skip {
		why := &v1alpha2.Skip{Class: string(e.Class), Reason: e.Reason}
		r.Behaviors = append(r.Behaviors, v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Skipped, Skip: why})
	}
	slices.SortFunc(r.Behaviors, func(a, b v1alpha2.BehaviorResult) int { return behaviors.CompareIDs(a.ID, b.ID) })
	for i := range r.Behaviors {
		fillFromCatalog(&r.Behaviors[i])
	}
	for _, e := range p.NotAutomated {
		r.NotAutomated = append(r.NotAutomated, e.Behavior.ID)
	}
	for f, ids := range p.Claims() {
		r.Features = append(r.Features, v1alpha2.Feature{Name: string(f), Behaviors: ids})
	}
	slices.SortFunc(r.Features, func(a, b v1alpha2.Feature) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// fillFromCatalog sets chapter, level and promise.
func fillFromCatalog(x *v1alpha2.BehaviorResult) {
	if k := behaviors.ByID(x.ID); k != nil {
		x.Chapter, x.Level, x.Promise = k.Chapter().Prefix, string(k.Level), k.Promise
	} else {
		x.Chapter, _, _ = strings.Cut(x.ID, "-")
	}
}

// removeOld removes an older bundle. It refuses a directory that holds files of these names but no
// report.
func removeOld(root *os.Root, dir string) error {
	var there []string
	for _, n := range append(slices.Clone(layout.Files), layout.EvidenceDir, layout.SumsFile, layout.SignatureFile) {
		if _, err := root.Lstat(n); err == nil {
			there = append(there, n)
		}
	}
	if len(there) == 0 {
		return nil
	}
	if !holdsReport(root) {
		return fmt.Errorf("%s holds %s but no report of this suite, so nothing there is overwritten: choose another directory",
			dir, strings.Join(there, ", "))
	}
	// The report is removed last. Until then the directory is recognized as a bundle.
	slices.Reverse(there)
	for _, n := range there {
		if err := root.RemoveAll(n); err != nil {
			return fmt.Errorf("the bundle of an earlier run cannot be removed: %w", err)
		}
	}
	return nil
}

// holdsReport reports whether the report file begins like a report of any version.
func holdsReport(root *os.Root) bool {
	f, err := root.Open(layout.ReportFile)
	if err != nil {
		return false
	}
	defer f.Close()
	head, err := bufio.NewReader(io.LimitReader(f, 200)).ReadString(0)
	return (err == nil || errors.Is(err, io.EOF)) &&
		strings.Contains(head, "apiVersion: "+api.Group+"/") && strings.Contains(head, "kind: "+v1alpha2.Kind)
}

// Dir is the bundle's directory.
func (b *Bundle) Dir() string { return b.dir }

// Record stores the result of one behavior. The last record of an id counts, and keeps the messages of
// those before it. Attempts add up unless the record says how many there were.
func (b *Bundle) Record(x v1alpha2.BehaviorResult) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.index[x.ID]
	switch {
	case !ok:
		return fmt.Errorf("%s was not planned and cannot be recorded", x.ID)
	case b.closed:
		return fmt.Errorf("%s cannot be recorded: the bundle is closed", x.ID)
	case !slices.Contains(v1alpha2.Verdicts, x.Verdict):
		return fmt.Errorf("%s: %q is not a verdict", x.ID, x.Verdict)
	case (x.Verdict == v1alpha2.Skipped) != (x.Skip != nil):
		return fmt.Errorf("%s: exactly the verdict skipped has a class and a reason", x.ID)
	case x.Skip != nil && (!slices.Contains(plan.Classes, plan.Class(x.Skip.Class)) || x.Skip.Reason == ""):
		return fmt.Errorf("%s: a skip needs one of the classes %v and a reason, not %q %q", x.ID, plan.Classes, x.Skip.Class, x.Skip.Reason)
	}
	if k := behaviors.ByID(x.ID); x.Verdict == v1alpha2.Conformant && (x.Outcome != "" || k.Outcomes != nil) {
		if _, acceptable, known := k.Outcome(x.Outcome); !known || !acceptable {
			return fmt.Errorf("%s: it cannot be conformant with the outcome %q, which is not acceptable", x.ID, x.Outcome)
		}
		for _, row := range x.Rows {
			if _, acceptable, known := k.Outcome(row.Outcome); !known || !acceptable {
				return fmt.Errorf("%s: it cannot be conformant with the outcome %q in one row, which is not acceptable", x.ID, row.Outcome)
			}
		}
	}
	if x.Attempts == 0 && x.Verdict != v1alpha2.Skipped {
		before := b.report.Behaviors[i]
		x.Attempts = before.Attempts + 1
		if before.Attempts > 0 && before.Message != "" {
			x.Uncounted = append(slices.Clone(before.Uncounted), before.Message)
		}
	}
	fillFromCatalog(&x)
	x.Message, x.Outcome = clean(x.Message), clean(x.Outcome)
	for j := range x.Rows {
		x.Rows[j].Row = clean(x.Rows[j].Row)
	}
	for j := range x.Observations {
		x.Observations[j] = clean(x.Observations[j])
	}
	x.Seconds = milli(x.Seconds)
	for j := range x.ConvergeSeconds {
		x.ConvergeSeconds[j] = milli(x.ConvergeSeconds[j])
	}
	x.Evidence = nil // listed from the directory when the bundle is closed
	b.report.Behaviors[i] = x
	return b.save()
}

const maxText = 16 << 10

// clean redacts text from outside the suite, makes it valid UTF-8 and bounds its length.
func clean(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(string(redact.Bytes([]byte(s))), "\ufffd"))
	s = strings.ReplaceAll(s, "\x00", "\ufffd")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "\n… cut; the whole text is in the evidence"
	}
	return s
}

func milli(seconds float64) float64 {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return 0
	}
	return math.Round(seconds*1000) / 1000
}

// Update changes the other fields of the report. It keeps the recorded behaviors and recomputes
// what follows from them.
func (b *Bundle) Update(change func(*v1alpha2.ConformanceReport)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("the report cannot be changed: the bundle is closed")
	}
	results := b.report.Behaviors
	change(b.report)
	b.report.Behaviors = results
	return b.save()
}

// Report is a copy of the current report. Its lists must not be changed.
func (b *Bundle) Report() v1alpha2.ConformanceReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := *b.report
	r.Behaviors = slices.Clone(r.Behaviors)
	return r
}

// EvidenceDir creates and returns the folder for the evidence of one behavior.
func (b *Bundle) EvidenceDir(id string) (string, error) {
	if behaviors.ByID(id) == nil {
		return "", fmt.Errorf("evidence of %q: there is no behavior with this id", id)
	}
	if err := b.root.MkdirAll(layout.EvidenceOf(id), 0o755); err != nil {
		return "", fmt.Errorf("evidence of %s: %w", id, err)
	}
	return filepath.Join(b.dir, filepath.FromSlash(layout.EvidenceOf(id))), nil
}

// AttachGinkgo writes ginkgo.json.
func (b *Bundle) AttachGinkgo(data []byte) error { return WriteFile(b.root, layout.GinkgoFile, data) }

// RecordPreflight records the preflight checks, in the report and in preflight.json.
func (b *Bundle) RecordPreflight(checks []v1alpha2.Check) error {
	err := b.Update(func(x *v1alpha2.ConformanceReport) { x.Preflight = checks })
	return errors.Join(err, WriteFile(b.root, layout.PreflightFile, Preflight(checks)))
}

// Preflight is the content of preflight.json.
func Preflight(checks []v1alpha2.Check) []byte {
	data, _ := json.MarshalIndent(append([]v1alpha2.Check{}, checks...), "", "  ") // strings always encode
	return append(data, '\n')
}

// save writes report.yaml and junit.xml. The caller holds the lock.
func (b *Bundle) save() error {
	b.report.WallSeconds = milli(time.Since(b.begin).Seconds())
	summary.Fill(b.report)
	return writeReport(b.root, b.report)
}
