// Package preflight tells, in seconds, whether specs can run on a fleet, and what to do where they
// cannot. It is a list of checks, each with a sentence on what it saw and the next step.
//
// Preflight changes nothing. It looks at clusters and mesh; clusters/engine looks at the machine.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/sleep"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Status values of a row.
const (
	ok   = "ok"
	warn = "warn" // may become a problem, or cannot be known from here
	fail = "fail" // a run cannot begin
)

// Check is one question to the fleet.
type Check struct {
	Name string
	Hint string // next step when the check does not pass
	// Fatal stops a run when the check fails. Other checks only warn.
	Fatal bool
	// Run returns what it saw. Its error says which cluster is not as expected, and in which way.
	Run func(ctx context.Context) (detail string, err error)
}

// unknown is the error of a check that could not look. It warns, and is never taken for "ok".
type unknown struct{ error }

func (u unknown) Unwrap() error { return u.error }

// row runs the check.
func (c Check) row(ctx context.Context) v1alpha2.Check {
	detail, err := c.Run(ctx)
	var open unknown
	switch {
	case err == nil:
		return v1alpha2.Check{Name: c.Name, Status: ok, Detail: detail}
	case errors.As(err, &open) || !c.Fatal:
		return v1alpha2.Check{Name: c.Name, Status: warn, Detail: err.Error(), Fix: c.Hint}
	}
	return v1alpha2.Check{Name: c.Name, Status: fail, Detail: err.Error(), Fix: c.Hint}
}

// limit bounds one pass over all checks.
const limit = 20 * time.Second

// Options of Fleet.
type Options struct {
	// Namespaces are those that specs work in.
	Namespaces []string
	// Patience is how long Fleet tries again while a fatal check fails: after a restart, parts of a
	// mesh need some seconds. 0 looks once.
	Patience time.Duration
}

// Fleet runs all checks of a fleet side by side and returns a row for each. The error is not nil
// when a fatal check fails, and says all that is wrong.
func Fleet(ctx context.Context, f *mesh.Fleet, o Options) ([]v1alpha2.Check, error) {
	return repeat(ctx, o.Patience, func(ctx context.Context) []v1alpha2.Check {
		return run(ctx, checks(f, o.Namespaces, members(ctx, f)))
	})
}

// repeat looks until no fatal check fails or patience is over.
func repeat(ctx context.Context, patience time.Duration, look func(context.Context) []v1alpha2.Check) ([]v1alpha2.Check, error) {
	for end := time.Now().Add(patience); ; {
		pass, cancel := context.WithTimeout(ctx, limit)
		rows := look(pass)
		cancel()
		err := failed(rows)
		// A mesh may become ready; an API server that does not answer is no matter of seconds.
		unreachable := len(rows) > 0 && rows[0].Status == fail
		if err == nil || unreachable || ctx.Err() != nil || !time.Now().Before(end) {
			return rows, err
		}
		sleep.For(ctx, time.Second)
	}
}

// run runs groups of checks. The checks of a group run side by side; a group runs only if no fatal
// check failed before it, because its own failures would only repeat that one.
func run(ctx context.Context, groups [][]Check) (rows []v1alpha2.Check) {
	for _, group := range groups {
		some := make([]v1alpha2.Check, len(group))
		var all sync.WaitGroup
		for i, c := range group {
			all.Go(func() { some[i] = c.row(ctx) })
		}
		all.Wait()
		if rows = append(rows, some...); failed(some) != nil {
			return rows
		}
	}
	return rows
}

// failed is an error that names every failed row.
func failed(rows []v1alpha2.Check) error {
	var all []error
	for _, r := range rows {
		if r.Status == fail {
			all = append(all, fmt.Errorf("%s: %s: %s", r.Name, r.Detail, r.Fix))
		}
	}
	return errors.Join(all...)
}

// member is one cluster of the fleet, with what the checks ask of it.
type member struct {
	*mesh.Cluster // as the fleet file describes it
	version       func() (string, error)
	facts         func() (*inspect.Cluster, error)
	remotes       func() ([]istiod.RemoteCluster, error)
	standIns      func() ([]inspect.StandIn, error)
	reader        func() (client.Reader, error)
}

// members ask each cluster for its facts only once, however many checks need them.
func members(ctx context.Context, f *mesh.Fleet) []*member {
	var all []*member
	for _, c := range f.Clusters {
		all = append(all, &member{
			Cluster:  c,
			version:  sync.OnceValues(func() (string, error) { return inspect.ServerVersion(ctx, inspect.At(c), c) }),
			facts:    sync.OnceValues(func() (*inspect.Cluster, error) { return inspect.Read(ctx, c) }),
			remotes:  func() ([]istiod.RemoteCluster, error) { return istiod.RemoteClusters(ctx, c) },
			standIns: func() ([]inspect.StandIn, error) { return inspect.StandInsOf(ctx, c) },
			reader:   func() (client.Reader, error) { return c.Client(), c.Connect() },
		})
	}
	return all
}

// asking is what a check asks one cluster.
type asking func(context.Context, *member) (detail string, err error)

// each asks all clusters side by side. What they all answer alike is said once. The error names the
// cluster of each fault; it is unknown if no cluster has a fault and some could not be asked.
func each(ctx context.Context, all []*member, ask asking) (string, error) {
	details, errs := make([]string, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for i, m := range all {
		wg.Go(func() { details[i], errs[i] = ask(ctx, m) })
	}
	wg.Wait()
	var faults, open []error
	for i, err := range errs {
		if err == nil {
			continue
		}
		err = fmt.Errorf("%s: %w", all[i].Name, err)
		var u unknown
		if errors.As(err, &u) {
			open = append(open, err)
		} else {
			faults = append(faults, err)
		}
	}
	switch {
	case len(faults) > 0:
		return "", sentence(faults)
	case len(open) > 0:
		return "", unknown{sentence(open)}
	case len(slices.Compact(slices.Clone(details))) == 1:
		return details[0], nil
	}
	for i := range details {
		details[i] = all[i].Name + ": " + details[i]
	}
	return strings.Join(details, ", "), nil
}

// sentence puts errors into one line of a table.
func sentence(errs []error) error {
	var s []string
	for _, err := range errs {
		s = append(s, err.Error())
	}
	return errors.New(strings.Join(s, "; "))
}

// known gives a check the facts of a cluster, or unknown when they could not be read. The check
// "control plane" says why.
func known(ask func(context.Context, *member, *inspect.Cluster) (string, error)) asking {
	return func(ctx context.Context, m *member) (string, error) {
		f, err := m.facts()
		if err != nil {
			return "", unknown{errors.New("not known, because its control plane could not be read")}
		}
		return ask(ctx, m, f)
	}
}
