package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/runner"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/mutants"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/run"
)

type mutateOptions struct {
	fleet   string
	include []string
	settle  time.Duration
	theirs  bool
	list    bool
}

func mutateCommand() *cobra.Command {
	var o mutateOptions
	c := &cobra.Command{
		Use:   "mutate ID...|all",
		Short: "break the mesh on purpose and see whether the specs that must notice turn red",
		Long: `Mutate applies each mutant, runs the specs of the behaviors that name it, demands that none is green, mends the mesh and demands that all are green again.
It is for meshes that were made to be broken: one that the suite has not made is left alone unless --allow-mesh-changes is given, and then kubeconfigs are needed that may
change istio-system, which the rights of ` + "`amc rbac`" + ` do not.

Exit codes: 0 all were noticed and the mesh is mended, 1 a spec stayed green on a broken mesh, 2 something is unknown, 3 usage.`,
		Example: `  amc mutate --list
  amc mutate M03 M06
  amc mutate M15 --include GW-01,GW-13 --settle 10s
  amc mutate all`,
		RunE: func(c *cobra.Command, args []string) error {
			if o.list {
				return listMutants(c.OutOrStdout())
			}
			return mutate(c.Context(), c.OutOrStdout(), o, args)
		},
	}
	f := c.Flags()
	f.StringVar(&o.fleet, "fleet", filepath.Join(artifactsDefault, kind.FleetFile), "the fleet file")
	f.StringSliceVar(&o.include, "include", nil, "run only these behaviors: ids, globs (GW-*) or chapters (LB), whether they name the mutant or not")
	f.DurationVar(&o.settle, "settle", 15*time.Second, "how long a spec on the broken mesh waits for what will not come; the mended one gets twice the usual time")
	f.BoolVar(&o.theirs, "allow-mesh-changes", false, "break a mesh that the suite has not made, too")
	f.BoolVar(&o.list, "list", false, "list the mutants and what must turn red")
	return c
}

func listMutants(out io.Writer) error {
	for _, m := range mutants.All() {
		fmt.Fprintf(out, "%s  %s", m.ID, m.Break)
		if m.Does != "" {
			fmt.Fprintf(out, " (%s)", m.Does)
		}
		fmt.Fprintf(out, "\n     must turn red: %s\n", strings.Join(ids(m.Targets()), ", "))
	}
	for _, m := range behaviors.Mutants {
		if why := mutants.NotHere[m.ID]; why != "" {
			fmt.Fprintf(out, "%s  %s\n     cannot be applied: %s\n", m.ID, m.Break, why)
		}
	}
	return nil
}

func ids(all []*behaviors.Behavior) []string {
	var s []string
	for _, b := range all {
		s = append(s, b.ID)
	}
	return s
}

// targets are the behaviors to run on a mutant.
func (o mutateOptions) targets(m *mutants.Mutant) []string {
	if len(o.include) == 0 {
		return ids(m.Targets())
	}
	var chosen []string
	for _, b := range behaviors.WithSpecs() {
		if slices.ContainsFunc(o.include, func(p string) bool { return plan.Matches(p, b.ID) }) {
			chosen = append(chosen, b.ID)
		}
	}
	return chosen
}

// finding is what became of one behavior on one mutant.
type finding struct {
	mutant, id, message string
	broken, mended      v1alpha2.Verdict
}

func mutate(ctx context.Context, out io.Writer, o mutateOptions, args []string) error {
	var chosen []*mutants.Mutant
	if slices.Equal(args, []string{"all"}) {
		chosen, args = mutants.All(), nil
	}
	for _, id := range args {
		m := mutants.ByID(strings.ToUpper(id))
		switch {
		case m != nil:
			chosen = append(chosen, m)
		case mutants.NotHere[strings.ToUpper(id)] != "":
			return usage("mutant %s cannot be applied: %s", id, mutants.NotHere[strings.ToUpper(id)])
		default:
			return usage("there is no mutant %q: `amc mutate --list` names them", id)
		}
	}
	if len(chosen) == 0 {
		return usage("name a mutant: `amc mutate --list` names them")
	}
	for _, p := range o.include {
		if err := plan.Known(p); err != nil {
			return usage("--include: %w", err)
		}
	}
	f, err := mesh.Load(o.fleet)
	if err != nil {
		return usage("%w", err)
	}
	if f.Provider != mesh.ProviderKind && !o.theirs {
		return usage("the mesh of %s is not ours to break: --allow-mesh-changes does it nevertheless", o.fleet)
	}
	release, err := lockDirs(filepath.Dir(f.Path()))
	if err != nil {
		return err
	}
	defer release()
	if _, err := run.Healthy(ctx, f); err != nil {
		return unknown(err)
	}
	var all []finding
	var failed error
	for _, m := range chosen {
		found, err := o.try(ctx, out, f, m)
		all = append(all, found...)
		if err != nil {
			failed = err
			break
		}
	}
	return tell(out, all, failed)
}

// try applies one mutant, runs its specs, mends the mesh and runs them again. Whatever happens, the mesh is mended.
func (o mutateOptions) try(ctx context.Context, out io.Writer, f *mesh.Fleet, m *mutants.Mutant) (found []finding, err error) {
	chosen := o.targets(m)
	if len(chosen) == 0 {
		return nil, usage("no behavior with a spec is chosen for %s", m.ID)
	}
	fmt.Fprintf(out, "%s: %s; must turn red: %s\n", m.ID, m.Break, strings.Join(chosen, ", "))
	began := time.Now()
	undo, err := m.Apply(ctx, f)
	if err != nil {
		return nil, unknown(err)
	}
	fmt.Fprintf(out, "%s: applied in %s\n", m.ID, time.Since(began).Round(100*time.Millisecond))
	broken, err := o.specs(ctx, out, f, chosen, o.settle)
	began = time.Now()
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
	defer cancel()
	if uerr := undo(after); uerr != nil {
		return nil, unknown(fmt.Errorf("%s could not be undone, the mesh is broken: %w", m.ID, errors.Join(uerr, err)))
	}
	fmt.Fprintf(out, "%s: mended in %s\n", m.ID, time.Since(began).Round(100*time.Millisecond))
	if err != nil {
		return nil, unknown(err)
	}
	mended, err := o.specs(ctx, out, f, chosen, 2*spec.DefaultTimes.Convergence)
	if err != nil {
		return nil, unknown(err)
	}
	for _, id := range chosen {
		x := finding{mutant: m.ID, id: id, broken: v1alpha2.Unknown, mended: v1alpha2.Unknown}
		if r, ok := broken[id]; ok {
			x.broken, x.message = r.Verdict, r.Message
		}
		if r, ok := mended[id]; ok {
			x.mended = r.Verdict
		}
		found = append(found, x)
	}
	return found, nil
}

// tell prints the table and turns it into the exit code.
func tell(out io.Writer, all []finding, failed error) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	survived, unclear := 0, 0
	fmt.Fprintln(w, "\nMUTANT\tBEHAVIOR\tON THE MUTANT\tMENDED\tRESULT\tSEEN")
	for _, x := range all {
		result := "killed"
		switch {
		case x.broken == v1alpha2.Conformant:
			result = "SURVIVED"
			survived++
		case x.broken != v1alpha2.NonConformant:
			result = "unclear"
			unclear++
		}
		if x.mended != v1alpha2.Conformant {
			result += ", not mended"
			unclear++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", x.mutant, x.id, x.broken, x.mended, result, inBrief(x.message))
	}
	_ = w.Flush()
	if controls := onlyControls(all); len(controls) > 0 {
		fmt.Fprintf(out, "\nOnly a control was seen failing, not the expectation itself: %s\n", strings.Join(controls, ", "))
	}
	switch {
	case failed != nil:
		return failed
	case survived > 0:
		return exit{exitNonConformant, fmt.Errorf("%d specs stayed green on a broken mesh: what they prove is less than they say", survived)}
	case unclear > 0:
		return unknown(errors.New("not all is clear: a spec that is unknown on the broken mesh has not noticed what is broken; one that is not green on the mended mesh may be right"))
	}
	return nil
}

// onlyControls are the behaviors that were noticed to be broken, and on no mutant by their claim.
func onlyControls(all []finding) []string {
	claimed := map[string]bool{}
	for _, x := range all {
		if x.broken == v1alpha2.NonConformant {
			claimed[x.id] = claimed[x.id] || !strings.Contains(x.message, spec.ControlMark)
		}
	}
	var controls []string
	for id, claim := range claimed {
		if !claim {
			controls = append(controls, id)
		}
	}
	slices.Sort(controls)
	return controls
}

// inBrief is a message's first line with what was seen.
func inBrief(message string) string {
	lines := strings.Split(message, "\n")
	short := lines[0]
	for _, l := range lines[1:] {
		if s, ok := strings.CutPrefix(l, "seen"); ok {
			short += ": " + strings.TrimSpace(s)
			break
		}
	}
	if r := []rune(short); len(r) > 180 {
		short = string(r[:180]) + "..."
	}
	return short
}

// specs runs behaviors and returns their results. Unlike `amc run` it neither asks whether the mesh is
// well nor repairs what looks like an accident.
func (o mutateOptions) specs(ctx context.Context, out io.Writer, f *mesh.Fleet, chosen []string, convergence time.Duration) (map[string]spec.Result, error) {
	fx, err := fixture.Create(ctx, f)
	if err != nil {
		return nil, err
	}
	defer fx.Close()
	times := spec.DefaultTimes
	times.Convergence, times.Spec = convergence, max(times.Spec, 12*convergence)
	specs := slices.DeleteFunc(spec.All(), func(s *spec.Spec) bool { return !slices.Contains(chosen, s.Behavior.ID) })
	r := runner.Start(ctx, specs, runner.Options{Fixture: fx, Times: times, Parallel: 3})
	for _, left := range r.Wait() {
		fmt.Fprintf(out, "left behind: %v\n", left)
	}
	results := map[string]spec.Result{}
	for _, id := range chosen {
		if x, ok := r.Result(id); ok {
			results[id] = x
		}
	}
	return results, ctx.Err()
}
