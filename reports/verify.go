package reports

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Limits of a bundle that is verified. They are wide for honest bundles and bound what a hostile one costs.
const (
	maxFiles      = 50_000
	maxFileBytes  = 256 << 20
	maxTotalBytes = 2 << 30
	maxSumsBytes  = 16 << 20
	maxJUnitBytes = 64 << 20
	maxDepth      = 8
)

// DefaultMaxAge is how old a report may be when it is first submitted.
const DefaultMaxAge = 90 * 24 * time.Hour

// VerifyOptions say what a bundle is held against.
type VerifyOptions struct {
	Key    crypto.PublicKey // when set, the bundle must be signed by it
	Now    time.Time        // default: now
	MaxAge time.Duration    // default DefaultMaxAge; negative: any age
}

// Status of a rule.
type Status string

const (
	Holds      Status = "holds"
	Broken     Status = "broken"
	NotChecked Status = "not checked" // another broken rule, or nothing to check
)

// Finding is what verify found of one rule.
type Finding struct {
	Rule    string `json:"rule"`
	Says    string `json:"says"`
	Status  Status `json:"status"`
	Message string `json:"message,omitempty"` // one sentence when it does not hold
}

// Verification is what verify found of a bundle.
type Verification struct {
	Findings []Finding                   `json:"findings"`
	Files    int                         `json:"files"`
	Bytes    int64                       `json:"bytes"`
	Report   *v1alpha2.ConformanceReport `json:"-"` // nil when it cannot be read
}

// OK says that no rule is broken, and that those all bundles must keep were all checked.
func (v *Verification) OK() bool {
	return !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Status == Broken })
}

// Rule is one rule of verify. The table of rules is the documentation.
type Rule struct {
	ID   string
	Says string // what must hold, in one sentence
	// For says of which bundles it is asked.
	For   Scope
	check func(*inspection) []string // what is wrong
}

// Scope of a rule.
type Scope string

const (
	Always        Scope = "every bundle"
	NeedsReport   Scope = "every bundle whose report can be read"
	CertifiedOnly Scope = "certified bundles"
	WhenAsked     Scope = "bundles verified with a key"
)

// Rules in the order in which they are checked.
var Rules = []Rule{
	{"B01", "The bundle was closed: SHA256SUMS is there, and each line is a sum and a plain relative name, sorted, no name twice.", Always, (*inspection).sumsForm},
	{"B02", "The bundle holds plain files under plain names, not too many, not too large, and no links.", Always, (*inspection).plainFiles},
	{"B03", "SHA256SUMS lists every file of the bundle, and every file it lists is there.", Always, (*inspection).complete},
	{"B04", "Every file has the sum that SHA256SUMS gives it.", Always, (*inspection).sumsMatch},
	{"B05", "No file holds a private key, a token or another credential.", Always, (*inspection).noSecrets},
	{"R01", "report.yaml is strict YAML: UTF-8, one document, no alias, no key twice, of bearable size.", Always, (*inspection).strictYAML},
	{"R02", "report.yaml has the form that its schema says.", Always, (*inspection).schema},
	{"R03", "The run was finished and says when: not in the future, and no longer ago than the age allowed.", NeedsReport, (*inspection).finishedInTime},
	{"R04", "The report was planned from a catalog that this release knows.", NeedsReport, (*inspection).knownCatalog},
	{"R05", "Every behavior of the catalog is in the report exactly once, in order, with the catalog's level and promise.", NeedsReport, (*inspection).everyID},
	{"R06", "Every verdict fits what is said of it: a skip has a class and a reason, a violation a message, a limitation an outcome of its set, what is conformant a claim and a twin.", NeedsReport, (*inspection).verdictsFit},
	{"R07", "Counts, percentiles and result are those that follow from the behaviors.", NeedsReport, (*inspection).recomputed},
	{"R08", "A claimed feature has at least one behavior that ran, and all its behaviors that ran are conformant.", NeedsReport, (*inspection).claimsHold},
	{"R09", "junit.xml tells the same verdict for the same ids.", NeedsReport, (*inspection).junitAgrees},
	{"R10", "The evidence that the report names is in the bundle, under the id it is evidence for.", NeedsReport, (*inspection).evidenceFits},
	{"R11", "The Istio version is within the support window.", NeedsReport, (*inspection).supported},
	{"C01", "The user took nothing out: no focus, no skip by the user.", CertifiedOnly, (*inspection).nothingTakenOut},
	{"C02", "Nothing was retried.", CertifiedOnly, (*inspection).noRetries},
	{"C03", "No stand-in ran in place of a component of Istio.", CertifiedOnly, (*inspection).noStandIns},
	{"C04", "The check for leftovers ran and found none.", CertifiedOnly, (*inspection).cleanLeaks},
	{"C05", "The implementation is named: organization, project, a released version, an https address and a contact.", CertifiedOnly, (*inspection).metadata},
	{"C06", "The suite that ran is known: version and commit, without changes of its own.", CertifiedOnly, (*inspection).suiteKnown},
	{"C07", "The networks were proven apart before anything ran, or on clusters of others by INST-14; and no preflight check failed.", CertifiedOnly, (*inspection).isolated},
	{"C08", "The images of the mesh are named by digest.", CertifiedOnly, (*inspection).digests},
	{"C09", "The profile is core or larger, and all of its core behaviors are conformant or skipped for the version.", CertifiedOnly, (*inspection).coreHolds},
	{"S01", "The bundle's sums and verdicts are signed by the key.", WhenAsked, (*inspection).signed},
}

// file is what the one reading of a file found.
type file struct {
	sum    string
	size   int64
	secret string
	err    error
}

// inspection is a bundle, read once. Nothing in it can make the rules read outside the bundle, block, or use memory beyond the limits.
type inspection struct {
	ctx  context.Context
	root *os.Root
	opts VerifyOptions

	sums      map[string]string
	sumsOrder []string
	sumsWrong []string
	sumsRaw   []byte

	names     []string // of the bundle's files, sorted
	foreign   []string // files in the directory that are not the bundle's
	treeWrong []string
	files     map[string]file

	yamlErr   error
	schemaErr error
	report    *v1alpha2.ConformanceReport
}

// Verify checks a bundle against all rules, offline. The error is set only when the directory cannot be read at all; everything else is a finding.
func Verify(ctx context.Context, dir string, o VerifyOptions) (*Verification, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
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
	defer root.Close()
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
	v := &Verification{Report: in.report, Files: len(in.names)}
	for _, f := range in.files {
		v.Bytes += f.size
	}
	for _, r := range Rules {
		f := Finding{Rule: r.ID, Says: r.Says, Status: Holds}
		switch {
		case r.For == WhenAsked && o.Key == nil:
			f.Status, f.Message = NotChecked, "no key was given"
		case (r.For == NeedsReport || r.For == CertifiedOnly || r.For == WhenAsked) && in.report == nil:
			f.Status, f.Message = NotChecked, "the report cannot be read"
		case r.For == CertifiedOnly && in.report.Mode != v1alpha2.ModeCertified:
			f.Status, f.Message = NotChecked, "the bundle does not say that it is certified"
		default:
			if wrong := r.check(in); len(wrong) > 0 {
				f.Status, f.Message = Broken, sentenceOf(wrong)
			}
		}
		v.Findings = append(v.Findings, f)
	}
	return v, nil
}

// Certifiable says which rules of certified bundles a run would break that can be told from the head of its report, before it begins.
func Certifiable(head *v1alpha2.ConformanceReport) []Finding {
	in := &inspection{report: head}
	var all []Finding
	for _, r := range Rules {
		if !slices.Contains([]string{"C01", "C03", "C05", "C06", "C08"}, r.ID) {
			continue
		}
		if wrong := r.check(in); len(wrong) > 0 {
			all = append(all, Finding{Rule: r.ID, Says: r.Says, Status: Broken, Message: sentenceOf(wrong)})
		}
	}
	return all
}

// sentenceOf joins what is wrong, short however much it is.
func sentenceOf(wrong []string) string {
	const most = 3
	more := ""
	if len(wrong) > most {
		wrong, more = wrong[:most], fmt.Sprintf("; and %d more", len(wrong)-most)
	}
	var s []string
	for _, w := range wrong {
		s = append(s, oneLine(w, 240))
	}
	return strings.Join(s, "; ") + more
}

// readLimited reads a small file of the bundle whole.
func (in *inspection) readLimited(name string, most int64) ([]byte, error) {
	st, err := in.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing", name)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read", name)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a plain file", name)
	case st.Size() > most:
		return nil, fmt.Errorf("%s is larger than %d MiB", name, most>>20)
	}
	f, err := in.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", name)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", name)
	}
	return data, nil
}

func (in *inspection) readSums() {
	in.sums = map[string]string{}
	raw, err := in.readLimited(SumsFile, maxSumsBytes)
	if err != nil {
		in.sumsWrong = []string{err.Error() + ": the run was not finished, or the bundle was changed"}
		return
	}
	in.sumsRaw = raw
	wrong := func(line int, what string) {
		if len(in.sumsWrong) < 4 {
			in.sumsWrong = append(in.sumsWrong, fmt.Sprintf("%s line %d: %s", SumsFile, line, what))
		}
	}
	s := bufio.NewScanner(bytes.NewReader(raw))
	last, n := "", 0
	for s.Scan() {
		n++
		sum, name, ok := strings.Cut(s.Text(), "  ")
		switch _, err := hex.DecodeString(sum); {
		case !ok || len(sum) != 64 || err != nil || sum != strings.ToLower(sum):
			wrong(n, "it is not a sha256 sum, two blanks and a name")
			continue
		case !plainName(name):
			wrong(n, fmt.Sprintf("%.80q is not a plain relative name", name))
			continue
		case in.sums[name] != "":
			wrong(n, fmt.Sprintf("%.80q stands twice", name))
			continue
		case name < last:
			wrong(n, fmt.Sprintf("%.80q is out of order", name))
		case !belongs(name):
			wrong(n, fmt.Sprintf("%.80q is not a file of a bundle", name))
			continue
		}
		last = name
		in.sums[name] = sum
		in.sumsOrder = append(in.sumsOrder, name)
		if n > maxFiles {
			wrong(n, fmt.Sprintf("more than %d files", maxFiles))
			return
		}
	}
	if s.Err() != nil {
		wrong(n+1, "it is too long")
	}
	if n == 0 {
		wrong(1, "it is empty")
	}
}

// belongs says whether a name is a bundle's.
func belongs(name string) bool {
	return slices.Contains(bundleFiles, name) || strings.HasPrefix(name, EvidenceDir+"/")
}

// walk names the bundle's files without following links, opening devices, or reading more names than the limit.
func (in *inspection) walk() {
	wrong := func(format string, args ...any) {
		if len(in.treeWrong) < 4 {
			in.treeWrong = append(in.treeWrong, fmt.Sprintf(format, args...))
		}
	}
	seen := 0
	var dir func(name string, depth int)
	dir = func(name string, depth int) {
		if depth > maxDepth {
			wrong("%.80q is nested deeper than %d", name, maxDepth)
			return
		}
		f, err := in.root.Open(name)
		if err != nil {
			wrong("%.80q cannot be read", name)
			return
		}
		defer f.Close()
		for {
			entries, err := f.ReadDir(1000)
			for _, e := range entries {
				if seen++; seen > maxFiles {
					if seen == maxFiles+1 {
						wrong("it holds more than %d files", maxFiles)
					}
					return
				}
				full := path.Join(name, e.Name())
				top := name == "."
				mine := !top || e.Name() == EvidenceDir || e.Name() == SumsFile || e.Name() == SignatureFile || slices.Contains(bundleFiles, e.Name())
				switch {
				case !mine:
					in.foreign = append(in.foreign, full)
				case !plainName(full):
					wrong("%.80q is not a plain name", full)
				case e.IsDir() && (!top || e.Name() == EvidenceDir):
					dir(full, depth+1)
				case !e.Type().IsRegular():
					wrong("%.80q is not a plain file", full)
				case full != SumsFile && full != SignatureFile:
					in.names = append(in.names, full)
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					wrong("%.80q cannot be read", name)
				}
				return
			}
		}
	}
	dir(".", 0)
	slices.Sort(in.names)
	var total int64
	for _, n := range in.names {
		st, err := in.root.Lstat(n)
		if err != nil {
			wrong("%.80q cannot be read", n)
			continue
		}
		if st.Size() > maxFileBytes {
			wrong("%.80q is larger than %d MiB", n, maxFileBytes>>20)
		}
		total += st.Size()
	}
	if total > maxTotalBytes {
		wrong("its files are larger than %d MiB together", maxTotalBytes>>20)
	}
}

// readFiles reads every file once, for its sum and for secrets, two at a time. A bundle over the limits is not read at all.
func (in *inspection) readFiles() {
	if len(in.treeWrong) > 0 {
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan string)
	for range 2 {
		wg.Go(func() {
			buf := make([]byte, scanWindow+scanOverlap)
			for name := range work {
				f := in.readFile(name, buf)
				mu.Lock()
				in.files[name] = f
				mu.Unlock()
			}
		})
	}
	for _, n := range in.names {
		if in.ctx.Err() != nil {
			break
		}
		work <- n
	}
	close(work)
	wg.Wait()
}

func (in *inspection) readFile(name string, buf []byte) file {
	f, err := in.root.Open(name)
	if err != nil {
		return file{err: err}
	}
	defer f.Close()
	h := sha256.New()
	counted := &counter{w: h}
	secret, err := scan(io.TeeReader(io.LimitReader(f, maxFileBytes+1), counted), buf)
	if err == nil && secret != "" { // the scan stops at the first secret, the sum is over all
		_, err = io.CopyBuffer(counted, io.LimitReader(f, maxFileBytes+1), buf)
	}
	return file{sum: hex.EncodeToString(h.Sum(nil)), size: counted.n, secret: secret, err: err}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

//go:embed api/v1alpha2/schema.json
var schemaJSON []byte

// Schema is the JSON schema of the report.
func Schema() []byte { return slices.Clone(schemaJSON) }

var compiledSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("report.schema.json")
})

func (in *inspection) readReport() {
	data, err := in.readLimited(ReportFile, maxReportBytes)
	if err != nil {
		in.yamlErr = err
		return
	}
	js, err := toJSON(data)
	if err != nil {
		in.yamlErr = fmt.Errorf("%s: %w", ReportFile, err)
		return
	}
	if in.schemaErr = validate(js); in.schemaErr != nil {
		return
	}
	in.report, in.schemaErr = decodeJSON(js)
}

func validate(js []byte) error {
	s, err := compiledSchema()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(js))
	if err != nil {
		return errors.New("the report cannot be read as JSON")
	}
	var invalid *jsonschema.ValidationError
	switch err := s.Validate(v); {
	case errors.As(err, &invalid):
		for len(invalid.Causes) > 0 { // the innermost first cause names the place
			invalid = invalid.Causes[0]
		}
		return fmt.Errorf("at /%s: %s", strings.Join(invalid.InstanceLocation, "/"), invalid.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	case err != nil:
		return err
	}
	return nil
}

func (in *inspection) sumsForm() []string   { return in.sumsWrong }
func (in *inspection) plainFiles() []string { return in.treeWrong }

func (in *inspection) complete() (wrong []string) {
	there := map[string]bool{}
	for _, n := range in.names {
		there[n] = true
		if in.sums[n] == "" && len(in.sums) > 0 {
			wrong = append(wrong, n+" is not listed")
		}
	}
	for _, n := range in.sumsOrder {
		if !there[n] {
			wrong = append(wrong, n+" is listed and missing")
		}
	}
	for _, n := range []string{ReportFile, JUnitFile, HTMLFile, MarkdownFile} {
		if !there[n] && in.sums[n] == "" {
			wrong = append(wrong, n+" is missing")
		}
	}
	if in.report != nil && in.report.Mode == v1alpha2.ModeCertified {
		for _, n := range in.foreign {
			if n != "README.md" {
				wrong = append(wrong, n+" does not belong in a certified bundle")
			}
		}
	}
	return wrong
}

func (in *inspection) sumsMatch() (wrong []string) {
	for _, n := range in.names {
		f, read := in.files[n]
		switch want := in.sums[n]; {
		case !read || want == "":
		case f.err != nil:
			wrong = append(wrong, n+" cannot be read")
		case f.sum != want:
			wrong = append(wrong, n+" was changed after the bundle was closed")
		}
	}
	return wrong
}

func (in *inspection) noSecrets() (wrong []string) {
	for _, n := range in.names {
		if s := in.files[n].secret; s != "" {
			wrong = append(wrong, n+" holds "+s)
		}
	}
	return wrong
}

func one(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

func (in *inspection) strictYAML() []string { return one(in.yamlErr) }
func (in *inspection) schema() []string     { return one(in.schemaErr) }

func (in *inspection) finishedInTime() (wrong []string) {
	if !in.report.Finished {
		wrong = append(wrong, "the run was not finished")
	}
	age := in.opts.Now.Sub(in.report.Date)
	switch {
	case age < -24*time.Hour: // clocks differ
		wrong = append(wrong, "the report is dated "+in.report.Date.Format(time.DateOnly)+", in the future")
	case in.opts.MaxAge > 0 && age > in.opts.MaxAge:
		wrong = append(wrong, fmt.Sprintf("the report is %d days old, %d are allowed", int(age.Hours()/24), int(in.opts.MaxAge.Hours()/24)))
	}
	return wrong
}

func (in *inspection) ownCatalog() bool { return in.report.Catalog.Digest == behaviors.Digest() }

func (in *inspection) knownCatalog() []string {
	if in.ownCatalog() && in.report.Catalog.Behaviors == len(behaviors.All()) {
		return nil
	}
	return []string{fmt.Sprintf("the report's catalog %.20q with %d behaviors is not this release's %.20q with %d: verify it with the amc it was made with", in.report.Catalog.Digest,
		in.report.Catalog.Behaviors, behaviors.Digest(), len(behaviors.All()))}
}

func (in *inspection) everyID() (wrong []string) {
	seen := map[string]bool{}
	take := func(id string) {
		switch {
		case seen[id]:
			wrong = append(wrong, fmt.Sprintf("%.40q stands twice", id))
		case in.ownCatalog() && behaviors.ByID(id) == nil:
			wrong = append(wrong, fmt.Sprintf("%.40q is not in the catalog", id))
		}
		seen[id] = true
	}
	last := ""
	for _, b := range in.report.Behaviors {
		take(b.ID)
		if last != "" && behaviors.CompareIDs(last, b.ID) > 0 {
			wrong = append(wrong, fmt.Sprintf("%.40q is out of order", b.ID))
		}
		last = b.ID
		if k := behaviors.ByID(b.ID); k != nil && in.ownCatalog() && (b.Level != string(k.Level) || b.Promise != k.Promise || b.Chapter != k.Chapter().Prefix) {
			wrong = append(wrong, b.ID+" has not the level, chapter and promise that the catalog gives it")
		}
	}
	for _, id := range in.report.NotAutomated {
		take(id)
	}
	if in.ownCatalog() {
		for _, b := range behaviors.All() {
			if !seen[b.ID] {
				wrong = append(wrong, b.ID+" is missing")
			}
		}
	}
	return wrong
}

func (in *inspection) verdictsFit() (wrong []string) {
	for _, b := range in.report.Behaviors {
		say := func(what string) { wrong = append(wrong, oneLine(b.ID, 40)+" "+what) }
		if (b.Verdict == v1alpha2.Skipped) != (b.Skip != nil) {
			say("is skipped without a reason, or has a reason and is not skipped")
		}
		if b.Skip != nil && strings.TrimSpace(b.Skip.Reason) == "" {
			say("is skipped without a reason")
		}
		switch b.Verdict {
		case v1alpha2.NonConformant, v1alpha2.Unknown:
			if strings.TrimSpace(b.Message) == "" {
				say("is " + string(b.Verdict) + " without a message")
			}
		case v1alpha2.Conformant:
			if b.Attempts < 1 {
				say("is conformant and never ran")
			}
			if b.Claims < 1 || b.Twins < 1 {
				say(fmt.Sprintf("is conformant by %d claims and %d twins, each needs one at least", b.Claims, b.Twins))
			}
			if k := behaviors.ByID(b.ID); k != nil && in.ownCatalog() && k.Outcomes != nil {
				if _, acceptable, known := k.Outcome(b.Outcome); !known || !acceptable {
					say(fmt.Sprintf("is conformant with the outcome %.40q, which is not among the acceptable ones", b.Outcome))
				}
			}
		}
		if b.Attempts < 0 || b.Seconds < 0 || slices.ContainsFunc(b.ConvergeSeconds, func(s float64) bool { return s < 0 }) {
			say("took a negative time")
		}
	}
	return wrong
}

func (in *inspection) recomputed() (wrong []string) {
	again := *in.report
	again.Features = slices.Clone(in.report.Features)
	Summarize(&again)
	differ := func(name string, a, b any) {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			wrong = append(wrong, fmt.Sprintf("%s says %s, the behaviors give %s", name, oneLine(string(x), 90), oneLine(string(y), 90)))
		}
	}
	differ("result", in.report.Result, again.Result)
	differ("summary", in.report.Summary, again.Summary)
	differ("levels", in.report.Levels, again.Levels)
	differ("chapters", in.report.Chapters, again.Chapters)
	differ("convergence", in.report.Convergence, again.Convergence)
	for i, f := range again.Features {
		differ("feature "+f.Name, in.report.Features[i].Supported, f.Supported)
	}
	return wrong
}

func (in *inspection) claimsHold() (wrong []string) {
	for _, f := range in.report.Features {
		info := behaviors.Feature(f.Name)
		switch {
		case in.ownCatalog() && !behaviors.IsFeature(info):
			wrong = append(wrong, fmt.Sprintf("%.40q is no feature", f.Name))
		case len(f.Behaviors) == 0:
			wrong = append(wrong, f.Name+" is claimed and nothing of it ran")
		}
		for _, id := range f.Behaviors {
			i := slices.IndexFunc(in.report.Behaviors, func(b v1alpha2.BehaviorResult) bool { return b.ID == id })
			if i < 0 || in.report.Behaviors[i].Verdict != v1alpha2.Conformant {
				wrong = append(wrong, fmt.Sprintf("%s is claimed and %.40q is not conformant", f.Name, id))
			}
			if k := behaviors.ByID(id); in.ownCatalog() && (k == nil || k.Feature != info) {
				wrong = append(wrong, fmt.Sprintf("%.40q does not show %s", id, f.Name))
			}
		}
	}
	return wrong
}

func (in *inspection) junitAgrees() []string {
	data, err := in.readLimited(JUnitFile, maxJUnitBytes)
	if err != nil {
		return one(err)
	}
	got, err := junitVerdicts(data)
	if err != nil {
		return []string{JUnitFile + ": " + err.Error()}
	}
	var wrong []string
	for _, b := range in.report.Behaviors {
		switch v, ok := got[b.ID]; {
		case !ok:
			wrong = append(wrong, oneLine(b.ID, 40)+" is missing in "+JUnitFile)
		case v != b.Verdict:
			wrong = append(wrong, fmt.Sprintf("%s is %s in the report and %s in %s", oneLine(b.ID, 40), b.Verdict, v, JUnitFile))
		}
		delete(got, b.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(got)) {
		wrong = append(wrong, fmt.Sprintf("%.40q is in %s only", id, JUnitFile))
	}
	return wrong
}

// junitVerdicts reads the verdicts by id, a token at a time.
func junitVerdicts(data []byte) (map[string]v1alpha2.Verdict, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Strict = true
	got := map[string]v1alpha2.Verdict{}
	id, depth := "", 0
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is not XML: %s", oneLine(err.Error(), 120))
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, errors.New("declarations are not allowed")
		case xml.StartElement:
			if depth++; depth > 16 {
				return nil, errors.New("it is nested deeper than 16")
			}
			switch t.Name.Local {
			case "testcase":
				for _, a := range t.Attr {
					if a.Name.Local == "name" {
						id, _, _ = strings.Cut(a.Value, " ")
					}
				}
				if _, twice := got[id]; twice || id == "" {
					return nil, fmt.Errorf("the id %.40q stands twice or is empty", id)
				}
				got[id] = v1alpha2.Conformant
			case "failure":
				got[id] = v1alpha2.NonConformant
			case "error":
				got[id] = v1alpha2.Unknown
			case "skipped":
				got[id] = v1alpha2.Skipped
			}
		case xml.EndElement:
			depth--
		}
	}
}

func (in *inspection) evidenceFits() (wrong []string) {
	ids := map[string]bool{}
	for _, b := range in.report.Behaviors {
		ids[b.ID] = true
		for _, e := range b.Evidence {
			_, listed := slices.BinarySearch(in.names, e)
			if !listed || !strings.HasPrefix(e, EvidenceDir+"/"+b.ID+"/") {
				wrong = append(wrong, fmt.Sprintf("%s names %.80q, which is not its evidence", oneLine(b.ID, 40), e))
			}
		}
	}
	for _, n := range in.names {
		if rest, ok := strings.CutPrefix(n, EvidenceDir+"/"); ok {
			if id, _, below := strings.Cut(rest, "/"); !below || !ids[id] {
				wrong = append(wrong, fmt.Sprintf("%.80q is evidence for no behavior", n))
			}
		}
	}
	return wrong
}

func (in *inspection) supported() []string {
	v, err := behaviors.ParseVersion(in.report.Environment.Istio)
	if err != nil {
		return one(err)
	}
	minor := fmt.Sprintf("%d.%d", v.Major, v.Minor)
	var window []string
	for _, c := range plan.Supported {
		if c.Istio == minor {
			return nil
		}
		window = append(window, c.Istio)
	}
	return []string{fmt.Sprintf("Istio %s is none of %s", minor, strings.Join(window, ", "))}
}

func (in *inspection) nothingTakenOut() (wrong []string) {
	if f := in.report.Filters; len(f.Include)+len(f.Exclude) > 0 {
		wrong = append(wrong, "the run was focused or had something taken out: "+strings.Join(slices.Concat(f.Include, f.Exclude), ", "))
	}
	for _, b := range in.report.Behaviors {
		if b.Skip != nil && b.Skip.Class == string(plan.ClassUser) {
			wrong = append(wrong, b.ID+" was taken out by the user")
		}
	}
	return wrong
}

func (in *inspection) noRetries() (wrong []string) {
	for _, b := range in.report.Behaviors {
		if b.Attempts > 1 {
			wrong = append(wrong, fmt.Sprintf("%s took %d attempts", b.ID, b.Attempts))
		}
	}
	return wrong
}

func (in *inspection) noStandIns() (wrong []string) {
	for _, s := range in.report.Environment.StandIns {
		wrong = append(wrong, "something stands in for "+s.Name)
	}
	for _, b := range in.report.Behaviors {
		if b.Skip != nil && b.Skip.Class == string(plan.ClassStandIn) {
			wrong = append(wrong, b.ID+" was skipped for a stand-in")
		}
	}
	return wrong
}

func (in *inspection) cleanLeaks() []string {
	switch l := in.report.Leaks; {
	case l == nil:
		return []string{"the check for leftovers did not run"}
	case !l.Clean || len(l.Found) > 0:
		return []string{"left behind: " + strings.Join(l.Found, ", ")}
	}
	return nil
}

var (
	branchName = regexp.MustCompile(`(?i)^(main|master|head|latest|devel|dev|nightly|snapshot|unknown)$`)
	webAddress = regexp.MustCompile(`^https://[A-Za-z0-9.-]+\.[A-Za-z]{2,}(/[^\s<>"]*)?$`)
	someone    = regexp.MustCompile(`^(@[A-Za-z0-9][A-Za-z0-9/_-]*|[^@\s]+@[^@\s]+\.[^@\s]+|https://\S+)$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func (in *inspection) metadata() (wrong []string) {
	i := in.report.Implementation
	for _, f := range []struct{ name, value string }{{"organization", i.Organization}, {"project", i.Project}, {"version", i.Version}} {
		if strings.TrimSpace(f.value) == "" {
			wrong = append(wrong, "the implementation's "+f.name+" is missing")
		}
	}
	if branchName.MatchString(i.Version) {
		wrong = append(wrong, fmt.Sprintf("the implementation's version %.40q is not a release", i.Version))
	}
	if !webAddress.MatchString(i.URL) {
		wrong = append(wrong, fmt.Sprintf("the implementation's address %.80q is not an https address", i.URL))
	}
	if len(i.Contact) == 0 {
		wrong = append(wrong, "the implementation names no contact")
	}
	for _, c := range i.Contact {
		if !someone.MatchString(c) {
			wrong = append(wrong, fmt.Sprintf("the contact %.80q is no mail address, @handle or https address", c))
		}
	}
	return wrong
}

func (in *inspection) suiteKnown() (wrong []string) {
	s := in.report.Suite
	if s.Version == "" || branchName.MatchString(s.Version) {
		wrong = append(wrong, fmt.Sprintf("the suite's version %.40q is not a release", s.Version))
	}
	if !commitForm.MatchString(s.Commit) {
		wrong = append(wrong, fmt.Sprintf("the suite's commit %.60q is not a commit", s.Commit))
	}
	if s.Dirty {
		wrong = append(wrong, "the suite had changes that are in no commit")
	}
	return wrong
}

func (in *inspection) isolated() (wrong []string) {
	// Whoever does not own the nodes cannot probe from them; the spec probes from pods.
	spec := in.report.Environment.Provider == "existing" && slices.ContainsFunc(in.report.Behaviors, func(b v1alpha2.BehaviorResult) bool {
		return b.ID == "INST-14" && b.Verdict == v1alpha2.Conformant
	})
	if i := in.report.Isolation; i == nil && !spec || i != nil && !i.Proven {
		wrong = append(wrong, "the isolation of the networks is not proven")
	}
	for _, c := range in.report.Preflight {
		if c.Status == "fail" {
			wrong = append(wrong, "the preflight check "+c.Name+" failed")
		}
	}
	return wrong
}

func (in *inspection) digests() (wrong []string) {
	if len(in.report.Environment.Images) == 0 {
		return []string{"no image is named"}
	}
	for _, i := range in.report.Environment.Images {
		if !digestForm.MatchString(i.Digest) {
			wrong = append(wrong, fmt.Sprintf("the image %.60q has no sha256 digest", i.Name))
		}
	}
	return wrong
}

func (in *inspection) coreHolds() (wrong []string) {
	switch behaviors.Profile(in.report.Profile) {
	case behaviors.ProfileCore, behaviors.ProfileExtended, behaviors.ProfileAll:
	default:
		wrong = append(wrong, fmt.Sprintf("the profile %.40q does not run the core behaviors", in.report.Profile))
	}
	for _, b := range in.report.Behaviors {
		if b.Level != string(behaviors.Core) || b.Verdict == v1alpha2.Conformant || b.Skip != nil && b.Skip.Class == string(plan.ClassVersion) {
			continue
		}
		how := string(b.Verdict)
		if b.Skip != nil {
			how += " (" + b.Skip.Class + ")"
		}
		wrong = append(wrong, b.ID+" is "+how)
	}
	return wrong
}

func (in *inspection) signed() []string { return one(in.checkSignature()) }
