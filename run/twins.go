package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/sleep"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

// ground is a fleet on which specs run.
type ground struct {
	file, runID string
	// Only what runs alone on it changes these.
	fleet   *mesh.Fleet
	fixture *fixture.Fixture // nil before it is furnished
}

// first is the fleet that the report describes. Its twins are like it.
func (r *run) first() *mesh.Fleet { return r.grounds[0].fleet }

// collect asks all fleets, side by side, and returns what each says, in their order. What fails on one
// does not interrupt another; errors name the twin.
func collect[X any](ctx context.Context, r *run, of func(context.Context, *ground) (X, error)) ([]X, error) {
	found, failed := make([]X, len(r.grounds)), make([]error, len(r.grounds))
	var all sync.WaitGroup
	for n, g := range r.grounds {
		all.Go(func() {
			if found[n], failed[n] = of(ctx, g); failed[n] != nil && n > 0 {
				failed[n] = fmt.Errorf("the twin %s: %w", g.runID, failed[n])
			}
		})
	}
	all.Wait()
	return found, errors.Join(failed...)
}

// each is [collect] of what says nothing.
func (r *run) each(ctx context.Context, do func(context.Context, *ground) error) error {
	_, err := collect(ctx, r, func(ctx context.Context, g *ground) (struct{}, error) { return struct{}{}, do(ctx, g) })
	return err
}

// addTwins reads the fleet files of the twins.
func (r *run) addTwins() error {
	twins, err := Twins(r.first(), r.Twins)
	for n, f := range twins {
		r.grounds = append(r.grounds, &ground{file: r.Twins[n], runID: f.RunID, fleet: f})
	}
	return err
}

// Twins reads the fleet files of a fleet's twins. Each must be another fleet, and like the first; the
// error is a [UsageError].
func Twins(first *mesh.Fleet, files []string) ([]*mesh.Fleet, error) {
	all := []*mesh.Fleet{first}
	for _, file := range files {
		f, err := mesh.Load(file)
		if err != nil {
			return nil, UsageError{err}
		}
		if slices.ContainsFunc(all, func(o *mesh.Fleet) bool { return o.RunID == f.RunID || o.Path() == f.Path() }) {
			return nil, usage("%s is named twice (run %s): a twin is another fleet, made by `amc up --artifacts FOLDER` with the same options",
				file, f.RunID)
		}
		if f.Provider == mesh.ProviderKind && (f.Isolation == nil || !f.Isolation.Proven) {
			return nil, usage("%s: the isolation of its networks is not proven: run `amc up --artifacts %s`", file, filepath.Dir(file))
		}
		a, b := declared(first), declared(f)
		if err := alike(&a, &b, file); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all[1:], nil
}

// alike is an error when two environments differ in more than where they are. file is the second one's.
func alike(first, twin *v1alpha2.Environment, file string) error {
	a, b := reflect.ValueOf(placeless(*first)), reflect.ValueOf(placeless(*twin))
	var differ []string
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			differ = append(differ, name+": "+difference(values(a.Field(i)), values(b.Field(i))))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return usage("%s is no twin of the fleet: they differ in %s: make it by `amc up --artifacts %s` with the options of the other one",
		file, strings.Join(differ, "; "), filepath.Dir(file))
}

// values are the elements of a list, or the one value, as JSON.
func values(v reflect.Value) (all []string) {
	if v.Kind() != reflect.Slice {
		b, _ := json.Marshal(v.Interface()) // what reports hold is no cycle
		return []string{string(b)}
	}
	for i := range v.Len() {
		b, _ := json.Marshal(v.Index(i).Interface())
		all = append(all, string(b))
	}
	return all
}

// difference says what each of two lists has that the other one has not.
func difference(fleets, twins []string) string {
	only := func(some, others []string) string {
		some = slices.DeleteFunc(slices.Clone(some), func(x string) bool { return slices.Contains(others, x) })
		return text.Line(cmp.Or(strings.Join(some, ", "), "no others"), 400)
	}
	return fmt.Sprintf("the fleet has %s, this one %s", only(fleets, twins), only(twins, fleets))
}

// placeless is an environment without the addresses of its clusters and what is of the machine.
func placeless(e v1alpha2.Environment) v1alpha2.Environment {
	e.Clusters, e.Host, e.Twins = slices.Clone(e.Clusters), nil, nil
	for i := range e.Clusters {
		c := &e.Clusters[i]
		c.PodCIDR, c.ServiceCIDR, c.Gateways = "", "", nil
	}
	return e
}

// twins are the other fleets, as the report has them.
func (r *run) twins() (all []v1alpha2.Twin) {
	for _, g := range r.grounds[1:] {
		all = append(all, v1alpha2.Twin{RunID: g.runID, Isolation: g.fleet.Isolation})
	}
	return all
}

// A machine has room for another spec when its processors were idle for a fifth of the last second:
// a spec that begins needs some of it for itself, and those that run time their calls.
const (
	roomWithin = time.Second
	roomIdle   = 0.2
)

// room is how a run waits until the machine of a fleet of ours carries another spec; nil where
// nobody can say it: another machine, or one without /proc.
func room(f *mesh.Fleet) func(context.Context) {
	proc, err := procfs.NewDefaultFS()
	if err != nil || f.Kind == nil || !strings.HasPrefix(f.Kind.DockerHost, "unix://") {
		return nil
	}
	return func(ctx context.Context) {
		for {
			before, err := proc.Stat()
			if err != nil || !sleep.For(ctx, roomWithin) {
				return
			}
			after, err := proc.Stat()
			if err != nil || idle(before.CPUTotal, after.CPUTotal) >= roomIdle {
				return
			}
		}
	}
}

// idle is the share of time in which the processors had nothing to do, or nothing that would not give
// way.
func idle(before, after procfs.CPUStat) float64 {
	busy := func(s procfs.CPUStat) float64 { return s.User + s.System + s.IRQ + s.SoftIRQ + s.Steal }
	free := func(s procfs.CPUStat) float64 { return s.Idle + s.Iowait + s.Nice }
	f := free(after) - free(before)
	return f / max(f+busy(after)-busy(before), 1e-9)
}
