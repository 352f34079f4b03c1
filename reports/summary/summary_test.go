package summary_test

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"testing"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/internal/example"
	"ambient.test/conformance/reports/planned"
	"ambient.test/conformance/reports/summary"
)

// A run is a success only if it left nothing of its profile's core open.
func TestResults(t *testing.T) {
	const user, topology, version, profile = "user", "topology", "version", "profile"
	conformant := func(id string) v1alpha2.BehaviorResult {
		return v1alpha2.BehaviorResult{ID: id, Verdict: v1alpha2.Conformant}
	}
	ended := func(id string, v v1alpha2.Verdict) v1alpha2.BehaviorResult {
		return v1alpha2.BehaviorResult{ID: id, Verdict: v}
	}
	skipped := func(id, class string) v1alpha2.BehaviorResult {
		return v1alpha2.BehaviorResult{ID: id, Verdict: v1alpha2.Skipped, Skip: &v1alpha2.Skip{Class: class, Reason: "a reason"}}
	}
	for name, c := range map[string]struct {
		profile   behaviors.Profile
		behaviors []v1alpha2.BehaviorResult
		change    func(*v1alpha2.ConformanceReport)
		result    v1alpha2.Result
		code      int
		says      string // of the shortfalls
	}{
		"all of it holds": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), conformant("WP-06")}, result: v1alpha2.Success},
		"out of the version's range": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("FO-01", version)},
			result: v1alpha2.Success},
		"a limitation was not probed": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("WP-06", topology)},
			result: v1alpha2.Success},
		"not of the profile": {profile: behaviors.ProfileSmoke,
			behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("LB-03", profile)}, result: v1alpha2.Success},
		"of the profile, whatever the class says": {
			behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("LB-03", profile)},
			result:    v1alpha2.Partial, code: 2, says: "1 core behavior did not run (profile: a reason): LB-03"},
		"core was skipped for the topology": {
			behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("INST-01", topology), skipped("INST-02", topology)},
			result:    v1alpha2.Partial, code: 2, says: "2 core behaviors did not run (topology: a reason): INST-01, INST-02"},
		"core was skipped for a stand-in": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("INST-01", "stand-in")},
			result: v1alpha2.Partial, code: 2, says: "(stand-in: a reason): INST-01"},
		"core was skipped for a feature": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("WP-01", "feature")},
			result: v1alpha2.Partial, code: 2, says: "(feature: a reason): WP-01"},
		"the user took core out": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), skipped("INST-01", user)},
			result: v1alpha2.Partial, code: 2, says: "(user: a reason): INST-01"},
		"a violation": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), ended("LB-03", v1alpha2.NonConformant)},
			result: v1alpha2.Failure, code: 1},
		"a violation and unknown": {
			behaviors: []v1alpha2.BehaviorResult{ended("LB-01", v1alpha2.Unknown), ended("LB-03", v1alpha2.NonConformant)},
			result:    v1alpha2.Failure, code: 1, says: "of 1 behavior nothing was learned"},
		"one unknown": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01"), ended("LB-03", v1alpha2.Unknown)},
			result: v1alpha2.Partial, code: 2, says: "of 1 behavior nothing was learned"},
		"nothing": {result: v1alpha2.Partial, code: 2, says: "nothing ran"},
		"nothing for this version": {behaviors: []v1alpha2.BehaviorResult{skipped("FO-01", version)},
			result: v1alpha2.Partial, code: 2, says: "nothing ran"},
		"the run stopped": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01")},
			change: func(r *v1alpha2.ConformanceReport) { r.Failure = "no gateway" },
			result: v1alpha2.Partial, code: 2, says: "the run could not go on: no gateway"},
		"the run was killed": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01")},
			change: func(r *v1alpha2.ConformanceReport) { r.Finished = false },
			result: v1alpha2.Partial, code: 2, says: "the run was not finished"},
		"something was left behind": {behaviors: []v1alpha2.BehaviorResult{conformant("LB-01")},
			change: func(r *v1alpha2.ConformanceReport) { r.Leaks = &v1alpha2.Leaks{Found: []string{"Service x"}} },
			result: v1alpha2.Partial, code: 2, says: "1 object left behind"},
		"limits": {profile: behaviors.ProfileLimits,
			behaviors: []v1alpha2.BehaviorResult{conformant("WP-06"), skipped("LB-01", profile)}, result: v1alpha2.Recorded},
		"limits, one not probed": {profile: behaviors.ProfileLimits,
			behaviors: []v1alpha2.BehaviorResult{conformant("WP-06"), skipped("WP-07", topology)},
			result:    v1alpha2.Partial, code: 2, says: "1 limitation did not run (topology: a reason): WP-07"},
		"limits, one unknown": {profile: behaviors.ProfileLimits,
			behaviors: []v1alpha2.BehaviorResult{conformant("WP-06"), ended("WP-07", v1alpha2.Unknown)},
			result:    v1alpha2.Partial, code: 2, says: "nothing was learned"},
		"limits, one unsafe": {profile: behaviors.ProfileLimits,
			behaviors: []v1alpha2.BehaviorResult{conformant("WP-06"), ended("WP-07", v1alpha2.NonConformant)},
			result:    v1alpha2.Failure, code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := &v1alpha2.ConformanceReport{Profile: string(cmp.Or(c.profile, behaviors.ProfileCore)), Finished: true, Behaviors: c.behaviors}
			for i := range r.Behaviors {
				b := behaviors.ByID(r.Behaviors[i].ID)
				r.Behaviors[i].Level, r.Behaviors[i].Chapter = string(b.Level), b.Chapter().Prefix
			}
			if c.change != nil {
				c.change(r)
			}
			summary.Fill(r)
			if r.Result != c.result {
				t.Errorf("got result %s, want %s", r.Result, c.result)
			}
			if got := summary.ExitCode(r); got != c.code {
				t.Errorf("got exit code %d, want %d", got, c.code)
			}
			got := strings.Join(summary.Shortfalls(r), "; ")
			if !strings.Contains(got, c.says) {
				t.Errorf("got the shortfalls %q, want %q", got, c.says)
			}
			if c.says == "" && got != "" {
				t.Errorf("got the shortfalls %q, want none", got)
			}
		})
	}
}

// On one network only what happens there can be recorded, and that is all there is to record.
func TestLimitsOfOneNetworkCanBeRecorded(t *testing.T) {
	head := example.Head()
	head.Environment.Clusters[1].Network = head.Environment.Clusters[0].Network
	p, err := plan.Compute(planned.Environment(&head.Environment), behaviors.ProfileLimits, plan.Filters{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(t.TempDir(), head, p)
	if err != nil {
		t.Fatal(err)
	}
	example.RecordAll(t, b, p)
	if _, err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := b.Report()
	if r.Result != v1alpha2.Recorded {
		t.Errorf("got result %s, want %s: %s", r.Result, v1alpha2.Recorded, strings.Join(summary.Shortfalls(&r), "; "))
	}
}

// The fleet of the main job, on which the core profile must be able to be a success.
func TestTheMainJobCanBeASuccess(t *testing.T) {
	head := example.Head()
	env := planned.Environment(&head.Environment)
	env.StandIns = []string{"ztunnel", "proxyv2"}
	for profile, want := range map[behaviors.Profile]v1alpha2.Result{
		behaviors.ProfileSmoke: v1alpha2.Success, behaviors.ProfileCore: v1alpha2.Success, behaviors.ProfileExtended: v1alpha2.Success,
		behaviors.ProfileLimits: v1alpha2.Recorded, behaviors.ProfileAll: v1alpha2.Success,
	} {
		t.Run(string(profile), func(t *testing.T) {
			p, err := plan.Compute(env, profile, plan.Filters{})
			if err != nil {
				t.Fatal(err)
			}
			b := example.Open(t, p)
			example.RecordAll(t, b, p)
			if _, err := b.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := b.Report()
			if r.Result != want {
				t.Errorf("got result %s, want %s: %s", r.Result, want, strings.Join(summary.Shortfalls(&r), "; "))
			}
		})
	}
}

func TestCoverage(t *testing.T) {
	for profile, level := range map[behaviors.Profile]behaviors.Level{
		behaviors.ProfileCore: behaviors.Core, behaviors.ProfileLimits: behaviors.Limitation,
	} {
		t.Run(string(profile), func(t *testing.T) {
			b := example.Open(t, example.Plan(t, profile, plan.Filters{}))
			r := b.Report()
			proven, all := 0, 0
			for _, b := range behaviors.All() {
				if b.Level == level {
					all++
					if b.State.Automated {
						proven++
					}
				}
			}
			if got, want := summary.Coverage(&r), fmt.Sprintf("%d of %d ", proven, all); !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			holds := fmt.Sprintf("; 0 of these %d hold", proven)
			if got := summary.Coverage(&r); strings.HasSuffix(got, holds) != (level == behaviors.Core) {
				t.Errorf("got %q, want %q of the core level only", got, holds)
			}
		})
	}
}

func TestHeadlineAndMarkdownSayStandIns(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	r := b.Report()
	r.Finished, r.Result = true, v1alpha2.Success
	for name, c := range map[string]struct {
		standIns []v1alpha2.StandIn
		headline string
		says     bool
	}{
		"none": {nil, "conformant, ", false},
		"one":  {[]v1alpha2.StandIn{{Name: "ztunnel", What: "another proxy"}}, "conformant with stand-ins, ", true},
	} {
		t.Run(name, func(t *testing.T) {
			r.Environment.StandIns = c.standIns
			if got := summary.Headline(&r); !strings.HasPrefix(got, c.headline) {
				t.Errorf("got headline %q, want %q", got, c.headline)
			}
			var out bytes.Buffer
			if err := summary.Markdown(&out, &r); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(out.String(), "> Not a certificate: "); got != c.says {
				t.Errorf("the summary says that it is no certificate: %v, want %v", got, c.says)
			}
			if want := "**" + summary.Coverage(&r) + ".**"; !strings.Contains(out.String(), want) {
				t.Errorf("the summary does not say %q", want)
			}
		})
	}
}

// What is known to be broken does not hold.
func TestHeadlineCountsKnownFaultsApart(t *testing.T) {
	for result, want := range map[v1alpha2.Result]string{
		v1alpha2.Success: "conformant but for 1 known fault of this version of Istio, 3 behaviors ran",
		v1alpha2.Partial: "partial, 3 behaviors ran and hold but for 1 known fault of this version of Istio",
	} {
		t.Run(string(result), func(t *testing.T) {
			r := v1alpha2.ConformanceReport{Finished: true, Result: result, Summary: v1alpha2.Counts{Conformant: 2, Known: 1}}
			if got := summary.Headline(&r); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	p := example.Plan(t, behaviors.ProfileSmoke, plan.Filters{})
	b := example.Open(t, p)
	example.RecordAll(t, b, p)
	broken := v1alpha2.BehaviorResult{
		ID: "LB-01", Verdict: v1alpha2.NonConformant,
		Message: "client of cluster1 -> echo:\n expected both clusters, saw cluster1 40 of 40\x1b[31m",
	}
	unsteady := v1alpha2.BehaviorResult{ID: "LB-01", Verdict: v1alpha2.Unknown, Message: "was as expected, then was not\n1 x 503"}
	for _, x := range []v1alpha2.BehaviorResult{unsteady, broken} {
		if err := b.Record(x); err != nil {
			t.Fatal(err)
		}
	}
	r := b.Report()
	var out bytes.Buffer
	if err := summary.Table(&out, &r); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{
		"chapter                           conformant  non-conformant  known  unknown  skipped  flaky\n",
		"non-conformant:\n  LB-01    Requests to a global service",
		"client of cluster1 -> echo: expected both clusters, saw cluster1 40 of 40",
		"convergence: ",
		"\nflaky, settled by another attempt alone: LB-01\n  LB-01    was as expected, then was not 1 x 503\n",
		"incomplete: the run was not finished\n",
		" core behaviors of the catalog have a spec; 7 of these ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("control characters reach the terminal")
	}
}
