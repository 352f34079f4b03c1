package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images"
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
	twins   []string
	include []string
	settle  time.Duration
	theirs  bool
	list    bool
	faulty  string // image of the stand-in for ztunnel with faults; empty = none is needed
}

func mutateCommand() *cobra.Command {
	var o mutateOptions
	c := &cobra.Command{
		Use:   "mutate ID...|all",
		Short: "break the mesh on purpose and check that the specs turn red",
		Long: `Mutate applies each mutant, runs the specs of the behaviors that name it, none of which may be green,
and restores the mesh, which must be healthy before the next one. A mutant kills a spec when an expectation
fails, and the table says at which line; at a control or a precondition it is only noticed.
When all mutants are undone, each of the specs runs once more: all must be green. With "all" this is done
by M00, which comes last: it restarts what other mutants restart and breaks nothing, so it may neither
kill nor be noticed. After "all", every behavior must have been killed by at least one mutant. With
--twin other fleets that are like the first take their share of the mutants.

Use it on a mesh that was made to be broken. A mesh that the suite did not make is left alone unless
--allow-mesh-changes is given. It then needs kubeconfigs that may change istio-system, which the rights
of ` + "`amc rbac`" + ` do not allow.

Exit codes: 0 every spec turned red and the mesh is restored, 1 a spec stayed green on a broken mesh or
was never killed, 2 something is unknown, 3 usage.`,
		Example: `  amc mutate --list
  amc mutate M03 M06
  amc mutate M15 --include GW-01,GW-13 --settle 10s
  amc mutate all
  amc mutate all --twin _artifacts/twin1/fleet.yaml --twin _artifacts/twin2/fleet.yaml`,
		RunE: func(c *cobra.Command, args []string) error {
			if o.list {
				return listMutants(c.OutOrStdout())
			}
			return mutate(c.Context(), c.OutOrStdout(), o, args)
		},
	}
	f := c.Flags()
	f.StringVar(&o.fleet, "fleet", filepath.Join(artifactsDefault, kind.FleetFile), "the fleet file")
	f.StringArrayVar(&o.twins, "twin", nil,
		"fleet file of another fleet, made by the same options of amc up in another folder, that takes its share of the mutants; can be repeated")
	f.StringSliceVar(&o.include, "include", nil,
		"run only these behaviors, also if they do not name the mutant: ids, globs (GW-*) or chapters (LB)")
	f.DurationVar(&o.settle, "settle", 15*time.Second,
		"convergence timeout on the broken mesh; on the restored mesh it is twice the default")
	f.BoolVar(&o.theirs, "allow-mesh-changes", false, "also break a mesh that the suite did not make")
	f.BoolVar(&o.list, "list", false, "list the mutants and the behaviors that must turn red")
	return c
}

func listMutants(out io.Writer) error {
	for _, m := range mutants.All() {
		fmt.Fprintf(out, "%s  %s", m.ID, m.Break)
		if m.Does != "" {
			fmt.Fprintf(out, " (%s)", m.Does)
		}
		fmt.Fprintf(out, "\n     %s: %s\n", demand(m), strings.Join(ids(m.Targets()), ", "))
	}
	for _, m := range behaviors.Mutants {
		if why := mutants.NotHere[m.ID]; why != "" {
			fmt.Fprintf(out, "%s  %s\n     cannot be applied: %s\n", m.ID, m.Break, why)
		}
	}
	return nil
}

// last is 1 for the mutant that comes after all others, else 0.
func last(m *mutants.Mutant) int {
	if m.ID == mutants.NoOp {
		return 1
	}
	return 0
}

// demand says what a mutant asks of the specs.
func demand(m *mutants.Mutant) string {
	if m.ID == mutants.NoOp {
		return "must stay green"
	}
	return "must turn red"
}

func ids(all []*behaviors.Behavior) []string {
	var s []string
	for _, b := range all {
		s = append(s, b.ID)
	}
	return s
}

// targets lists the behaviors to run on a mutant, of those that run on this fleet at all. One that
// the version is known to break is red without a mutant: nothing has to show that it can be, and it
// cannot be green when the mesh is restored.
func (o mutateOptions) targets(m *mutants.Mutant, runs *plan.Plan, version behaviors.Version) []string {
	// Elsewhere it would be another proxy than the mesh's, or could not be brought onto the nodes.
	if e := runs.Environment; m.Fault != "" && (e.Provider != mesh.ProviderKind || !slices.Contains(e.StandIns, images.Ztunnel)) {
		return nil
	}
	all := m.Targets()
	if len(o.include) > 0 {
		all = slices.DeleteFunc(behaviors.WithSpecs(), func(b *behaviors.Behavior) bool {
			return !slices.ContainsFunc(o.include, func(p string) bool { return plan.Matches(p, b.ID) })
		})
	}
	return ids(slices.DeleteFunc(all, func(b *behaviors.Behavior) bool {
		_, ok := runs.Of(b.ID)
		return !ok || b.KnownIn(version, runs.Environment.StandIns) != nil
	}))
}

// trial is one behavior on one mutant: what its spec found on the broken and on the restored mesh.
type trial struct {
	mutant, id       string
	broken, restored spec.Result
}

// Results of a trial.
const (
	killed   = "killed"   // an expectation failed
	noticed  = "noticed"  // a control or a precondition failed
	survived = "SURVIVED" // the spec was green
	unclear  = "unclear"  // nothing was learned
	harmless = "unharmed" // green, as it must be on the mutant that breaks nothing
)

func (x trial) result() string {
	noop := x.mutant == mutants.NoOp
	switch {
	case x.broken.Verdict == v1alpha2.Conformant && noop:
		return harmless
	case x.broken.Verdict == v1alpha2.Conformant:
		return survived
	case x.broken.Verdict == v1alpha2.NonConformant:
		return killed
	case x.broken.Failed != "":
		return noticed
	}
	return unclear
}

func mutate(ctx context.Context, out io.Writer, o mutateOptions, args []string) error {
	var chosen []*mutants.Mutant
	for _, id := range args {
		m := mutants.ByID(strings.ToUpper(id))
		switch {
		case id == everyMutant && len(args) == 1:
			chosen = mutants.All()
		case m != nil:
			chosen = append(chosen, m)
		case mutants.NotHere[strings.ToUpper(id)] != "":
			return usage("mutant %s cannot be applied: %s", id, mutants.NotHere[strings.ToUpper(id)])
		default:
			return usage("there is no mutant %q: `amc mutate --list` names them", id)
		}
	}
	slices.SortStableFunc(chosen, func(a, b *mutants.Mutant) int { return cmp.Compare(last(a), last(b)) })
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
		return usage("the suite did not make the mesh of %s: give --allow-mesh-changes to break it nevertheless", o.fleet)
	}
	fleets, err := run.Twins(f, o.twins)
	if err != nil {
		return usage("%w", err)
	}
	fleets = append([]*mesh.Fleet{f}, fleets...)
	var dirs []string
	for _, f := range fleets {
		dirs = append(dirs, filepath.Dir(f.Path()))
	}
	release, err := lockDirs(dirs...)
	if err != nil {
		return err
	}
	defer release()
	for _, f := range fleets {
		if _, err := run.Healthy(ctx, f); err != nil {
			return unknown(err)
		}
	}
	selection := run.Selection{Profile: behaviors.ProfileAll}
	for _, b := range behaviors.WithSpecs() {
		if b.Feature != "" { // it runs only where that is claimed
			selection.Claims = append(selection.Claims, b.Feature)
		}
	}
	everything, err := selection.Plan(run.Environment(f))
	if err != nil {
		return err
	}
	version, err := behaviors.ParseVersion(f.Istio)
	if err != nil {
		return usage("%w", err)
	}
	for _, b := range behaviors.WithSpecs() {
		if k := b.KnownIn(version, everything.Environment.StandIns); k != nil {
			fmt.Fprintf(out, "%s is left out: this version is known to break it (%s), so it is red without a mutant\n", b.ID, k.Finding)
		}
	}
	for _, f := range fleets {
		fx, err := fixture.Create(ctx, f) // some mutants break a part of it
		if err != nil {
			return unknown(err)
		}
		fx.Close()
	}
	complete := slices.Equal(args, []string{everyMutant})
	targets := map[string][]string{}
	for _, m := range chosen {
		targets[m.ID] = o.targets(m, everything, version)
		switch {
		case len(targets[m.ID]) > 0:
		case complete:
			fmt.Fprintf(out, "%s: no spec that names it runs on this fleet\n", m.ID)
		default:
			return usage("no behavior with a spec that runs on this fleet is chosen for %s", m.ID)
		}
	}
	chosen = slices.DeleteFunc(chosen, func(m *mutants.Mutant) bool { return len(targets[m.ID]) == 0 })
	if slices.ContainsFunc(chosen, func(m *mutants.Mutant) bool { return m.Fault != "" }) {
		for _, f := range fleets {
			if o.faulty, err = faultyZtunnel(ctx, f); err != nil { // the same image on all
				return unknown(err)
			}
		}
	}
	out = &lines{w: out}
	began := time.Now()
	all, err := share(fleets, chosen, func(i int, on ...*mesh.Fleet) ([]trial, error) {
		fmt.Fprintf(out, "[%s] mutant %d of %d\n", time.Since(began).Round(time.Second), i+1, len(chosen))
		return o.try(ctx, out, on, chosen[i], targets[chosen[i].ID])
	})
	if err == nil {
		err = o.again(ctx, out, fleets, all)
	}
	return printTrials(out, all, err, complete)
}

// lines is a writer for several writers of whole lines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// share tries each mutant on the next fleet that is free, and at last the one that breaks nothing, on
// all of them. A fleet that cannot be mended ends it; what the others are at is finished.
func share(fleets []*mesh.Fleet, chosen []*mutants.Mutant, try func(i int, on ...*mesh.Fleet) ([]trial, error)) ([]trial, error) {
	apart := slices.IndexFunc(chosen, func(m *mutants.Mutant) bool { return last(m) == 1 })
	if apart < 0 {
		apart = len(chosen)
	}
	found, failed := make([][]trial, len(chosen)), make([]error, len(fleets))
	var next atomic.Int64
	var all sync.WaitGroup
	for n, f := range fleets {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < apart; i = int(next.Add(1)) - 1 {
				if found[i], failed[n] = try(i, f); failed[n] != nil {
					next.Store(int64(apart))
					return
				}
			}
		})
	}
	all.Wait()
	err := errors.Join(failed...)
	if err == nil && apart < len(chosen) {
		found[apart], err = try(apart, fleets...)
	}
	return slices.Concat(found...), err
}

// faultyZtunnel is the image of the stand-in for ztunnel with faults, on all nodes of the fleet.
func faultyZtunnel(ctx context.Context, f *mesh.Fleet) (ref string, err error) {
	cache, err := engine.CacheDir()
	if err != nil {
		return "", err
	}
	var nodes []string
	for _, c := range f.Clusters {
		nodes = append(nodes, c.Kind.Nodes...)
	}
	return images.FaultyZtunnel(ctx, images.Options{Istio: f.Istio, CacheDir: cache, Engine: &engine.Engine{Host: f.Kind.DockerHost}}, nodes)
}

// try applies one mutant to fleets, runs its specs on them and restores them, whatever happens, until
// they are healthy.
func (o mutateOptions) try(ctx context.Context, out io.Writer, fleets []*mesh.Fleet, m *mutants.Mutant,
	chosen []string) (found []trial, err error) {
	fmt.Fprintf(out, "%s: %s; %s: %s\n", m.ID, m.Break, demand(m), strings.Join(chosen, ", "))
	began := time.Now()
	var undos []mutants.Undo
	for _, f := range fleets {
		undo, aerr := m.Apply(ctx, f, o.faulty)
		if aerr != nil {
			err = aerr
			break
		}
		undos = append(undos, undo)
	}
	if err == nil {
		fmt.Fprintf(out, "%s: applied in %s\n", m.ID, time.Since(began).Round(100*time.Millisecond))
		var broken map[string]spec.Result
		broken, err = o.specs(ctx, out, fleets, chosen, o.settle)
		for _, id := range chosen {
			if r, ok := broken[id]; ok {
				x := trial{mutant: m.ID, id: id, broken: r}
				fmt.Fprintf(out, "%s: %s %s %s\n", m.ID, id, x.result(), r.At)
				found = append(found, x)
			}
		}
	}
	began = time.Now()
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
	defer cancel()
	var kept error // of one fleet; the others are mended all the same
	for _, undo := range undos {
		kept = errors.Join(kept, undo(after))
	}
	if kept != nil {
		return found, unknown(fmt.Errorf("%s could not be undone, the mesh is broken: %w", m.ID, errors.Join(kept, err)))
	}
	for _, f := range fleets {
		if err == nil {
			_, err = run.Healthy(ctx, f)
		}
	}
	if err != nil {
		return found, unknown(err)
	}
	fmt.Fprintf(out, "%s: restored in %s\n", m.ID, time.Since(began).Round(100*time.Millisecond))
	return found, nil
}

// again fills in what each spec found on the restored meshes.
func (o mutateOptions) again(ctx context.Context, out io.Writer, fleets []*mesh.Fleet, all []trial) error {
	restored, left := seenRestored(all)
	if len(left) > 0 {
		fmt.Fprintf(out, "all is undone; must be green: %s\n", strings.Join(left, ", "))
		found, err := o.specs(ctx, out, fleets, left, 2*spec.DefaultTimes.Convergence)
		if err != nil {
			return unknown(err)
		}
		maps.Copy(restored, found)
	}
	for i := range all {
		all[i].restored = restored[all[i].id]
	}
	return nil
}

// seenRestored returns what the mutant that breaks nothing and comes last has said already of the
// restored mesh, and the behaviors whose specs must still run on it.
func seenRestored(all []trial) (restored map[string]spec.Result, left []string) {
	restored = map[string]spec.Result{}
	for _, x := range all {
		if x.result() == harmless {
			restored[x.id] = x.broken
		}
	}
	for _, x := range all {
		if _, ok := restored[x.id]; !ok && !slices.Contains(left, x.id) {
			left = append(left, x.id)
		}
	}
	return restored, left
}

// everyMutant is the argument that chooses all mutants.
const everyMutant = "all"

// printTrials prints the table and turns it into the exit code. complete says that every mutant was
// tried, so that each behavior must have been killed.
func printTrials(out io.Writer, all []trial, failed error, complete bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	count, seenRed := map[string]int{}, map[string]bool{}
	notRestored, harmed := 0, 0
	fmt.Fprintln(w, "\nMUTANT\tBEHAVIOR\tRESULT\tAT\tRESTORED\tSEEN")
	for _, x := range all {
		result := x.result()
		count[result]++
		switch {
		case x.mutant != mutants.NoOp:
			seenRed[x.id] = seenRed[x.id] || result == killed
		case result != harmless:
			harmed++
		}
		if x.restored.Verdict != v1alpha2.Conformant {
			notRestored++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", x.mutant, x.id, result, x.broken.At, x.restored.Verdict, inBrief(x.broken.Message))
	}
	_ = w.Flush()
	fmt.Fprintf(out, "\n%d killed, %d noticed, %d survived, %d unclear\n", count[killed], count[noticed], count[survived], count[unclear])
	var never []string
	for id, red := range seenRed {
		if !red {
			never = append(never, id)
		}
	}
	slices.SortFunc(never, behaviors.CompareIDs)
	if len(never) > 0 {
		fmt.Fprintf(out, "never killed at an expectation: %s\n", strings.Join(never, ", "))
	}
	switch {
	case failed != nil:
		return failed
	case count[survived] > 0:
		return exit{exitNonConformant, fmt.Errorf("%d specs stayed green on a broken mesh: they prove less than they say", count[survived])}
	case harmed > 0:
		return exit{exitNonConformant, fmt.Errorf("%d specs turned red on %s, which breaks nothing: what they say of other mutants may be"+
			" the doing of the restart", harmed, mutants.NoOp)}
	case complete && len(never) > 0:
		return exit{exitNonConformant, fmt.Errorf("%d behaviors were not killed by any mutant: nobody has seen their promise fail", len(never))}
	case count[unclear] > 0, notRestored > 0:
		return unknown(errors.New("some results are unclear: a spec that is unknown on the broken mesh has not seen what is broken; " +
			"a spec that is not green on the restored mesh may be right"))
	}
	return nil
}

// inBrief returns the first line of a message, with what was seen.
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

// specs runs behaviors, divided among the fleets, and returns their results. Unlike `amc run` it neither
// checks the health of the meshes nor repairs them.
func (o mutateOptions) specs(ctx context.Context, out io.Writer, fleets []*mesh.Fleet, chosen []string,
	convergence time.Duration) (map[string]spec.Result, error) {
	var fixtures []*fixture.Fixture
	for _, f := range fleets {
		fx, err := fixture.Create(ctx, f)
		if err != nil {
			return nil, err
		}
		defer fx.Close()
		run.Equip(fx)
		fixtures = append(fixtures, fx)
	}
	times := spec.DefaultTimes
	times.Convergence, times.Spec = convergence, max(times.Spec, 12*convergence)
	specs := slices.DeleteFunc(spec.All(), func(s *spec.Spec) bool { return !slices.Contains(chosen, s.Behavior.ID) })
	r := runner.Start(ctx, specs, runner.Options{Fixtures: fixtures, Times: times, Parallel: beside / (1 + len(o.twins))})
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

// beside is how many specs run at the same time, on all fleets.
const beside = 6
