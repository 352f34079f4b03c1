package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/plan"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/suites"
)

func runCommand() *cobra.Command {
	var fleet, profile string
	var filters plan.Filters
	times := prove.DefaultTimes
	c := &cobra.Command{
		Use:   "run",
		Short: "run the specs of a profile against the fleet of a fleet file",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := mesh.Load(fleet)
			if err != nil {
				return usage("%w", err)
			}
			p, err := plan.Compute(environment(f), behaviors.Profile(profile), filters)
			if err != nil {
				return usage("%w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "plan: %d run, %d skipped, %d have no spec yet\n", len(p.Run), len(p.Skip), len(p.NotAutomated))
			for _, f := range f.Clusters {
				if err := f.Connect(); err != nil {
					return unknown(err)
				}
			}
			var t failing
			results, err := suites.Run(c.Context(), &t, suites.Options{Fleet: f, Times: times, Out: c.OutOrStdout(), Skip: func(id string) (string, bool) {
				e, runs := p.Of(id)
				if runs {
					return "", false
				}
				return fmt.Sprintf("%s: %s", e.Class, e.Reason), true
			}})
			if err != nil {
				return unknown(err)
			}
			return judge(c, p, results)
		},
	}
	c.Flags().StringVar(&fleet, "fleet", "_artifacts/fleet.yaml", "the fleet file")
	c.Flags().StringVar(&profile, "profile", string(behaviors.ProfileCore), fmt.Sprintf("one of %v", behaviors.Profiles))
	c.Flags().StringSliceVar(&filters.Include, "include", nil, "only these: ids, globs (GW-*) or chapters (LB)")
	c.Flags().StringSliceVar(&filters.Exclude, "exclude", nil, "all but these")
	c.Flags().DurationVar(&times.Settle, "settle", times.Settle, "how long a change may take to show in traffic")
	c.Flags().DurationVar(&times.Hold, "hold", times.Hold, "how long it must then stay")
	return c
}

// environment is what the plan is told of a fleet. What is not known stays false, and what needs it is skipped.
func environment(f *mesh.Fleet) plan.Environment {
	networks := map[string]bool{}
	for _, c := range f.Clusters {
		networks[c.Network] = true
	}
	owned := f.Provider == mesh.ProviderKind
	env := plan.Environment{
		Provider: f.Provider, Istio: f.Istio, Clusters: len(f.Clusters), Networks: len(networks), Nodes: 1,
		Owned: owned, MeshAdmin: owned, NodeAccess: owned,
		MeshCA:    true, // istiod signs for any ServiceAccount whose token the suite can ask for
		Waypoints: true,
	}
	for name, i := range f.Images {
		if i.StandIn != "" {
			env.StandIns = append(env.StandIns, name)
		}
	}
	return env
}

// judge turns results into the exit code. What was planned and never ran is unknown.
func judge(c *cobra.Command, p *plan.Plan, results []prove.Result) error {
	got := map[string]prove.Verdict{}
	for _, r := range results {
		got[r.Behavior.ID] = r.Verdict
	}
	count := map[prove.Verdict]int{}
	for _, e := range p.Run {
		v, ran := got[e.Behavior.ID]
		if !ran {
			v = prove.Unknown
		}
		count[v]++
		fmt.Fprintf(c.OutOrStdout(), "%-9s %s\n", e.Behavior.ID, v)
	}
	fmt.Fprintf(c.OutOrStdout(), "%d conformant, %d non-conformant, %d unknown\n", count[prove.Conformant], count[prove.NonConformant], count[prove.Unknown])
	switch {
	case count[prove.NonConformant] > 0:
		return exit{exitNonConformant, errors.New("promises were seen broken: see above")}
	case count[prove.Unknown] > 0:
		return unknown(errors.New("for some promises nothing was learnt: see above"))
	case len(prove.CleanupErrors) > 0:
		return unknown(fmt.Errorf("not all was cleaned up: %w", errors.Join(prove.CleanupErrors...)))
	}
	return nil
}

// failing lets Ginkgo tell that the suite failed; the verdicts say why.
type failing struct{ failed bool }

func (t *failing) Fail() { t.failed = true }
