package reports

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Names of a bundle's files. A bundle may live in a directory with other files (a fleet's state, for example): only these belong to it.
const (
	ReportFile    = "report.yaml"
	JUnitFile     = "junit.xml"
	HTMLFile      = "report.html"
	MarkdownFile  = "summary.md"
	GinkgoFile    = "ginkgo.json"
	PreflightFile = "preflight.json"
	EvidenceDir   = "evidence" // one folder per behavior id
	SumsFile      = "SHA256SUMS"
	SignatureFile = "attestation.dsse.json" // made by `amc sign`; not in SHA256SUMS, which it signs
)

// bundleFiles are all files at the top of a bundle that SHA256SUMS lists.
var bundleFiles = []string{ReportFile, JUnitFile, HTMLFile, MarkdownFile, GinkgoFile, PreflightFile}

// neverRan is the message of a behavior that was planned and did not get its turn.
const neverRan = "it was planned and never ran"

// Bundle is a bundle being written. Its methods may be called from several goroutines.
//
// After every change report.yaml and junit.xml are whole and valid on disk, so that a run that is killed leaves a report in which what never ran is unknown.
type Bundle struct {
	mu     sync.Mutex
	dir    string
	begin  time.Time
	report *v1alpha2.ConformanceReport
	index  map[string]int
	closed bool
}

// Open begins a bundle in dir. An older bundle there is removed; nothing else is. The head's date, catalog, profile, filters and behaviors follow from the
// plan and need not be set.
func Open(dir string, head v1alpha2.ConformanceReport, p *plan.Plan) (*Bundle, error) {
	if err := removeOld(dir); err != nil {
		return nil, err
	}
	b := &Bundle{dir: dir, begin: time.Now(), index: map[string]int{}}
	r := &head
	r.APIVersion, r.Kind, r.Finished = v1alpha2.APIVersion, v1alpha2.Kind, false
	if r.Date.IsZero() {
		r.Date = b.begin
	}
	r.Date = r.Date.UTC().Truncate(time.Second)
	r.Catalog = v1alpha2.Catalog{Digest: behaviors.Digest(), Behaviors: len(behaviors.All())}
	r.Profile = string(p.Profile)
	r.Filters = v1alpha2.Filters{Include: p.Filters.Include, Exclude: p.Filters.Exclude}
	r.Behaviors, r.NotAutomated, r.Features = []v1alpha2.BehaviorResult{}, nil, nil
	for _, e := range p.Run {
		r.Behaviors = append(r.Behaviors, v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Unknown, Message: neverRan})
	}
	for _, e := range p.Skip {
		r.Behaviors = append(r.Behaviors, v1alpha2.BehaviorResult{ID: e.Behavior.ID, Verdict: v1alpha2.Skipped, Skip: &v1alpha2.Skip{Class: string(e.Class), Reason: e.Reason}})
	}
	slices.SortFunc(r.Behaviors, func(a, b v1alpha2.BehaviorResult) int { return behaviors.CompareIDs(a.ID, b.ID) })
	for i := range r.Behaviors {
		b.describe(&r.Behaviors[i])
		b.index[r.Behaviors[i].ID] = i
	}
	for _, e := range p.NotAutomated {
		r.NotAutomated = append(r.NotAutomated, e.Behavior.ID)
	}
	for f, ids := range p.Claims() {
		r.Features = append(r.Features, v1alpha2.Feature{Name: string(f), Behaviors: ids})
	}
	slices.SortFunc(r.Features, func(a, b v1alpha2.Feature) int { return strings.Compare(a.Name, b.Name) })
	b.report = r
	return b, b.save()
}

// describe fills in what the catalog knows.
func (b *Bundle) describe(x *v1alpha2.BehaviorResult) {
	if k := behaviors.ByID(x.ID); k != nil {
		x.Chapter, x.Level, x.Promise = k.Chapter().Prefix, string(k.Level), k.Promise
	} else {
		x.Chapter, _, _ = strings.Cut(x.ID, "-")
	}
}

// removeOld removes an older bundle, and refuses a directory whose files of these names are not one.
func removeOld(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the bundle's directory cannot be made: %w", err)
	}
	var there []string
	for _, n := range append(slices.Clone(bundleFiles), EvidenceDir, SumsFile, SignatureFile) {
		if _, err := os.Lstat(filepath.Join(dir, n)); err == nil {
			there = append(there, n)
		}
	}
	if len(there) == 0 {
		return nil
	}
	if !isReport(filepath.Join(dir, ReportFile)) {
		return fmt.Errorf("%s holds %s but no report of ours, so nothing there is overwritten: choose another directory", dir, strings.Join(there, ", "))
	}
	// The report goes last: until then the directory is known as ours.
	slices.Reverse(there)
	for _, n := range there {
		if err := os.RemoveAll(filepath.Join(dir, n)); err != nil {
			return fmt.Errorf("the bundle of an earlier run cannot be removed: %w", err)
		}
	}
	return nil
}

func isReport(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head, err := bufio.NewReader(io.LimitReader(f, 200)).ReadString(0)
	return (err == nil || errors.Is(err, io.EOF)) && strings.Contains(head, "apiVersion: "+v1alpha2.APIVersion) && strings.Contains(head, "kind: "+v1alpha2.Kind)
}

// Dir is the bundle's directory.
func (b *Bundle) Dir() string { return b.dir }

// Record keeps what was found of one behavior. The last record of an id counts; attempts add up unless the record says how many there were.
func (b *Bundle) Record(x v1alpha2.BehaviorResult) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.index[x.ID]
	switch {
	case !ok:
		return fmt.Errorf("%s was not planned and cannot be recorded", x.ID)
	case b.closed:
		return fmt.Errorf("%s is recorded after the bundle was closed", x.ID)
	case !slices.Contains(v1alpha2.Verdicts, x.Verdict):
		return fmt.Errorf("%s: %q is no verdict", x.ID, x.Verdict)
	case (x.Verdict == v1alpha2.Skipped) != (x.Skip != nil):
		return fmt.Errorf("%s: a skip and only a skip has a class and a reason", x.ID)
	case x.Skip != nil && (!slices.Contains(plan.Classes, plan.Class(x.Skip.Class)) || x.Skip.Reason == ""):
		return fmt.Errorf("%s: a skip needs one of the classes %v and a reason, not %q %q", x.ID, plan.Classes, x.Skip.Class, x.Skip.Reason)
	}
	if k := behaviors.ByID(x.ID); x.Verdict == v1alpha2.Conformant && (x.Outcome != "" || k.Outcomes != nil) {
		if _, acceptable, known := k.Outcome(x.Outcome); !known || !acceptable {
			return fmt.Errorf("%s: the outcome %q is not among those that are acceptable, so it cannot be conformant", x.ID, x.Outcome)
		}
	}
	if x.Attempts == 0 && x.Verdict != v1alpha2.Skipped {
		x.Attempts = b.report.Behaviors[i].Attempts + 1
	}
	b.describe(&x)
	x.Message, x.Outcome = clean(x.Message), clean(x.Outcome)
	for j := range x.Observations {
		x.Observations[j] = clean(x.Observations[j])
	}
	x.Seconds = milli(x.Seconds)
	for j := range x.ConvergeSeconds {
		x.ConvergeSeconds[j] = milli(x.ConvergeSeconds[j])
	}
	x.Evidence = nil // found on disk when the bundle is closed
	b.report.Behaviors[i] = x
	return b.save()
}

const maxText = 16 << 10

// clean keeps text from outside valid and of bearable length, and secrets out of it.
func clean(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(string(Redact([]byte(s))), "\ufffd"))
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

// Update changes the report's other fields. What follows from the plan or the records is overwritten.
func (b *Bundle) Update(change func(*v1alpha2.ConformanceReport)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("the report is changed after the bundle was closed")
	}
	results := b.report.Behaviors
	change(b.report)
	b.report.Behaviors = results
	return b.save()
}

// Report is a copy of the report as it stands; its lists must not be changed.
func (b *Bundle) Report() v1alpha2.ConformanceReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := *b.report
	r.Behaviors = slices.Clone(r.Behaviors)
	return r
}

// EvidenceDir makes and returns the folder for the evidence of one behavior.
func (b *Bundle) EvidenceDir(id string) (string, error) {
	if behaviors.ByID(id) == nil {
		return "", fmt.Errorf("there is no behavior %q to keep evidence of", id)
	}
	dir := filepath.Join(b.dir, EvidenceDir, id)
	return dir, os.MkdirAll(dir, 0o755)
}

// Attach writes ginkgo.json or preflight.json.
func (b *Bundle) Attach(name string, data []byte) error {
	if name != GinkgoFile && name != PreflightFile {
		return fmt.Errorf("%q is not a file of a bundle: attach %s or %s, or put it into a behavior's evidence", name, GinkgoFile, PreflightFile)
	}
	return writeFile(b.dir, name, data)
}

// save writes report.yaml and junit.xml. The caller holds the lock.
func (b *Bundle) save() error {
	b.report.WallSeconds = milli(time.Since(b.begin).Seconds())
	Summarize(b.report)
	return writeReport(b.dir, b.report)
}

func writeReport(dir string, r *v1alpha2.ConformanceReport) error {
	data, err := Encode(r)
	if err != nil {
		return err
	}
	if err := writeFile(dir, ReportFile, data); err != nil {
		return err
	}
	return writeWith(dir, JUnitFile, r, JUnit)
}

// writeFile writes a file whole or not at all.
func writeFile(dir, name string, data []byte) error {
	tmp := filepath.Join(dir, "."+name+".tmp")
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("the bundle cannot be written: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("the bundle cannot be written: %w", err)
	}
	return nil
}

// Close finishes the bundle: it lists the evidence, renders, looks for secrets and sums up. With a secret found it returns a *[SecretError] and leaves no
// SHA256SUMS, so that nobody takes the bundle for finished. Closing twice is one closing.
func (b *Bundle) Close(ctx context.Context) (v1alpha2.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.report.Result, nil
	}
	b.closed = true
	b.report.Finished = true
	if b.report.Failure != "" {
		for i := range b.report.Behaviors {
			if x := &b.report.Behaviors[i]; x.Message == neverRan {
				x.Message = neverRan + ": " + oneLine(b.report.Failure, 400)
			}
		}
	}
	b.report.WallSeconds = milli(time.Since(b.begin).Seconds())
	return b.report.Result, finish(ctx, b.dir, b.report)
}

// Finish makes everything in a bundle but its evidence again from report.yaml: after a run that was killed, or after evidence was redacted.
func Finish(ctx context.Context, dir string) (*v1alpha2.ConformanceReport, error) {
	r, err := ReadReport(dir)
	if err != nil {
		return nil, err
	}
	return r, finish(ctx, dir, r)
}

// Render writes what is made from a report alone into a directory, which is made when it is missing. It closes no bundle.
func Render(dir string, r *v1alpha2.ConformanceReport) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the directory cannot be made: %w", err)
	}
	for _, f := range rendered {
		if err := writeWith(dir, f.name, r, f.render); err != nil {
			return err
		}
	}
	return nil
}

// rendered are the files made from the report.
var rendered = []struct {
	name   string
	render func(io.Writer, *v1alpha2.ConformanceReport) error
}{{JUnitFile, JUnit}, {HTMLFile, HTML}, {MarkdownFile, Markdown}}

// Again is [Finish] for a bundle that may be closed and signed. One whose files were changed after it was closed is refused: new sums would hide that. The
// signature is kept when the sums come out the same; unsigned says that there was one and it is gone.
func Again(ctx context.Context, dir string) (unsigned bool, err error) {
	before, err := os.ReadFile(filepath.Join(dir, SumsFile))
	closed := err == nil
	if closed {
		v, err := Verify(ctx, dir, VerifyOptions{MaxAge: -1})
		if err != nil {
			return false, err
		}
		for _, f := range v.Findings {
			if f.Status == Broken && strings.HasPrefix(f.Rule, "B") {
				return false, fmt.Errorf("the bundle is not rendered again, rule %s is broken: %s: render it into another directory with --to", f.Rule, f.Message)
			}
		}
	}
	signature, err := os.ReadFile(filepath.Join(dir, SignatureFile))
	signed := err == nil
	if _, err := Finish(ctx, dir); err != nil {
		return false, err
	}
	if !signed {
		return false, nil
	}
	after, err := os.ReadFile(filepath.Join(dir, SumsFile))
	if err != nil {
		return true, err
	}
	if !closed || !bytes.Equal(before, after) {
		return true, nil
	}
	return false, writeFile(dir, SignatureFile, signature)
}

// ReadReport reads the report of a bundle, or a report file by itself.
func ReadReport(name string) (*v1alpha2.ConformanceReport, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		name = filepath.Join(name, ReportFile)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("the report cannot be read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxReportBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", name, err)
	}
	r, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func finish(ctx context.Context, dir string, r *v1alpha2.ConformanceReport) error {
	for _, n := range []string{SumsFile, SignatureFile} { // they speak of a bundle that is about to change
		if err := os.Remove(filepath.Join(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s of the old bundle cannot be removed: %w", n, err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the bundle cannot be opened: %w", err)
	}
	defer root.Close()
	evidence, err := listEvidence(root)
	if err != nil {
		return err
	}
	for i := range r.Behaviors {
		x := &r.Behaviors[i]
		x.Evidence = nil
		for _, name := range evidence {
			if strings.HasPrefix(name, EvidenceDir+"/"+x.ID+"/") {
				x.Evidence = append(x.Evidence, name)
			}
		}
	}
	Summarize(r)
	if err := writeReport(dir, r); err != nil {
		return err
	}
	if err := Render(dir, r); err != nil {
		return err
	}
	names := slices.Clone(evidence)
	for _, n := range bundleFiles {
		if st, err := root.Lstat(n); err == nil && st.Mode().IsRegular() {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	if err := scanSecrets(root, names); err != nil {
		return err
	}
	return seal(ctx, root, dir, names)
}

// seal writes SHA256SUMS over the named files.
func seal(ctx context.Context, root *os.Root, dir string, names []string) error {
	var sums strings.Builder
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("the bundle is not closed: %w", err)
		}
		sum, err := hashFile(root, n)
		if err != nil {
			return fmt.Errorf("the bundle is not closed: %w", err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, n)
	}
	return writeFile(dir, SumsFile, []byte(sums.String()))
}

// listEvidence names all files of evidence, sorted. What is no plain file under a plain name does not belong in a bundle.
func listEvidence(root *os.Root) ([]string, error) {
	if _, err := root.Lstat(EvidenceDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	err := fs.WalkDir(root.FS(), EvidenceDir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a plain file: evidence holds no links, sockets or devices", name)
		case !plainName(name):
			return fmt.Errorf("%q is not a plain name: letters, digits and ._-+=@,: only", name)
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("the evidence cannot be listed: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// plainName says whether a path is fit for SHA256SUMS and for links: relative, clean, of harmless characters.
func plainName(name string) bool {
	if name == "" || len(name) > 512 || path.IsAbs(name) || path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return false
	}
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-+=@,:/", c):
		default:
			return false
		}
	}
	return true
}

// hashFile is the sha256 of a plain file.
func hashFile(root *os.Root, name string) (string, error) {
	st, err := root.Lstat(name)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a plain file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func writeWith(dir, name string, r *v1alpha2.ConformanceReport, render func(io.Writer, *v1alpha2.ConformanceReport) error) error {
	var b strings.Builder
	if err := render(&b, r); err != nil {
		return fmt.Errorf("%s cannot be rendered: %w", name, err)
	}
	return writeFile(dir, name, []byte(b.String()))
}
