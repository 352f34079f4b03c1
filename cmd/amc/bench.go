package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

func benchCommand() *cobra.Command {
	var artifacts string
	var calls, execs int
	c := &cobra.Command{
		Use:   "bench",
		Short: "durations of the last `amc up` and `amc run`, and the cost of a call by stream and by kubectl exec",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			f, err := mesh.Load(filepath.Join(artifacts, kind.FleetFile))
			if err != nil {
				return usage("%w", err)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			defer w.Flush()
			for _, step := range []string{"images", "clusters", "mesh", "isolation"} {
				if s, ok := f.Took[step]; ok {
					fmt.Fprintf(w, "%s\t%.1f s\n", step, s)
				}
			}
			if r, err := bundle.Read(filepath.Join(artifacts, layout.ReportFile)); err == nil {
				ran, facts, sum := 0, 0, 0.0
				for _, b := range r.Behaviors {
					if b.Verdict != v1alpha2.Skipped && b.Seconds > 0 {
						ran++
						facts += b.Expectations + b.Controls
						sum += b.Seconds
					}
				}
				if ran > 0 {
					fmt.Fprintf(w, "specs\t%.1f s\t%d ran, %.1f s of wall time each, %.1f s each alone\n", r.WallSeconds, ran,
						r.WallSeconds/float64(ran), sum/float64(ran))
					costs(w, r, ran, facts)
				}
			}
			if f.Kind != nil {
				if said, err := memory(ctx, f); err == nil {
					fmt.Fprintf(w, "memory\t%s\n", said)
				}
			}
			// A call to the client's own pod isolates the cost of driving the call. A call through the mesh
			// adds the cost of the mesh to both ways.
			ways, err := compare(ctx, f, calls, execs)
			if err != nil {
				return unknown(err)
			}
			for _, x := range ways {
				fmt.Fprintf(w, "call %s\t%.2f ms by stream\t%.2f ms by kubectl exec\t1 : %.0f\t%d and %d calls, %d at once\n", x.to,
					ms(x.stream), ms(x.exec), float64(x.exec)/float64(x.stream), calls, execs, x.atOnce)
			}
			return nil
		},
	}
	c.Flags().StringVar(&artifacts, "artifacts", artifactsDefault, "folder of the fleet file and of the last report")
	c.Flags().IntVar(&calls, "calls", 200, "calls through the stream")
	c.Flags().IntVar(&execs, "execs", 40, "calls by kubectl exec")
	return c
}

// costs prints what specs and what they judge cost each: calls to services, time of nodes' CPUs.
func costs(w io.Writer, r *v1alpha2.ConformanceReport, specs, facts int) {
	if facts == 0 {
		return
	}
	calls, cpu := 0, 0.0
	for _, t := range r.Traffic {
		calls += t.Failed
		for _, a := range t.Answered {
			calls += a.Calls
		}
	}
	for _, p := range r.Phases {
		if p.Name == "specs" {
			cpu += p.CPUSeconds
		}
	}
	fmt.Fprintf(w, "expectations and controls\t%d\t%.2f s of wall time each, %.0f calls each\n", facts, r.WallSeconds/float64(facts),
		float64(calls)/float64(facts))
	if cpu > 0 {
		fmt.Fprintf(w, "CPU of the nodes\t%.0f s\t%.2f s a spec, %.2f s an expectation or control\n", cpu, cpu/float64(specs), cpu/float64(facts))
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// way is what a call to a target costs, driven both ways.
type way struct {
	to, url      string
	atOnce       int // calls under way at once: one shows a call's latency, eight is how specs call
	stream, exec time.Duration
}

// compare makes the same calls, from the same pod to the same server, both ways.
func compare(ctx context.Context, f *mesh.Fleet, calls, execs int) ([]way, error) {
	kubectl, err := findKubectl(ctx)
	if err != nil {
		return nil, err
	}
	w, err := fixture.Create(ctx, f)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	at := w.Clusters[0]
	server, err := workload.Pod(ctx, at.Cluster, fixture.MeshNamespace, fixture.Echo)
	if err != nil {
		return nil, err
	}
	inMesh, own := fmt.Sprintf("http://%s:%d/", server.Status.PodIP, traffic.HTTP), fmt.Sprintf("http://127.0.0.1:%d/", traffic.HTTP)
	ways := []way{{to: "through the mesh", url: inMesh, atOnce: 1}, {to: "through the mesh", url: inMesh, atOnce: traffic.Parallel},
		{to: "to its own pod", url: own, atOnce: 1}}
	for i, x := range ways {
		one := func() error {
			os, err := at.Client.Do(ctx, traffic.Call{URL: x.url})
			if err == nil && os[0].Kind != traffic.Reached {
				err = fmt.Errorf("%s -> %s: %s", at.Client.Name, x.url, os)
			}
			return err
		}
		args := []string{"--kubeconfig", at.Kubeconfig}
		if at.Context != "" {
			args = append(args, "--context", at.Context)
		}
		args = append(args, "exec", "-n", fixture.MeshNamespace, at.Client.Pod.Name, "--", "/usr/local/bin/client", x.url)
		byExec := func() error {
			out, err := exec.CommandContext(ctx, kubectl, args...).CombinedOutput()
			if err == nil && !strings.Contains(string(out), "StatusCode=200") {
				err = errors.New("the call was not answered with status 200")
			}
			if err != nil {
				return fmt.Errorf("kubectl exec: %w: %s", err, out)
			}
			return nil
		}
		if ways[i].stream, err = perCall(calls, x.atOnce, one); err != nil {
			return nil, err
		}
		if ways[i].exec, err = perCall(execs, x.atOnce, byExec); err != nil {
			return nil, err
		}
	}
	return ways, nil
}

// perCall is the mean wall time of each of n calls, some of them at once, after a first one that
// opens what stays open.
func perCall(n, atOnce int, call func() error) (time.Duration, error) {
	if err := call(); err != nil {
		return 0, err
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	begin := time.Now()
	for range n {
		group.Go(call)
	}
	err := group.Wait()
	return time.Since(begin) / time.Duration(max(n, 1)), err
}

// findKubectl prefers the user's.
func findKubectl(ctx context.Context) (string, error) {
	if p, err := exec.LookPath("kubectl"); err == nil {
		return p, nil
	}
	m := imageFlags{}
	set, _, err := m.plan(ctx, newProgress(nil), false)
	if err == nil && set.Kubectl() != "" {
		return set.Kubectl(), nil
	}
	return "", errors.New("there is no kubectl in PATH, and none was built here: install it")
}

// memory is what the fleet's nodes hold, as the engine counts it.
func memory(ctx context.Context, f *mesh.Fleet) (string, error) {
	e := &engine.Engine{Host: f.Kind.DockerHost}
	out, err := e.Output(ctx, append([]string{"stats", "--no-stream", "--format", "{{.MemUsage}}"}, nodesOf(f)...)...)
	if err != nil {
		return "", err
	}
	var each []string
	for line := range strings.Lines(out) {
		used, _, _ := strings.Cut(strings.TrimSpace(line), " / ")
		each = append(each, used)
	}
	return strings.Join(each, " + "), nil
}
