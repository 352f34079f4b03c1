package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// bigBundle is a closed bundle of n behaviors and some MiB of evidence, in files of 100 KiB. Its
// catalog is none of ours: ours is not so large.
func bigBundle(b *testing.B, n, mib int) string {
	p, err := plan.Compute(plan.Environment{Istio: "1.31", Clusters: 2, Networks: 2,
		Has: map[behaviors.Need]bool{behaviors.MeshCA: true, behaviors.Waypoints: true, behaviors.SameAddresses: true}},
		behaviors.ProfileSmoke, plan.Filters{})
	if err != nil {
		b.Fatal(err)
	}
	open, err := bundle.Open(b.TempDir(), v1alpha2.ConformanceReport{RunID: "bench", Mode: v1alpha2.ModeConformance,
		Suite: v1alpha2.Suite{Version: "devel"}, Environment: v1alpha2.Environment{Istio: "1.31.0"}}, p)
	if err != nil {
		b.Fatal(err)
	}
	dir := open.Dir()
	r := open.Report()
	r.Finished, r.Behaviors = true, nil
	for i := range n {
		c := behaviors.Chapters[i*len(behaviors.Chapters)/n]
		r.Behaviors = append(r.Behaviors, v1alpha2.BehaviorResult{
			ID: fmt.Sprintf("%s-%05d", c.Prefix, i), Chapter: c.Prefix, Level: "core",
			Promise: "A promise of a catalog that is forty times as large as ours.", Verdict: v1alpha2.Conformant,
			Attempts: 1, Seconds: 1.5, Expectations: 2, Controls: 1, ConvergeSeconds: []float64{.25},
			Observations: []string{"40 of 40 calls from cluster1 were answered by cluster1 and cluster2"},
		})
	}
	r.Catalog = v1alpha2.Catalog{Digest: "sha256:" + strings.Repeat("0", 64), Behaviors: n}
	r.NotAutomated = nil
	data, err := bundle.Encode(&r)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, layout.ReportFile), data, 0o644); err != nil {
		b.Fatal(err)
	}
	// Lines as logs have them: letters, digits and what the scan for secrets stumbles over most often.
	random := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("outbound|15008||echo.amc-lb.svc.cluster.local envoy token tokenreview eyJ Bearer password " +
		"private key cluster1 istio-system 10.244.0.7:15008 HBONE connected")
	var line strings.Builder
	for line.Len() < 100<<10 {
		line.WriteString(words[random.IntN(len(words))])
		line.WriteByte(" \n"[random.IntN(10)/9])
	}
	for i := range mib * 1024 / 100 {
		folder := filepath.Join(dir, layout.EvidenceDir, r.Behaviors[i%n].ID)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "dump.txt"), []byte(line.String()), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	root, err := bundle.OpenDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	if _, err := bundle.Finish(b.Context(), root); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkList is how long the whole command, cluster libraries and all, takes to start and list
// the catalog, and how often as long as the shell takes to start and do nothing. The aim is 50 ms;
// `GODEBUG=inittrace=1 amc list` says which package costs what.
func BenchmarkList(b *testing.B) {
	name := build(b)
	best, shell := time.Hour, time.Hour
	took := func(args ...string) time.Duration {
		begin := time.Now()
		if err := exec.Command(args[0], args[1:]...).Run(); err != nil {
			b.Fatal(err)
		}
		return time.Since(begin)
	}
	for b.Loop() {
		for range 10 { // other work on the machine is not the command's
			best = min(best, took(name, "list"))
			shell = min(shell, took("sh", "-c", "exit"))
		}
	}
	b.ReportMetric(best.Seconds()*1000, "ms/list")
	b.ReportMetric(float64(best)/float64(shell), "x-sh")
	b.ReportMetric(0, "ns/op")
}

func build(b *testing.B) string {
	name := filepath.Join(b.TempDir(), "amc")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v %s", err, out)
	}
	return name
}

// BenchmarkVerify holds `amc verify` of 10,000 behaviors and 200 MiB of evidence against sha256sum
// of the same files, each as a process of its own. The catalog is a foreign one, forty times as
// large as ours: what is held against our own, such as the rendered files, is not in the figure.
func BenchmarkVerify(b *testing.B) {
	name := build(b)
	dir := bigBundle(b, 10_000, 200)
	var verify, sums, verifyCPU, sumsCPU time.Duration
	for b.Loop() {
		begin := time.Now()
		c := exec.Command(name, "verify", dir)
		out, _ := c.CombinedOutput() // that the catalog is unknown breaks a rule
		verify, verifyCPU = verify+time.Since(begin), verifyCPU+cpu(c)
		if !strings.Contains(string(out), "R04   broken") {
			b.Fatalf("R04 is not broken:\n%s", out)
		}
		if n := strings.Count(string(out), "  broken  "); n != 1 {
			b.Fatalf("%d rules are broken, want only R04:\n%s", n, out)
		}
		begin = time.Now()
		s := exec.Command("sha256sum", "--check", "--quiet", layout.SumsFile)
		s.Dir = dir
		if out, err := s.CombinedOutput(); err != nil {
			b.Fatalf("%v %s", err, out)
		}
		sums, sumsCPU = sums+time.Since(begin), sumsCPU+cpu(s)
	}
	b.ReportMetric(verify.Seconds()/float64(b.N), "s/verify")
	b.ReportMetric(sums.Seconds()/float64(b.N), "s/sha256sum")
	b.ReportMetric(verify.Seconds()/sums.Seconds(), "x-sha256sum")
	b.ReportMetric(verifyCPU.Seconds()/sumsCPU.Seconds(), "x-sha256sum-CPU")
	b.ReportMetric(0, "ns/op")
}

// cpu is the CPU time of a command that has ended.
func cpu(c *exec.Cmd) time.Duration { return c.ProcessState.UserTime() + c.ProcessState.SystemTime() }
