package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/kind"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/reports"
	"ambient.test/conformance/reports/api/v1alpha1"
)

func benchCommand() *cobra.Command {
	var artifacts string
	var calls, execs int
	c := &cobra.Command{
		Use:   "bench",
		Short: "what the last `amc up` and `amc run` took, and a call through the open stream against one by kubectl exec; ratios from one run",
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
			if r, err := reports.ReadReport(filepath.Join(artifacts, reports.ReportFile)); err == nil {
				ran, facts, sum := 0, 0, 0.0
				for _, b := range r.Behaviors {
					if b.Verdict != v1alpha1.Skipped && b.Seconds > 0 {
						ran++
						facts += b.Claims + b.Twins
						sum += b.Seconds
					}
				}
				if ran > 0 {
					fmt.Fprintf(w, "specs\t%.1f s\t%d ran, %.1f s of wall time each, %.1f s each alone\n", r.WallSeconds, ran, r.WallSeconds/float64(ran), sum/float64(ran))
					if facts > 0 {
						fmt.Fprintf(w, "claims and twins\t%d\t%.2f s of wall time each\n", facts, r.WallSeconds/float64(facts))
					}
				}
			}
			if f.Kind != nil {
				if said, err := memory(ctx, f); err == nil {
					fmt.Fprintf(w, "memory\t%s\n", said)
				}
			}
			stream, byExec, err := compare(ctx, f, calls, execs)
			if err != nil {
				return unknown(err)
			}
			fmt.Fprintf(w, "call through the open stream\t%.2f ms\t%d calls, one after another\n", ms(stream), calls)
			fmt.Fprintf(w, "call by kubectl exec\t%.2f ms\t%d calls, one after another\n", ms(byExec), execs)
			fmt.Fprintf(w, "stream : exec\t1 : %.0f\n", float64(byExec)/float64(stream))
			return nil
		},
	}
	c.Flags().StringVar(&artifacts, "artifacts", artifactsDefault, "folder of the fleet file and of the last report")
	c.Flags().IntVar(&calls, "calls", 200, "calls through the stream")
	c.Flags().IntVar(&execs, "execs", 10, "calls by kubectl exec")
	return c
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// compare makes the same call, from the same pod to the same server, both ways, and returns the time per call.
func compare(ctx context.Context, f *mesh.Fleet, calls, execs int) (stream, byExec time.Duration, err error) {
	kubectl, err := findKubectl(ctx)
	if err != nil {
		return 0, 0, err
	}
	w, err := prove.Build(ctx, f, prove.DefaultTimes)
	if err != nil {
		return 0, 0, err
	}
	defer w.Close()
	at := w.Sites[0]
	server, err := workload.Pod(ctx, at.Cluster, prove.MeshNamespace, prove.EchoApp)
	if err != nil {
		return 0, 0, err
	}
	url := fmt.Sprintf("http://%s:8080/", server.Status.PodIP)
	one := func() error {
		os, err := at.Client.Do(ctx, traffic.Call{URL: url})
		if err != nil {
			return err
		}
		if os[0].Kind != traffic.Reached {
			return fmt.Errorf("%s -> %s: %s", at.Client.Name, url, os)
		}
		return nil
	}
	if err := one(); err != nil { // opens the stream
		return 0, 0, err
	}
	begin := time.Now()
	for range calls {
		if err := one(); err != nil {
			return 0, 0, err
		}
	}
	stream = time.Since(begin) / time.Duration(calls)
	args := []string{"--kubeconfig", at.Kubeconfig}
	if at.Context != "" {
		args = append(args, "--context", at.Context)
	}
	args = append(args, "exec", "-n", prove.MeshNamespace, at.Client.Pod.Name, "--", "/usr/local/bin/client", url)
	begin = time.Now()
	for range execs {
		out, err := exec.CommandContext(ctx, kubectl, args...).CombinedOutput()
		if err == nil && !strings.Contains(string(out), "StatusCode=200") {
			err = errors.New("the call was not answered with status 200")
		}
		if err != nil {
			return 0, 0, fmt.Errorf("kubectl exec: %w: %s", err, out)
		}
	}
	return stream, time.Since(begin) / time.Duration(execs), nil
}

// findKubectl prefers the user's.
func findKubectl(ctx context.Context) (string, error) {
	if p, err := exec.LookPath("kubectl"); err == nil {
		return p, nil
	}
	m := making{}
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
