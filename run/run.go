// Package run is a whole run as a library: plan, preflight, fixture, specs, leak check, bundle and
// verdict. `amc run`, `go test ./suites` and a vendor's own test call [Run] and write the same
// bundle.
package run

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/runner"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/internal/filelock"
	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"

	_ "ambient.test/conformance/suites" // declares the specs
)

// Options say what a run proves, on what, and where the bundle goes. Only Fleet and Artifacts are
// required.
type Options struct {
	// Fleet is the path of the fleet file.
	Fleet string
	// Twins are the paths of fleet files of fleets made like Fleet. The specs are divided among all of
	// them; a certified run has none.
	Twins []string
	// Artifacts is the folder of the bundle; an older bundle in it is replaced.
	Artifacts string
	Selection
	// Certified keeps the rules of a certificate; what breaks one is refused before anything runs.
	Certified bool
	// Implementation says whose mesh is tested; required of a certified run.
	Implementation v1alpha2.Implementation
	// FailOnFlake makes it an error that a behavior needed another attempt.
	FailOnFlake bool
	// FailOnFixed makes it an error that a behavior holds which this version of Istio is known to
	// break.
	FailOnFixed bool
	// Times are the limits in force; default [spec.DefaultTimes].
	Times spec.Times
	// Parallel is how many specs may run at the same time on each fleet; default 12 where the machine's
	// load can be measured, which then says when the next one begins, 8 divided by the clusters
	// elsewhere, and 1 in a certified run.
	Parallel int
	// Seed of the specs' order; default from the clock.
	Seed int64
	// Out is where progress goes, one line per spec; default nowhere.
	Out io.Writer
	// Verbose adds what each spec saw to the progress.
	Verbose bool
	// Anew makes the fleet of a fleet file anew, in the same folder, when a spec could not undo what it
	// did; nil = the fleet stays as it is, and so it does where others made the clusters.
	Anew func(ctx context.Context, fleet string) error
	// T, if set, gets Ginkgo's own output and verdict, as in a Go test.
	T ginkgo.GinkgoTestingT
}

// Selection is the user's part of a plan.
type Selection struct {
	// Profile is what the run proves; default core.
	Profile behaviors.Profile
	Filters plan.Filters
	// Claims are features that the implementation claims.
	Claims []behaviors.Feature
	// AllowMeshChanges lets specs change istio-system in clusters that the suite has not made, for
	// this run. A fleet file may allow it for good.
	AllowMeshChanges bool
}

// Plan computes what a run of the selection in the environment would do.
func (s Selection) Plan(env plan.Environment) (*plan.Plan, error) {
	env.Features = append(env.Features, s.Claims...)
	if s.AllowMeshChanges {
		env.Has[behaviors.MeshAdmin] = true
	}
	p, err := plan.Compute(env, cmp.Or(s.Profile, behaviors.ProfileCore), s.Filters)
	if err != nil {
		return nil, UsageError{err}
	}
	return p, nil
}

// UsageError says that the options cannot be used; nothing was created.
type UsageError struct{ error }

// Unwrap returns the cause.
func (e UsageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Run does what the plan says and writes the bundle. The report is nil if the run could not begin.
// The error says why the run as a whole could not go on, or what the options do not allow; verdicts
// are in the report alone. When ctx is canceled, the specs under way end as unknown and clean up,
// and the bundle is closed.
func Run(ctx context.Context, o Options) (*v1alpha2.ConformanceReport, error) {
	r, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := r.chartsAtHand(ctx); err != nil {
		return nil, err
	}
	dirs := []string{r.Artifacts}
	for _, g := range r.grounds {
		dirs = append(dirs, filepath.Dir(g.file))
	}
	release, err := filelock.Dirs(dirs...)
	if err != nil {
		return nil, err
	}
	defer release()
	if r.bundle, err = bundle.Open(r.Artifacts, r.head(), r.plan); err != nil {
		return nil, UsageError{err}
	}
	broken := r.execute(ctx)
	report, err := r.finish(ctx, broken)
	return report, errors.Join(err, o.refuses(report))
}

// refuses is an error for what the report allows and the options do not.
func (o Options) refuses(r *v1alpha2.ConformanceReport) error {
	var errs []error
	if flaky := summary.Flaky(r); o.FailOnFlake && len(flaky) > 0 {
		errs = append(errs, fmt.Errorf("flaky: %s needed another attempt, alone, which --fail-on-flake does not allow: "+
			"the report has what the first one saw", idsOf(flaky)))
	}
	if fixed := summary.Fixed(r); o.FailOnFixed && len(fixed) > 0 {
		errs = append(errs, fmt.Errorf("fixed: %s held, which this version of Istio is known to break: "+
			"change the versions in behaviors/known.go and docs/findings.md", idsOf(fixed)))
	}
	return errors.Join(errs...)
}

func idsOf(all []v1alpha2.BehaviorResult) string {
	var ids []string
	for _, b := range all {
		ids = append(ids, b.ID)
	}
	return strings.Join(ids, ", ")
}

// run is one run under way.
type run struct {
	Options
	grounds []*ground // of Fleet, and of each of Twins
	plan    *plan.Plan
	bundle  *bundle.Bundle
	table   []spec.Answers
	drops   []drops
	remade  []string // after which behaviors the fleet was made anew, a sentence each
	failed  bool     // what Ginkgo thinks of it
}

// Fail lets Ginkgo say that the suite failed; the verdicts say why.
func (r *run) Fail() { r.failed = true }

// prepare checks the options and fills in the defaults. It creates nothing.
func prepare(o Options) (*run, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Times == (spec.Times{}) {
		o.Times = spec.DefaultTimes
	}
	for _, x := range []struct {
		name string
		bad  bool
	}{
		{"the convergence timeout (--settle)", o.Times.Convergence <= 0},
		{"the spec timeout (--spec-timeout)", o.Times.Spec <= 0},
	} {
		if x.bad {
			return nil, usage("%s must be greater than 0", x.name)
		}
	}
	if o.Times.Hold < 0 || o.Parallel < 0 {
		return nil, usage("neither the hold time (--hold) nor --parallel can be less than 0")
	}
	f, err := mesh.Load(o.Fleet)
	if err != nil {
		return nil, UsageError{err}
	}
	env := Environment(f)
	p, err := o.Plan(env)
	if err != nil {
		return nil, err
	}
	if err := p.NothingToProve(); err != nil {
		return nil, UsageError{err}
	}
	switch {
	case o.Parallel == 0 && o.Certified:
		o.Parallel = 1 // nothing may have to run again
	case o.Parallel == 0 && room(f) != nil:
		o.Parallel = 12 // most wait most of their time
	case o.Parallel == 0:
		// Every spec changes the gateways of all clusters and calls from each to all: what specs side
		// by side take from each other grows with the number of clusters.
		o.Parallel = max(1, 8/max(1, len(f.Clusters)))
	}
	if o.Seed == 0 {
		o.Seed = time.Now().Unix()
	}
	r := &run{Options: o, grounds: []*ground{{file: o.Fleet, runID: f.RunID, fleet: f}}, plan: p}
	if err := r.addTwins(); err != nil {
		return nil, err
	}
	if o.Certified {
		if err := r.certifiable(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// execute does what the plan says and records it. The error is why the run could not go on.
func (r *run) execute(ctx context.Context) error {
	fmt.Fprintf(r.Out, "plan: %s\n", r.plan.Sentence())
	mended := r.each(ctx, r.mend)
	began := time.Now()
	if err := errors.Join(r.preflight(ctx), mended); err != nil {
		return err
	}
	r.phase("preflight", time.Since(began), 0)
	if len(r.plan.Run) == 0 {
		return nil
	}
	if err := spec.Check(); err != nil {
		return fmt.Errorf("authoring mistakes:\n%w", err)
	}
	skip := func(id string) (string, bool) {
		e, runs := r.plan.Of(id)
		return fmt.Sprintf("%s: %s", e.Class, e.Reason), !runs
	}
	tree, hasGinkgo := runner.NewGinkgo(r.Seed, skip, r.known)
	specs := slices.DeleteFunc(spec.All(), func(s *spec.Spec) bool { _, skipped := skip(s.Behavior.ID); return skipped })
	if hasGinkgo {
		selected := tree.Selected()
		specs = slices.DeleteFunc(specs, func(s *spec.Spec) bool { return !selected[s.Behavior.ID] })
	}
	rand.New(rand.NewPCG(uint64(r.Seed), 0)).Shuffle(len(specs), func(i, j int) { specs[i], specs[j] = specs[j], specs[i] })
	var ids []string
	for _, s := range specs {
		ids = append(ids, s.Behavior.ID)
	}
	began = time.Now()
	defer func() {
		for _, g := range r.grounds {
			if g.fixture != nil {
				g.fixture.Close()
			}
		}
	}()
	if err := r.each(ctx, r.furnish); err != nil {
		return err
	}
	r.phase("fixture", time.Since(began), 0)
	fmt.Fprintf(r.Out, "fixture ready in %s\n", seconds(time.Since(began)))

	began = time.Now()
	cpu := r.cpu(ctx)
	show := &progress{out: r.Out, verbose: r.Verbose, of: len(specs)}
	report := r.bundle.Report()
	options := runner.Options{Times: r.Times, Parallel: r.Parallel, Room: room(r.first()),
		Known: func(id, message string) bool {
			fault := summary.KnownFault(&report, id)
			return fault != nil && fault.Explains(message)
		},
		Done: func(ctx context.Context, on *fixture.Fixture, x spec.Result) {
			r.record(ctx, on.Fleet, x)
			show.ended(x)
		}}
	for _, g := range r.grounds {
		options.Fixtures = append(options.Fixtures, g.fixture)
	}
	if r.Anew != nil && r.first().Provider == mesh.ProviderKind {
		options.Anew = r.anew
	}
	under := runner.Start(ctx, specs, options)
	var err error
	if hasGinkgo {
		err = r.ginkgo(tree, under)
	}
	leaked := under.Wait()
	r.phase("specs", time.Since(began), cpu())
	return errors.Join(err, r.leaks(ctx, ids, leaked), r.firewallDrops(ctx), ctx.Err())
}

// furnish creates the fixture on a fleet.
func (r *run) furnish(ctx context.Context, g *ground) error {
	fx, err := fixture.Create(ctx, g.fleet)
	if err != nil {
		return err
	}
	Equip(fx)
	g.fixture = fx
	if g != r.grounds[0] {
		return nil // it has the same images
	}
	return r.appImages(ctx, fx.Clusters)
}

// anew makes a fleet anew after a behavior whose spec could not undo what it did. The report says
// so: what later specs see is of another fleet.
func (r *run) anew(ctx context.Context, on *fixture.Fixture, s *spec.Spec, left error) (*fixture.Fixture, error) {
	g := r.grounds[slices.IndexFunc(r.grounds, func(g *ground) bool { return g.runID == on.Fleet.RunID })]
	fmt.Fprintf(r.Out, "%s could not undo what it did, so the fleet is made anew: %v\n", s.Behavior.ID, left)
	if err := r.Anew(ctx, g.file); err != nil {
		return nil, fmt.Errorf("the fleet could not be made anew: %w", err)
	}
	f, err := mesh.Load(g.file)
	if err != nil {
		return nil, err
	}
	on.Close()
	g.fleet, g.fixture = f, nil
	if err := r.furnish(ctx, g); err != nil {
		return nil, err
	}
	return g.fixture, r.bundle.Update(func(x *v1alpha2.ConformanceReport) { // its lock: twins may end at the same time
		r.remade = append(r.remade, fmt.Sprintf("the fleet was made anew after %s, which could not undo what it did: %s",
			s.Behavior.ID, text.Line(left.Error(), 400)))
		r.observe(x)
	})
}

// mend puts a mesh back to what it was before an earlier run that was killed, and removes what specs
// of that run left behind. Preflight would refuse the mesh as it is.
func (r *run) mend(ctx context.Context, g *ground) error {
	ids := r.owners(g.fleet)
	undone, err := fixture.Undo(ctx, g.fleet, ids)
	if len(undone) > 0 {
		fmt.Fprintf(r.Out, "an earlier run was cut off and left the mesh changed, which is undone now: %s\n", strings.Join(undone, "; "))
	}
	if err != nil {
		return fmt.Errorf("what an earlier run changed of the mesh cannot be undone: %w", err)
	}
	swept, err := fixture.Sweep(ctx, g.fleet, ids)
	if len(swept) > 0 {
		fmt.Fprintf(r.Out, "an earlier run was cut off and left something behind, which is removed now: %s\n", strings.Join(swept, "; "))
	}
	if err != nil {
		return fmt.Errorf("what an earlier run left behind cannot be removed: %w", err)
	}
	return nil
}

// owners are the behaviors whose leftovers this run takes away. On a fleet of ours all: its folder is
// locked, so nobody else runs specs there. On other clusters somebody may, of other behaviors.
func (r *run) owners(f *mesh.Fleet) (ids []string) {
	if f.Provider == mesh.ProviderKind {
		for _, b := range behaviors.All() {
			ids = append(ids, b.ID)
		}
		return ids
	}
	for _, e := range r.plan.Run {
		ids = append(ids, e.Behavior.ID)
	}
	return ids
}

// known is the finding by which the report marks a violation that this version is known for.
func (r *run) known(id string) string {
	results := r.bundle.Report().Behaviors
	if i := slices.IndexFunc(results, func(b v1alpha2.BehaviorResult) bool { return b.ID == id }); i >= 0 {
		return results[i].Known
	}
	return ""
}

// ginkgo lets Ginkgo report the run, and keeps its report in the bundle.
func (r *run) ginkgo(tree *runner.Ginkgo, under *runner.Run) error {
	scratch, err := os.MkdirTemp("", "amc-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	file := filepath.Join(scratch, layout.GinkgoFile)
	var t ginkgo.GinkgoTestingT = r
	if r.T != nil {
		t = r.T
	}
	tree.Report(t, under, file, r.T == nil)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil // Ginkgo wrote none: interrupted before its suite began
	}
	if data, err = redactJSON(data); err != nil {
		return err
	}
	return r.bundle.AttachGinkgo(data)
}

// redactJSON redacts each text of a JSON document by itself. In the document as a whole a secret
// would end where the escape of a quote begins, and what is left would be no JSON.
func redactJSON(data []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("Ginkgo's report cannot be read: %w", err)
	}
	var redacted func(v any) any
	redacted = func(v any) any {
		switch v := v.(type) {
		case string:
			return string(redact.Bytes([]byte(v)))
		case []any:
			for i := range v {
				v[i] = redacted(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = redacted(v[k])
			}
		}
		return v
	}
	return json.MarshalIndent(redacted(doc), "", "  ")
}

// phase records how long a part of the run took, and the CPU time that nodes of ours used for it.
func (r *run) phase(name string, took, cpu time.Duration) {
	_ = r.bundle.Update(func(x *v1alpha2.ConformanceReport) {
		x.Phases = append(x.Phases, v1alpha2.Phase{Name: name, Seconds: took.Round(time.Millisecond).Seconds(),
			CPUSeconds: cpu.Round(time.Millisecond).Seconds()})
	})
}

// cpu begins to measure the CPU time of the nodes of all fleets. The result is 0 where nobody can
// measure it: a figure, on which no verdict rests.
func (r *run) cpu(ctx context.Context) (used func() time.Duration) {
	measure := func(ctx context.Context) (sum time.Duration, err error) {
		for _, g := range r.grounds {
			used, err := kind.CPU(ctx, g.fleet)
			if err != nil {
				return 0, err
			}
			sum += used
		}
		return sum, nil
	}
	unknown := func() time.Duration { return 0 }
	if r.first().Provider != mesh.ProviderKind {
		return unknown
	}
	before, err := measure(ctx)
	if err != nil {
		return unknown
	}
	return func() time.Duration {
		after, err := measure(context.WithoutCancel(ctx))
		if err != nil || len(r.remade) > 0 {
			return 0
		}
		return after - before
	}
}

// preflight looks at machine, clusters and meshes before anything is created.
func (r *run) preflight(ctx context.Context) error {
	checks, err := collect(ctx, r, func(ctx context.Context, g *ground) ([]v1alpha2.Check, error) { return Healthy(ctx, g.fleet) })
	for n, g := range r.grounds[1:] {
		for i := range checks[n+1] {
			checks[n+1][i].Name += " of the twin " + g.runID
		}
	}
	if err := errors.Join(err, r.bundle.RecordPreflight(slices.Concat(checks...))); err != nil {
		return err
	}
	seen, err := collect(ctx, r, func(ctx context.Context, g *ground) (v1alpha2.Environment, error) {
		clusters, err := inspectAll(ctx, g.fleet)
		e := r.bundle.Report().Environment // MeshAdmin of the options, the host, the twins
		if err == nil {
			describe(&e, g.fleet, clusters)
		}
		return e, err
	})
	if err != nil {
		return err
	}
	for n, g := range r.grounds[1:] {
		if err := alike(&seen[0], &seen[n+1], g.file); err != nil {
			return err
		}
	}
	return r.bundle.Update(func(x *v1alpha2.ConformanceReport) { x.Environment = seen[0] })
}

// finish closes the bundle, whatever happened.
func (r *run) finish(ctx context.Context, broken error) (*v1alpha2.ConformanceReport, error) {
	switch {
	case ctx.Err() != nil:
		broken = errors.New("the run was interrupted: run it again")
	case broken != nil:
		broken = fmt.Errorf("%s", redact.Bytes([]byte(broken.Error())))
	}
	if broken != nil {
		if err := r.bundle.Update(func(x *v1alpha2.ConformanceReport) { x.Failure = broken.Error() }); err != nil {
			broken = errors.Join(broken, err)
		}
	}
	if _, err := r.bundle.Close(context.WithoutCancel(ctx)); err != nil {
		broken = errors.Join(broken, err)
	}
	report := r.bundle.Report()
	return &report, broken
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
