package behaviors

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Known is a fault of some versions of Istio: they break the promise, and it is known. The behavior
// runs and stays non-conformant there, but is counted apart, so that it does not hide what is new.
// A certified run takes no notice.
type Known struct {
	Finding string // section of docs/findings.md: what is promised, and what was seen
	Issue   string // owner/repository#number; empty when none is known
	Istio   Range  // the versions that have the fault
	// Part is the component that has the fault, where a stand-in may run in its place: there nothing is
	// known. Empty = another one.
	Part string `json:",omitempty"`
	// Seen are words of what the spec says when it sees the fault, each by itself enough. Another violation
	// of the same behavior is not known. None = whatever it says.
	Seen []string `json:",omitempty"`
	// Sporadic is a fault that does not show in every run, as a race: a run in which the behavior holds
	// does not tell that the version has it no longer.
	Sporadic bool `json:",omitempty"`
}

// Explains says whether what a spec has seen is the fault.
func (k Known) Explains(message string) bool {
	return len(k.Seen) == 0 || slices.ContainsFunc(k.Seen, func(words string) bool { return strings.Contains(message, words) })
}

// KnownFaults are the known faults by behavior. An entry needs a spec that shows the fault, and
// goes when the last supported version that has it goes; --fail-on-fixed tells when a version has
// it no longer.
var KnownFaults = map[string][]Known{
	"CP-04": {{Finding: "F-01", Istio: ">=1.31", Seen: []string{"/cp-04-far."}, Sporadic: true}}, // not through a waypoint
	"CP-22": {{Finding: "F-02", Istio: ">=1.31", Seen: []string{"every call to end as reset"}}},
	"CP-23": {{Finding: "F-20", Istio: ">=1.31", Seen: []string{"answered none of"}, Sporadic: true}},
	"GW-17": {{Finding: "F-13", Istio: ">=1.31", Seen: []string{"unsafe outcome bypassed"}}},
	"ID-21": {{Finding: "F-03", Issue: "istio/istio#61010", Istio: ">=1.31 <1.32", Seen: []string{"every call to end as reset"}}},
	"ID-24": {{Finding: "F-04", Issue: "istio/ztunnel#311", Istio: ">=1.31", Part: "ztunnel",
		Seen: []string{"the connection to be cut"}}},
	"ID-25": {{Finding: "F-04", Issue: "istio/ztunnel#311", Istio: ">=1.31", Part: "ztunnel",
		Seen: []string{"the connection to be cut"}}},
	"ID-26": {{Finding: "F-04", Issue: "istio/ztunnel#311", Istio: ">=1.31", Part: "ztunnel",
		Seen: []string{"every call to end as status or reset"}}},
	"SCOPE-08": {{Finding: "F-10", Istio: ">=1.31", Seen: []string{"unsafe outcome errors"}}},
	"SCOPE-17": {{Finding: "F-05", Istio: ">=1.31", Seen: []string{"unsafe outcome errors"}}},
	"SVC-09":   {{Finding: "F-09", Istio: ">=1.31", Seen: []string{"unsafe outcome plaintext"}}},
	"TRF-05":   {{Finding: "F-16", Istio: ">=1.31", Part: "ztunnel", Seen: []string{"to arrive whole"}}},
	"TRF-16": {{Finding: "F-07", Issue: "istio/istio#60074", Istio: ">=1.31",
		Seen: []string{"the other to notice within", "to arrive whole"}}},
	"TRF-17": {{Finding: "F-19", Istio: ">=1.31", Seen: []string{"to arrive whole"}}},
}

// KnownIn is the fault by which a version is known to break the behavior, where stand-ins run in
// place of some parts; nil when none is known.
func (b *Behavior) KnownIn(v Version, standIns []string) *Known {
	for _, k := range KnownFaults[b.ID] {
		if in, err := k.Istio.Contains(v); err == nil && in && !slices.Contains(standIns, k.Part) {
			return &k
		}
	}
	return nil
}

// In says what has the fault, and whether each run shows it.
func (k Known) In() string {
	in := "Istio " + string(k.Istio)
	if k.Part != "" {
		in = k.Part + " of " + in
	}
	if k.Sporadic {
		in += " (not in every run)"
	}
	return in
}

var findingForm = regexp.MustCompile(`^F-[0-9]{2}$`)

// checkKnown finds authoring mistakes of the known faults of a catalog.
func checkKnown(byID map[string]*Behavior, faults map[string][]Known) error {
	var mistakes []error
	for _, id := range slices.Sorted(maps.Keys(faults)) {
		say := func(format string, args ...any) {
			mistakes = append(mistakes, fmt.Errorf("known.go: %s: %s", id, fmt.Sprintf(format, args...)))
		}
		switch b := byID[id]; {
		case b == nil:
			say("there is no behavior of this id")
		case !b.State.Automated:
			say("no spec shows the fault")
		}
		for _, k := range faults[id] {
			if !findingForm.MatchString(k.Finding) {
				say("finding %q is not of the form F-00", k.Finding)
			}
			if k.Issue != "" && !issueForm.MatchString(k.Issue) {
				say("issue %q is not of the form owner/repository#number", k.Issue)
			}
			if k.Part != "" && k.Part != "ztunnel" && k.Part != "proxyv2" {
				say("part %q is none that a stand-in may replace", k.Part)
			}
			if len(k.Seen) == 0 {
				say("it does not say what is seen of the fault, so it would explain every violation")
			}
			if k.Istio == "" {
				say("it does not say which versions have the fault")
			} else if err := k.Istio.check(); err != nil {
				say("%v", err)
			}
		}
	}
	return errors.Join(mistakes...)
}
