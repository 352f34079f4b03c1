// Package behaviors is the catalog: every promise of Istio ambient multicluster that this suite
// knows of, as data.
//
// A behavior says what is promised, by whom, since which Istio version, what a fleet must have to
// show it, and whether a spec proves it. It knows nothing of Kubernetes or Ginkgo. Specs refer to a
// behavior by its Go variable, such as behaviors.GlobalLabelJoinsClusters; the plan and the reports
// refer to it by its id.
package behaviors

import (
	"slices"
	"strings"
)

// Level says what it means when a behavior does not hold.
type Level string

const (
	// Core behaviors are documented and must hold on every supported version in their range.
	Core Level = "core"
	// Extended behaviors belong to a [Feature]; they run when the feature is claimed and only then
	// can fail.
	Extended Level = "extended"
	// Limitation behaviors are documented as unsupported or not respected. Their spec is a probe:
	// it records which of the named [Outcomes] happened and fails only on an outcome outside that
	// set, or an unsafe one.
	Limitation Level = "limitation"
)

// Levels are all levels, the strictest first.
var Levels = []Level{Core, Extended, Limitation}

// Behavior is one promise. Declare it with declare, in the file of its chapter.
type Behavior struct {
	// ID is the chapter's prefix and a number that never changes its meaning, for example SCOPE-01.
	ID    string
	Level Level
	// Promise is what is promised, in one plain sentence of our own.
	Promise string
	// Sources say who promised it. At least one.
	Sources []Source
	// Istio is the range of versions the promise holds for, such as ">=1.27" or ">=1.27 <1.30".
	Istio Range
	// Feature is the optional capability an Extended behavior belongs to; empty for the others.
	Feature Feature
	// Needs is what a fleet must have for the behavior to be shown.
	Needs []Need
	// In names profiles that run the behavior besides those its level puts it in.
	In []Profile
	// Outcomes names what may happen; set for limitations, and for extended behaviors that are
	// probes.
	Outcomes *Outcomes
	// Proof is how a spec proves it: what must be seen, and the control that shows that it could
	// have failed.
	Proof string
	// Provoke is how to see it by hand.
	Provoke string
	// Hazards is what makes a naive check wrong.
	Hazards string
	// Mutants are ids of [Mutants]: broken meshes on which the spec must turn red.
	Mutants []string
	// State says whether a spec proves it.
	State State

	declared [1]uintptr // where, for authoring mistakes
}

// Chapter is where the behavior is found in the catalog; it follows from the id.
func (b *Behavior) Chapter() Chapter {
	prefix, _, _ := strings.Cut(b.ID, "-")
	c, _ := ChapterOf(prefix)
	return c
}

// InProfile reports whether the profile runs the behavior.
func (b *Behavior) InProfile(p Profile) bool {
	return p == ProfileAll || slices.Contains(b.In, p) || slices.Contains(profileLevels[p], b.Level)
}

// Source is one place where a behavior is promised, or where its limits are admitted.
type Source struct {
	Kind Kind
	// Ref is a page's path, a release note's file name, owner/repository#number, a test's name or a
	// place in the code.
	Ref string
	// Quote is a short literal quotation; empty where the source has no sentence to quote.
	Quote string
	// Istio is the range of versions for which the source says so, when it differs from the
	// behavior's; pages change.
	Istio Range
}

// Kind is a kind of source.
type Kind string

const (
	KindDoc      Kind = "doc"      // a page of istio.io
	KindBlog     Kind = "blog"     // a blog post of istio.io
	KindNote     Kind = "note"     // a release note of istio/istio
	KindIssue    Kind = "issue"    // an issue or a pull request
	KindUpstream Kind = "upstream" // a test of istio/istio
	KindCode     Kind = "code"     // read in the source; no document states it
	KindImplied  Kind = "implied"  // no sentence states it, but the named page makes no sense without it
)

// Pages the sources quote, as paths below istio.io/latest/docs or, for posts, istio.io/latest/blog.
const (
	pageIndex              = "ambient/install/multicluster"
	pageBefore             = "ambient/install/multicluster/before-you-begin"
	pageInstall            = "ambient/install/multicluster/multi-primary_multi-network"
	pageVerify             = "ambient/install/multicluster/verify"
	pageFailover           = "ambient/install/multicluster/failover"
	pageObservability      = "ambient/install/multicluster/observability"
	pageL4Policy           = "ambient/usage/l4-policy"
	pagePeerAuthentication = "reference/config/security/peer_authentication"
	postAlpha              = "2025/ambient-multicluster"
	postBeta               = "ambient multicluster beta (2026)" // a draft when it was read: no address
)

func doc(page, quote string) Source      { return Source{Kind: KindDoc, Ref: page, Quote: quote} }
func blog(post, quote string) Source     { return Source{Kind: KindBlog, Ref: post, Quote: quote} }
func note(name, quote string) Source     { return Source{Kind: KindNote, Ref: name, Quote: quote} }
func issue(ref, quote string) Source     { return Source{Kind: KindIssue, Ref: ref, Quote: quote} }
func upstream(test, quote string) Source { return Source{Kind: KindUpstream, Ref: test, Quote: quote} }
func code(place, reading string) Source  { return Source{Kind: KindCode, Ref: place, Quote: reading} }
func implied(page string) Source         { return Source{Kind: KindImplied, Ref: page} }
func (s Source) during(rng Range) Source { s.Istio = rng; return s }

// Link is the source's address on the web; empty where there is none.
func (s Source) Link() string {
	switch s.Kind {
	case KindDoc, KindBlog, KindImplied:
		switch {
		case strings.HasPrefix(s.Ref, "20"):
			return "https://istio.io/latest/blog/" + s.Ref + "/"
		case strings.Contains(s.Ref, "/"):
			return "https://istio.io/latest/docs/" + s.Ref + "/"
		}
	case KindNote:
		return "https://github.com/istio/istio/blob/master/releasenotes/notes/" + s.Ref + ".yaml"
	case KindIssue:
		if repo, number, ok := strings.Cut(s.Ref, "#"); ok {
			return "https://github.com/" + repo + "/issues/" + number
		}
	}
	return ""
}

// Name is what the source is and where.
func (s Source) Name() string {
	kind := map[Kind]string{
		KindDoc: "page ", KindBlog: "blog ", KindNote: "release note ", KindUpstream: "upstream test ",
		KindCode: "code ", KindImplied: "implied by ",
	}
	return kind[s.Kind] + s.Ref
}

func (s Source) String() string {
	var b strings.Builder
	b.WriteString(s.Name())
	if s.Quote != "" {
		b.WriteString(": “" + s.Quote + "”")
	}
	if s.Istio != "" {
		b.WriteString(" (Istio " + string(s.Istio) + ")")
	}
	return b.String()
}

// Outcomes of a limitation's probe.
type Outcomes struct {
	Acceptable []Outcome // any of these leaves the behavior conformant; the report says which it was
	Unsafe     []Outcome // any of these is a violation, whatever the documents say
	// PerRow says that the spec looks at a table of combinations, each of which has an outcome of its
	// own. The outcome of the whole is then the gravest: the acceptable ones stand in this order.
	PerRow bool `json:",omitempty"`
}

// Graver is the one of two acceptable outcomes that stands later; an empty name stands before all.
func (o *Outcomes) Graver(a, b string) string {
	place := func(name string) int {
		return slices.IndexFunc(o.Acceptable, func(o Outcome) bool { return o.Name == name })
	}
	if place(b) < place(a) {
		return a
	}
	return b
}

// Outcome is one thing that may happen, as a noun and a sentence.
type Outcome struct{ Name, Meaning string }

// Outcome finds an outcome by its name and says whether it is acceptable; ok is false for a name
// outside the set.
func (b *Behavior) Outcome(name string) (o Outcome, acceptable, ok bool) {
	if b.Outcomes == nil {
		return o, false, false
	}
	for _, o := range b.Outcomes.Acceptable {
		if o.Name == name {
			return o, true, true
		}
	}
	for _, o := range b.Outcomes.Unsafe {
		if o.Name == name {
			return o, false, true
		}
	}
	return o, false, false
}

// State says whether a spec proves the behavior.
type State struct {
	Automated bool
	// Why there is no spec; empty when there is one.
	Why string
	// Provisional: there is a spec, and it does not run while a dispute over it lasts.
	Provisional bool
}

// Proven is the state of a behavior that has a spec; a test of the suites holds that it is there.
var Proven = State{Automated: true}

// notAutomated is the state of a behavior without a spec.
func notAutomated(why string) State { return State{Why: why} }

// provisional is the state of a behavior whose spec is disputed. The spec does not run, and nobody
// is non-conformant by it, until the issue is closed. See docs/certify.md.
func provisional(issue, why string) State {
	return State{Why: "provisional, disputed in " + issue + ": " + why, Provisional: true}
}
