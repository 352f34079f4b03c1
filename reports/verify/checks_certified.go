package verify

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
)

func (in *inspection) nothingTakenOut() (wrong []string) {
	if f := in.report.Filters; len(f.Include)+len(f.Exclude) > 0 {
		wrong = append(wrong, "the user chose or took out behaviors: "+strings.Join(slices.Concat(f.Include, f.Exclude), ", "))
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
		return []string{"the check for leaks did not run"}
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
			wrong = append(wrong, fmt.Sprintf("the contact %.80q is not a mail address, @handle or https address", c))
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
		wrong = append(wrong, "the suite had uncommitted changes")
	}
	return wrong
}

func (in *inspection) isolated() (wrong []string) {
	// The suite cannot probe from nodes that it does not own. There the spec probes from pods.
	bySpec := in.report.Environment.Provider == "existing" && slices.ContainsFunc(in.report.Behaviors, func(b v1alpha2.BehaviorResult) bool {
		return b.ID == behaviors.NoDirectPathBetweenPods.ID && b.Verdict == v1alpha2.Conformant
	})
	if i := in.report.Isolation; i == nil && !bySpec || i != nil && !i.Proven {
		wrong = append(wrong, "the isolation of the networks is not proven")
	}
	for _, c := range in.report.Preflight {
		if c.Status == v1alpha2.CheckFail {
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
