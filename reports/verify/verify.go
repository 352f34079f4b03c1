// Package verify checks a bundle against the rules, offline, and does what only a checked bundle
// may undergo: it is signed, or rendered again.
package verify

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/text"
)

// DefaultMaxAge is how old a report may be when it is first submitted.
const DefaultMaxAge = 90 * 24 * time.Hour

// Options say what a bundle is checked against.
type Options struct {
	Key    crypto.PublicKey // when set, the bundle must be signed with it
	Now    time.Time        // default: now
	MaxAge time.Duration    // default DefaultMaxAge; negative: any age
	// Certified holds a bundle to the rules of certified bundles, whatever it says of itself.
	Certified bool
}

// Status of a rule.
type Status string

// The statuses of a rule.
const (
	Holds      Status = "holds"
	Broken     Status = "broken"
	NotChecked Status = "not checked" // another rule is broken, or the rule does not apply
)

// Finding is the status of one rule.
type Finding struct {
	Rule    string `json:"rule"`
	Says    string `json:"says"`
	Status  Status `json:"status"`
	Message string `json:"message,omitempty"` // one sentence when the rule does not hold
}

// Result is the status of all rules.
type Result struct {
	Findings []Finding                   `json:"findings"`
	Files    int                         `json:"files"`
	Bytes    int64                       `json:"bytes"`
	Report   *v1alpha2.ConformanceReport `json:"-"` // nil when it cannot be read
	sums     []byte                      // SHA256SUMS, as it was checked
}

// OK reports whether no rule is broken.
func (r *Result) OK() bool { return len(r.Broken()) == 0 }

// Broken are the findings of the broken rules.
func (r *Result) Broken() (broken []Finding) {
	for _, f := range r.Findings {
		if f.Status == Broken {
			broken = append(broken, f)
		}
	}
	return broken
}

// Bundle checks a bundle against all rules. It returns an error when the directory cannot be read
// at all, and when its report is of another version of the API ([bundle.VersionError]); all else is
// a finding.
func Bundle(ctx context.Context, dir string, o Options) (*Result, error) {
	root, err := openBundle(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return inspect(ctx, root, dir, o)
}

func inspect(ctx context.Context, root *os.Root, dir string, o Options) (*Result, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	in := &inspection{ctx: ctx, root: root, opts: o, files: map[string]file{}}
	in.readSums()
	in.walk()
	var reading sync.WaitGroup
	reading.Go(in.readReport) // while the other files are read
	in.readFiles()
	reading.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if old := (*bundle.VersionError)(nil); errors.As(in.schemaErr, &old) {
		return nil, fmt.Errorf("%s: %w", dir, old)
	}
	r := &Result{Report: in.report, Files: len(in.names), sums: in.sumsRaw}
	for _, f := range in.files {
		r.Bytes += f.size
	}
	for _, rule := range Rules {
		r.Findings = append(r.Findings, in.judge(rule))
	}
	return r, nil
}

func openBundle(dir string) (*os.Root, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("the bundle cannot be read: %w", err)
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("%s is not a bundle: a bundle is a directory", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the bundle cannot be opened: %w", err)
	}
	return root, nil
}

// judge checks one rule, if it applies to the bundle.
func (in *inspection) judge(r Rule) Finding {
	f := Finding{Rule: r.ID, Says: r.Says, Status: Holds}
	switch {
	case r.For == WhenAsked && in.opts.Key == nil:
		f.Status, f.Message = NotChecked, "no key was given"
	case r.For != Always && in.report == nil:
		f.Status, f.Message = NotChecked, "the report cannot be read"
	case r.ReadsFiles && len(in.treeWrong) > 0:
		f.Status, f.Message = NotChecked, "no file was read, because rule B02 is broken"
	case r.For == OwnCatalog && !in.ownCatalog():
		f.Status, f.Message = NotChecked, "the catalog is another one"
	case r.For == CertifiedOnly && !in.certified():
		f.Status, f.Message = NotChecked, "the bundle does not say that it is certified"
	default:
		if wrong := r.check(in); len(wrong) > 0 {
			f.Status, f.Message = Broken, sentenceOf(wrong)
		}
	}
	return f
}

// certified reports whether the bundle must keep the rules of certified bundles.
func (in *inspection) certified() bool {
	return in.opts.Certified || in.report != nil && in.report.Mode == v1alpha2.ModeCertified
}

// Certifiable names the rules that the bundle of a run would break, whatever its specs will show.
// The rules judge the best report that the head and the plan allow.
func Certifiable(head v1alpha2.ConformanceReport, p *plan.Plan) []Finding {
	in := &inspection{report: best(head, p), opts: Options{Certified: true, Now: time.Now()}}
	var broken []Finding
	for _, r := range Rules {
		if !r.Foreseen {
			continue
		}
		if f := in.judge(r); f.Status == Broken {
			broken = append(broken, f)
		}
	}
	return broken
}

// best is the report of a run in which all that is planned holds.
func best(head v1alpha2.ConformanceReport, p *plan.Plan) *v1alpha2.ConformanceReport {
	r := bundle.Planned(head, p)
	for i := range r.Behaviors {
		if b := &r.Behaviors[i]; b.Skip == nil {
			b.Verdict, b.Message = v1alpha2.Conformant, ""
		}
	}
	return r
}

// sentenceOf joins what is wrong. It stays short, however much that is.
func sentenceOf(wrong []string) string {
	const most = 3
	more := ""
	if len(wrong) > most {
		more = fmt.Sprintf("; and %d more", len(wrong)-most)
		wrong = wrong[:most]
	}
	lines := slices.Clone(wrong)
	for i, w := range lines {
		lines[i] = text.Line(w, 240)
	}
	return strings.Join(lines, "; ") + more
}
