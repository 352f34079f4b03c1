package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/evidence"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/spec"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

// record keeps the result of a spec that ran on a fleet, and evidence for what is not conformant.
func (r *run) record(ctx context.Context, f *mesh.Fleet, x spec.Result) {
	result := resultOf(x)
	if f.RunID != r.grounds[0].runID {
		result.Twin = f.RunID
	}
	err := r.bundle.Record(result)
	if x.Verdict != v1alpha2.Conformant && ctx.Err() == nil {
		dir, derr := r.bundle.EvidenceDir(x.Behavior.ID)
		if derr == nil {
			derr = evidence.Save(ctx, dir, f, evidence.Case{
				Since: x.Started, Namespaces: fixture.Namespaces, Calls: x.Calls, Events: timelines(x.Events),
				Summary: fmt.Sprintf("%s %s\n%s\n\n%s\n\n%s", x.Behavior.ID, x.Behavior.Promise, x.Verdict, x.Message,
					strings.Join(x.Observations, "\n")),
			})
		}
		err = errors.Join(err, derr)
	}
	if err != nil {
		fmt.Fprintf(r.Out, "%s: %v\n", x.Behavior.ID, err)
	}
	_ = r.bundle.Update(func(report *v1alpha2.ConformanceReport) { // it holds the bundle's lock: one after the other
		r.table = spec.AddAnswers(r.table, x.Answers...)
		report.Traffic = trafficTable(r.table)
		if x.Retry {
			r.drops = append(r.drops, drops{x.Behavior.ID, x.Lost, x.Made})
			r.observe(report)
		}
	})
}

// observe keeps what is of the run and of no behavior alone.
func (r *run) observe(report *v1alpha2.ConformanceReport) {
	report.Observations = slices.Clone(r.remade)
	if len(r.drops) > 0 {
		report.Observations = append(report.Observations, neighborDrops(r.drops))
	}
}

// drops are the calls that an attempt beside other specs lost.
type drops struct {
	id         string
	lost, made int
}

// neighborDrops says what changes by neighbors did to calls of specs that ran beside them. The
// verdicts are those of the specs alone, so the run itself keeps it.
func neighborDrops(all []drops) string {
	lost, made := 0, 0
	var each []string
	for _, d := range all {
		lost, made = lost+d.lost, made+d.made
		each = append(each, fmt.Sprintf("%s %d of %d", d.id, d.lost, d.made))
	}
	return fmt.Sprintf("neighbor drops: %d of %d calls, in the samples of attempts that did not count: %s",
		lost, made, strings.Join(each, ", "))
}

func resultOf(r spec.Result) v1alpha2.BehaviorResult {
	x := v1alpha2.BehaviorResult{
		ID: r.Behavior.ID, Verdict: r.Verdict, Outcome: r.Outcome, Rows: slices.Clone(r.Rows), Seconds: r.Took.Seconds(),
		Expectations: r.Expectations, Controls: r.Controls,
		Observations: slices.Clone(r.Observations), Message: r.Message,
	}
	slices.SortFunc(x.Rows, func(a, b v1alpha2.RowOutcome) int { return strings.Compare(a.Row, b.Row) }) // they were seen side by side
	for _, d := range r.Convergence {
		x.ConvergeSeconds = append(x.ConvergeSeconds, d.Seconds())
	}
	for _, e := range r.Events {
		x.Events = append(x.Events, eventOf(e))
	}
	return x
}

// eventOf is an event in the words of the report.
func eventOf(e spec.EventResult) v1alpha2.Event {
	since := e.Since()
	seconds := func(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
	x := v1alpha2.Event{What: e.Says, At: since.UTC().Truncate(time.Millisecond), Rows: []v1alpha2.EventRow{},
		BeginSeconds: seconds(e.Begin.Sub(since)), EndSeconds: seconds(e.End.Sub(since))}
	if !e.Heal.IsZero() {
		x.UndoSeconds = seconds(e.Heal.Sub(since))
	}
	for _, l := range e.Timelines {
		row := v1alpha2.EventRow{Calls: l.Who, Made: []int{}, Lost: []int{}, Answered: []v1alpha2.Answered{}}
		for _, second := range l.Seconds(since) {
			row.Made, row.Lost = append(row.Made, second.Made), append(row.Lost, second.Lost)
		}
		answered := l.Outcomes().Clusters()
		for _, cluster := range slices.Sorted(maps.Keys(answered)) {
			row.Answered = append(row.Answered, v1alpha2.Answered{Cluster: cluster, Calls: answered[cluster]})
		}
		if took, ok := l.Recovery(); ok {
			recovered := seconds(took)
			row.RecoverSeconds = &recovered
		}
		x.Rows = append(x.Rows, row)
	}
	return x
}

// timelines are the calls of all events, one line each, for the evidence.
func timelines(events []spec.EventResult) (lines []string) {
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s: %s; begins %s, over %s", e.Since().UTC().Format(clock), e.Says,
			e.Begin.UTC().Format(clock), e.End.UTC().Format(clock)))
		for _, l := range e.Timelines {
			for _, c := range l.Calls {
				what := c.Outcome.String()
				if c.Err != nil {
					what = "not known: " + c.Err.Error()
				}
				lines = append(lines, fmt.Sprintf("%s  %s (%s): %s", c.At.UTC().Format(clock), l.Who, c.Took.Round(time.Millisecond), what))
			}
		}
	}
	return lines
}

const clock = "15:04:05.000"

// trafficTable is the report's table of who answered whom.
func trafficTable(table []spec.Answers) (all []v1alpha2.Traffic) {
	for _, x := range table {
		t := v1alpha2.Traffic{From: x.From, Scope: x.Scope, Service: x.Service, Answered: []v1alpha2.Answered{}, Failed: x.Failed}
		for _, cluster := range slices.Sorted(maps.Keys(x.ByCluster)) {
			t.Answered = append(t.Answered, v1alpha2.Answered{Cluster: cluster, Calls: x.ByCluster[cluster]})
		}
		all = append(all, t)
	}
	return all
}

// leaks reports what specs left behind. If that could not be looked for, the run is no success: the
// report has no leak check then, and the error is its failure.
func (r *run) leaks(ctx context.Context, ids []string, failed []error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer cancel()
	var found []string
	for _, err := range failed {
		found = append(found, err.Error())
	}
	left, err := collect(ctx, r, func(ctx context.Context, g *ground) ([]string, error) { return fixture.Leaks(ctx, g.fleet, ids) })
	found = append(found, slices.Concat(left...)...)
	if err != nil {
		err = fmt.Errorf("it is not known whether specs left something behind: %w: `amc clean` looks again", err)
		if len(found) == 0 {
			return err
		}
	}
	return errors.Join(err, r.bundle.Update(func(x *v1alpha2.ConformanceReport) {
		x.Leaks = &v1alpha2.Leaks{Clean: len(found) == 0, Found: found}
	}))
}

// firewallDrops adds how many packets of pods the nodes' firewalls have kept inside each fleet by
// now.
func (r *run) firewallDrops(ctx context.Context) error {
	if r.first().Provider != mesh.ProviderKind {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	counts, err := collect(ctx, r, func(ctx context.Context, g *ground) ([]v1alpha2.FirewallDrops, error) {
		return kind.FirewallDrops(ctx, g.fleet)
	})
	if err != nil {
		return err
	}
	return r.bundle.Update(func(x *v1alpha2.ConformanceReport) {
		with := func(proof *v1alpha2.Isolation, n int) *v1alpha2.Isolation {
			var now v1alpha2.Isolation // a copy: the report shares the proof with the fleet
			if proof != nil {
				now = *proof
			}
			now.FirewallDrops = counts[n]
			for _, c := range counts[n] {
				fmt.Fprintf(r.Out, "%s of run %s: %d packets that would have left the fleet were dropped since the node began\n",
					c.Cluster, r.grounds[n].runID, c.Packets)
			}
			return &now
		}
		x.Isolation = with(x.Isolation, 0)
		for i := range x.Environment.Twins {
			t := &x.Environment.Twins[i]
			t.Isolation = with(t.Isolation, i+1)
		}
	})
}

// progress prints a line for each spec that has ended.
type progress struct {
	out     io.Writer
	verbose bool
	of      int

	mu sync.Mutex
	n  int
}

func (p *progress) ended(r spec.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Retry {
		fmt.Fprintf(p.out, "%*s  %-9s flaky beside other specs after %s, runs again alone\n",
			2*len(fmt.Sprint(p.of))+1, "", r.Behavior.ID, seconds(r.Took))
		return
	}
	p.n++
	var b strings.Builder
	fmt.Fprintf(&b, "%*d/%d  %-9s %-14s %6s  %s\n",
		len(fmt.Sprint(p.of)), p.n, p.of, r.Behavior.ID, r.Verdict, seconds(r.Took), r.Behavior.Promise)
	if p.verbose {
		for _, o := range r.Observations {
			fmt.Fprintf(&b, "          %s\n", text.Printable(o))
		}
	}
	if r.Message != "" {
		fmt.Fprintf(&b, "          %s\n", strings.ReplaceAll(text.Printable(r.Message), "\n", "\n          "))
	}
	_, _ = io.WriteString(p.out, b.String())
}
