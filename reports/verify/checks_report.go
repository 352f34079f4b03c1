package verify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strings"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/page"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
)

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
	return []string{fmt.Sprintf("the report's catalog %.20q with %d behaviors is not this release's %.20q with %d: "+
		"verify it with the release of amc that wrote it",
		in.report.Catalog.Digest, in.report.Catalog.Behaviors, behaviors.Digest(), len(behaviors.All()))}
}

func (in *inspection) everyID() (wrong []string) {
	seen := map[string]bool{}
	take := func(id string) {
		switch {
		case seen[id]:
			wrong = append(wrong, fmt.Sprintf("%.40q appears twice", id))
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
		if k := behaviors.ByID(b.ID); k != nil && in.ownCatalog() &&
			(b.Level != string(k.Level) || b.Promise != k.Promise || b.Chapter != k.Chapter().Prefix) {
			wrong = append(wrong, b.ID+" does not have the level, chapter and promise of the catalog")
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
		say := func(what string) { wrong = append(wrong, text.Line(b.ID, 40)+" "+what) }
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
		case v1alpha2.Skipped:
			if b.Attempts != 0 || b.Seconds != 0 || b.Expectations != 0 || b.Controls != 0 || b.Outcome != "" || b.Message != "" ||
				len(b.ConvergeSeconds)+len(b.Observations)+len(b.Rows) > 0 {
				say("is skipped and has results")
			}
		case v1alpha2.Conformant:
			if b.Message != "" {
				say("is conformant with a message: " + text.Line(b.Message, 60))
			}
			if b.Attempts < 1 {
				say("is conformant and never ran")
			}
			if b.Seconds == 0 {
				say("is conformant and took no time")
			}
			if b.Expectations < 1 || b.Controls < 1 {
				say(fmt.Sprintf("is conformant by %d expectations and %d controls: at least one of each is needed", b.Expectations, b.Controls))
			}
			if k := behaviors.ByID(b.ID); k != nil && in.ownCatalog() && k.Outcomes != nil {
				if _, acceptable, known := k.Outcome(b.Outcome); !known || !acceptable {
					say(fmt.Sprintf("is conformant with the outcome %.40q, which is not among the acceptable ones", b.Outcome))
				}
				for _, row := range b.Rows {
					if _, acceptable, known := k.Outcome(row.Outcome); !known || !acceptable {
						say(fmt.Sprintf("is conformant with the outcome %.40q in one row, which is not among the acceptable ones", row.Outcome))
					}
				}
			}
		}
		if n := len(b.Uncounted); n > 0 && n >= b.Attempts {
			say(fmt.Sprintf("took %d attempts and tells of %d that do not count", b.Attempts, n))
		}
		if b.Twin != "" && !slices.ContainsFunc(in.report.Environment.Twins, func(t v1alpha2.Twin) bool { return t.RunID == b.Twin }) {
			say(fmt.Sprintf("ran on the twin %.40q, which the report does not name", b.Twin))
		}
		if b.Attempts < 0 || b.Seconds < 0 || slices.ContainsFunc(b.ConvergeSeconds, func(s float64) bool { return s < 0 }) {
			say("took a negative time")
		}
	}
	return wrong
}

func (in *inspection) recomputed() (wrong []string) {
	again := summary.Filled(in.report)
	differ := func(name string, a, b any) {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			wrong = append(wrong, fmt.Sprintf("%s says %s, the behaviors give %s", name, text.Line(string(x), 90), text.Line(string(y), 90)))
		}
	}
	differ("result", in.report.Result, again.Result)
	differ("summary", in.report.Summary, again.Summary)
	differ("levels", in.report.Levels, again.Levels)
	differ("chapters", in.report.Chapters, again.Chapters)
	differ("convergence", in.report.Convergence, again.Convergence)
	for i, b := range again.Behaviors {
		said := in.report.Behaviors[i]
		differ("flaky of "+text.Line(b.ID, 40), said.Flaky, b.Flaky)
		differ("known or fixed of "+text.Line(b.ID, 40), []string{said.Known, said.Fixed}, []string{b.Known, b.Fixed})
	}
	for i, f := range again.Features {
		differ("feature "+f.Name, in.report.Features[i].Supported, f.Supported)
	}
	return wrong
}

func (in *inspection) claimsHold() (wrong []string) {
	verdicts := make(map[string]v1alpha2.Verdict, len(in.report.Behaviors))
	for _, b := range in.report.Behaviors {
		verdicts[b.ID] = b.Verdict
	}
	for _, f := range in.report.Features {
		info := behaviors.Feature(f.Name)
		switch {
		case in.ownCatalog() && !behaviors.IsFeature(info):
			wrong = append(wrong, fmt.Sprintf("%.40q is not a feature", f.Name))
		case len(f.Behaviors) == 0:
			wrong = append(wrong, f.Name+" is claimed and nothing of it ran")
		}
		for _, id := range f.Behaviors {
			if verdicts[id] != v1alpha2.Conformant {
				wrong = append(wrong, fmt.Sprintf("%s is claimed and %.40q is not conformant", f.Name, id))
			}
			if k := behaviors.ByID(id); in.ownCatalog() && (k == nil || k.Feature != info) {
				wrong = append(wrong, fmt.Sprintf("%.40q does not show %s", id, f.Name))
			}
		}
	}
	return wrong
}

// maxRendered bounds a rendered file, in bytes; that of an honest report has a few megabytes. Tests
// lower it.
var maxRendered = 64 << 20

// rendersTheSame renders the report again. Counts and the like are not believed: they follow.
func (in *inspection) rendersTheSame() (wrong []string) {
	r := summary.Filled(in.report)
	sum, err := bundle.ReportSum(r)
	if err != nil {
		return one(err)
	}
	for _, x := range bundle.Renderings {
		if !slices.Contains(in.names, x.Name) {
			wrong = append(wrong, x.Name+" is missing")
			continue
		}
		h := &bounded{Hash: sha256.New(), left: maxRendered}
		if err := x.Write(h, r, page.Beside{ReportSum: sum}); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s cannot be rendered: %s", x.Name, text.Line(err.Error(), 90)))
		} else if hex.EncodeToString(h.Sum(nil)) != in.files[x.Name].sum {
			wrong = append(wrong, fmt.Sprintf("%s is not what this release renders from %s", x.Name, layout.ReportFile))
		}
	}
	return wrong
}

// bounded is a hash of no more than so many bytes.
type bounded struct {
	hash.Hash
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, fmt.Errorf("it is larger than %d KiB", maxRendered>>10)
	}
	return b.Hash.Write(p)
}

func (in *inspection) evidenceFits() (wrong []string) {
	ids := map[string]bool{}
	for _, b := range in.report.Behaviors {
		ids[b.ID] = true
		for _, e := range b.Evidence {
			_, listed := slices.BinarySearch(in.names, e)
			if !listed || !strings.HasPrefix(e, layout.EvidenceOf(b.ID)+"/") {
				wrong = append(wrong, fmt.Sprintf("%s names %.80q, which is not its evidence", text.Line(b.ID, 40), e))
			}
		}
	}
	for _, n := range in.names {
		if rest, ok := strings.CutPrefix(n, layout.EvidenceDir+"/"); ok {
			if id, _, below := strings.Cut(rest, "/"); !below || !ids[id] {
				wrong = append(wrong, fmt.Sprintf("%.80q is evidence for no behavior", n))
			}
		}
	}
	return wrong
}

// A version is digits and dots, with what a build adds to them. A pseudo-version of Go names the
// second of a commit.
var (
	versionForm   = regexp.MustCompile(`^v?[0-9]{1,3}\.[0-9]{1,3}(\.[0-9]{1,4})?([-+.][0-9A-Za-z.+-]{1,60})?$`)
	pseudoVersion = regexp.MustCompile(`^v0\.0\.0-([0-9]{14})-[0-9a-f]{12}$`)
)

// minorOf is the minor of a version that is one.
func (in *inspection) minorOf(version string) (string, error) {
	bad := fmt.Errorf("%.60q is not an Istio version", version)
	if !versionForm.MatchString(version) {
		return "", bad
	}
	if m := pseudoVersion.FindStringSubmatch(version); m != nil {
		at, err := time.Parse("20060102150405", m[1])
		if err != nil || at.After(in.report.Date) {
			return "", bad
		}
	} else if strings.HasPrefix(strings.TrimPrefix(version, "v"), "0.0.0-") {
		return "", bad
	}
	v, err := behaviors.ParseVersion(version)
	if err != nil {
		return "", bad
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor), nil
}

func (in *inspection) supported() (wrong []string) {
	window := plan.Minors()
	e := &in.report.Environment
	check := func(what, version string) (minor string) {
		minor, err := in.minorOf(version)
		switch {
		case err != nil:
			wrong = append(wrong, what+err.Error())
		case !slices.Contains(window, minor):
			wrong = append(wrong, fmt.Sprintf("%sIstio %s is none of %s", what, minor, strings.Join(window, ", ")))
		}
		return minor
	}
	fleet := check("", e.Istio)
	for _, c := range e.Clusters {
		if c.Istio != "" {
			check(text.Line(c.Name, 40)+": ", c.Istio)
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	of := map[string]string{} // the minor of each cluster's Istio
	for _, c := range e.Clusters {
		of[c.Name], _ = in.minorOf(cmp.Or(c.Istio, e.Istio))
	}
	for _, f := range e.Facts {
		cluster, isOf := strings.CutPrefix(f.Name, "istiod of ")
		if !isOf && f.Name != "istiod" {
			continue
		}
		// What istiod says of itself may be the version of a private build, which tells nothing.
		if says, err := in.minorOf(f.Value); err == nil && says != cmp.Or(of[cluster], fleet) {
			wrong = append(wrong, fmt.Sprintf("the report is of Istio %s, and %s says that it is %s",
				cmp.Or(of[cluster], fleet), text.Line(f.Name, 60), says))
		}
	}
	return wrong
}
