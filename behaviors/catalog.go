package behaviors

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// registry collects declarations; the catalog is one, tests make others.
type registry struct {
	all  []*Behavior
	byID map[string]*Behavior
}

var catalog registry

func declare(b Behavior) *Behavior { return catalog.declare(b, 2) }

func (r *registry) declare(b Behavior, skip int) *Behavior {
	runtime.Callers(skip+1, b.declared[:])
	r.all = append(r.all, &b)
	if r.byID == nil {
		r.byID = map[string]*Behavior{}
	}
	if r.byID[b.ID] == nil {
		r.byID[b.ID] = &b
	}
	return &b
}

// place is the file and line of the declaration. They are resolved only to report a mistake: for
// the whole catalog that takes milliseconds, and every start of the program would pay them.
func (b *Behavior) place() string {
	f, _ := runtime.CallersFrames(b.declared[:]).Next()
	return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
}

// All is the catalog in its order: by chapter, then by number.
func All() []*Behavior { return slices.Clone(inOrder()) }

var inOrder = sync.OnceValue(catalog.sorted)

func (r *registry) sorted() []*Behavior {
	all := slices.Clone(r.all)
	slices.SortStableFunc(all, func(a, b *Behavior) int { return CompareIDs(a.ID, b.ID) })
	return all
}

// ByID finds a behavior; nil if there is none of this id.
func ByID(id string) *Behavior { return catalog.byID[id] }

// WithSpecs are the behaviors whose state is [Proven], in the catalog's order.
func WithSpecs() []*Behavior {
	return slices.DeleteFunc(All(), func(b *Behavior) bool { return !b.State.Automated })
}

// CompareIDs orders ids as the catalog does; ids of no chapter come last.
func CompareIDs(a, b string) int {
	ap, an, _ := strings.Cut(a, "-")
	bp, bn, _ := strings.Cut(b, "-")
	ai, _ := strconv.Atoi(an)
	bi, _ := strconv.Atoi(bn)
	return cmp.Or(cmp.Compare(chapterIndex(ap), chapterIndex(bp)), cmp.Compare(ap, bp), cmp.Compare(ai, bi), cmp.Compare(a, b))
}

// Check finds all authoring mistakes of the catalog, each with file and line, and reports them
// together.
func Check() error {
	return errors.Join(catalog.check(), checkKnown(catalog.byID, KnownFaults), checkFaults(catalog.byID, Faults))
}

var idForm = regexp.MustCompile(`^[A-Z]+-[0-9]{2}$`)

func (r *registry) check() error {
	var mistakes []error
	first := map[string]*Behavior{}
	for _, b := range r.sorted() {
		say := func(format string, args ...any) {
			mistakes = append(mistakes, fmt.Errorf("%s: %s: %s", b.place(), b.ID, fmt.Sprintf(format, args...)))
		}
		prefix, _, _ := strings.Cut(b.ID, "-")
		if !idForm.MatchString(b.ID) {
			say("the id is not of the form CHAPTER-00")
		} else if _, ok := ChapterOf(prefix); !ok {
			say("there is no chapter %s", prefix)
		}
		if f := first[b.ID]; f != nil {
			say("the id is already taken at %s", f.place())
		} else {
			first[b.ID] = b
		}
		if !slices.Contains(Levels, b.Level) {
			say("level %q is none of %v", b.Level, Levels)
		}
		if b.Promise == "" {
			say("it has no promise")
		} else if !strings.HasSuffix(b.Promise, ".") {
			say("the promise is not a sentence: it does not end with a full stop")
		}
		if len(b.Sources) == 0 {
			say("it has no source")
		}
		for _, s := range b.Sources {
			if s.Ref == "" {
				say("a source of kind %q has no reference", s.Kind)
			}
			if err := s.Istio.check(); err != nil {
				say("source %s: %v", s.Ref, err)
			}
			if s.Kind == KindIssue && !issueForm.MatchString(s.Ref) {
				say("source %q is not of the form owner/repository#number", s.Ref)
			}
		}
		if b.Istio == "" {
			say("it has no Istio range")
		} else if err := b.Istio.check(); err != nil {
			say("%v", err)
		}
		for _, n := range b.Needs {
			if n.Info().Meaning == "" {
				say("need %q is unknown", n)
			}
		}
		for _, p := range b.In {
			if !slices.Contains(Profiles, p) {
				say("profile %q is unknown", p)
			}
		}
		switch {
		case b.Level == Extended && b.Feature == "":
			say("an extended behavior belongs to a feature")
		case b.Level != Extended && b.Feature != "":
			say("only an extended behavior belongs to a feature")
		case b.Feature != "" && featureMeaning[b.Feature] == "":
			say("feature %q is unknown", b.Feature)
		}
		switch {
		case b.Level == Limitation && (b.Outcomes == nil || len(b.Outcomes.Acceptable) == 0):
			say("a limitation names its acceptable outcomes")
		case b.Level == Core && b.Outcomes != nil:
			say("what is core holds or does not: only limitations and extended probes name outcomes")
		case b.Outcomes != nil:
			names := map[string]bool{}
			for _, o := range slices.Concat(b.Outcomes.Acceptable, b.Outcomes.Unsafe) {
				if o.Name == "" || o.Meaning == "" || names[o.Name] {
					say("outcome %q needs a name of its own and a sentence", o.Name)
				}
				names[o.Name] = true
			}
		}
		for _, m := range b.Mutants {
			if MutantByID(m) == nil {
				say("mutant %q is unknown", m)
			}
		}
		if b.Proof == "" {
			say("it does not say how it is proven")
		}
		if b.Provoke == "" {
			say("it does not say how it is provoked")
		}
		if b.State.Automated == (b.State.Why != "") {
			say("it is either proven by a spec or says why not")
		}
	}
	return errors.Join(mistakes...)
}

var issueForm = regexp.MustCompile(`^[\w.-]+/[\w.-]+#[0-9]+$`)
