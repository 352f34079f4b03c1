package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// asAmc makes the test's own binary the command, so that tests see what a shell sees: signals and
// exit codes.
const asAmc = "AMC_TEST_IS_AMC"

// saysPeak lets a command that succeeds end with what the kernel says of its process.
const saysPeak = "AMC_TEST_SAYS_PEAK"

func TestMain(m *testing.M) {
	if os.Getenv(asAmc) != "" {
		main()
		if os.Getenv(saysPeak) != "" { // of the kernel's own figures, wait's also has what the parent needed
			status, err := os.ReadFile("/proc/self/status")
			fmt.Println(string(status), err)
		}
		os.Exit(exitConformant)
	}
	os.Exit(m.Run())
}

// process is the command with its own process, not yet started.
func process(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), asAmc+"=1")
	return c
}

// reads reports whether a process has a file below a folder open.
func reads(t *testing.T, pid int, below string) bool {
	t.Helper()
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(fds)
	if err != nil {
		t.Fatalf("the process ended before it read anything: %v", err)
	}
	for _, fd := range open {
		if name, err := os.Readlink(filepath.Join(fds, fd.Name())); err == nil && strings.HasPrefix(name, below+"/") {
			return true
		}
	}
	return false
}

// The first ctrl-C ends a verb at once, whatever it is computing from a stranger's bundle.
func TestFirstInterruptEndsAVerb(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("this system does not say which files a process has open")
	}
	private, _ := keys(t)
	for name, args := range map[string]func(dir string) []string{
		"verify": func(dir string) []string { return []string{"verify", dir} },
		"render": func(dir string) []string { return []string{"render", dir} },
		"sign":   func(dir string) []string { return []string{"sign", dir, "--key", private} },
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(madeBundle(t, nil))
			if err != nil {
				t.Fatal(err)
			}
			evidence := filepath.Join(dir, layout.EvidenceOf("LB-01"))
			if err := os.MkdirAll(evidence, 0o755); err != nil {
				t.Fatal(err)
			}
			for i := range 7 { // sparse, and as large as a bundle may be: seconds of work
				at := filepath.Join(evidence, fmt.Sprintf("dump%d.txt", i))
				if err := errors.Join(os.WriteFile(at, nil, 0o644), os.Truncate(at, 250<<20)); err != nil {
					t.Fatal(err)
				}
			}
			c := process(t, args(dir)...)
			var said bytes.Buffer
			c.Stdout, c.Stderr = &said, &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			for began := time.Now(); !reads(t, c.Process.Pid, filepath.Join(dir, layout.EvidenceDir)); time.Sleep(5 * time.Millisecond) {
				if time.Since(began) > 20*time.Second {
					_ = c.Process.Kill()
					t.Fatal("it did not come to read the evidence")
				}
			}
			if err := c.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(2 * time.Second):
				_ = c.Process.Kill()
				t.Fatal("2 s after ctrl-C it still runs")
			}
			if got := c.ProcessState.ExitCode(); got != exitUnknown {
				t.Errorf("got exit code %d, want %d", got, exitUnknown)
			}
			if want := name + " was interrupted"; !strings.Contains(said.String(), want) {
				t.Errorf("got %q, want %q", said.String(), want)
			}
		})
	}
}

// What a shell sees: usage errors are 3, with what was meant; a disk that is full is no success.
func TestWordsAndExitCodes(t *testing.T) {
	report := filepath.Join(madeBundle(t, nil), layout.ReportFile)
	key, _ := keys(t)
	for name, c := range map[string]struct {
		args string
		full bool // standard output cannot be written
		code int
		want string
	}{
		"version":              {"version", false, exitConformant, "catalog " + behaviors.Digest()},
		"version as JSON":      {"version -o json", false, exitConformant, `"digest": "` + behaviors.Digest()},
		"no verb of a group":   {"images", false, exitUsage, "amc: a verb is missing: try `amc images build` or `amc images list`"},
		"a wrong verb":         {"images lst", false, exitUsage, `amc images has no verb "lst": did you mean list?`},
		"a wrong verb of one":  {"fleet int", false, exitUsage, "did you mean init?"},
		"a strange verb":       {"completion nosuch", false, exitUsage, "one of bash, fish, powershell, zsh"},
		"help of nothing":      {"help nosuch", false, exitUsage, `there is no help for "nosuch"`},
		"help of a verb":       {"help fleet init", false, exitConformant, "--contexts"},
		"version as a flag":    {"--version", false, exitConformant, "catalog " + behaviors.Digest()},
		"a wrong word":         {"vrify", false, exitUsage, `amc: amc has no verb "vrify": did you mean verify?`},
		"a strange word":       {"frobnicate", false, exitUsage, "`amc --help` names the verbs"},
		"a wrong letter":       {"list -x", false, exitUsage, "unknown flag of amc list: 'x' in -x: `amc list --help`"},
		"a strange age":        {"verify x --max-age -5", false, exitUsage, "-5 allows no report"},
		"a strange namespace":  {"rbac --gateway-namespace a_b", false, exitUsage, `"a_b" is no name of a namespace`},
		"no kubeconfig at all": {"fleet init --contexts a --kubeconfig " + report, false, exitUsage, report + " is not a kubeconfig: name one"},
		"help":                 {"help", false, exitConformant, "amc [command]"},
		"a wrong flag":         {"run --proflie core", false, exitUsage, "unknown flag --proflie of amc run: did you mean --profile?"},
		"another":              {"verify --certifed x", false, exitUsage, "did you mean --certified?"},
		"a report alone":       {"render " + report, false, exitUsage, "name a directory for the rendered files with --to"},
		"ids in any case":      {"plan --include scope-01", false, exitConformant, ": 1 run,"},
		"a chapter in any":     {"list --chapter gw --level Core", false, exitConformant, "GW-01"},
		"a pattern in any":     {"list scope", false, exitConformant, "SCOPE-01"},
		"a full disk":          {"list", true, exitUnknown, "no space left on device"},
		"a full disk, markup":  {"list -o markdown", true, exitUnknown, "no space left on device"},
		"a full disk, plan":    {"plan -o markdown", true, exitUnknown, "no space left on device"},
		"a full disk, explain": {"explain GW-01", true, exitUnknown, "no space left on device"},
		"a full disk, diff":    {"diff " + report + " " + report, true, exitUnknown, "no space left on device"},
		"sign nothing":         {"sign nosuch --key " + key, false, exitUsage, "nosuch is not a bundle: a bundle is a directory"},
		"a full disk, version": {"version", true, exitUnknown, "no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := process(t, strings.Fields(c.args)...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if c.full {
				full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
				if err != nil {
					t.Skip("this system has no disk that is always full")
				}
				defer full.Close()
				cmd.Stdout = full
			}
			_ = cmd.Run() // the exit code is what is looked at
			if got := cmd.ProcessState.ExitCode(); got != c.code {
				t.Errorf("got exit code %d, want %d", got, c.code)
			}
			if !strings.Contains(said.String(), c.want) {
				t.Errorf("got %q, want %q", said.String(), c.want)
			}
		})
	}
}

func TestWrapLast(t *testing.T) {
	got := wrapLast([][]string{{"R04", "broken", "verify it with the release that wrote it"}, {"R05", "holds", ""}}, 20)
	want := [][]string{{"R04", "broken", "verify it with the"}, {"", "", "release that wrote"}, {"", "", "it"}, {"R05", "holds", ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Reports of strangers that are as large as the limits allow need no more than 512 MiB.
func TestPeakMemory(t *testing.T) {
	head := v1alpha2.ConformanceReport{APIVersion: v1alpha2.APIVersion, Kind: v1alpha2.Kind, Mode: v1alpha2.ModeConformance,
		Profile: string(behaviors.ProfileCore), Result: v1alpha2.Success,
		Behaviors: []v1alpha2.BehaviorResult{}}
	for name, fill := range map[string]func(*v1alpha2.ConformanceReport){
		"behaviors": func(r *v1alpha2.ConformanceReport) {
			for i := range 15_000 {
				r.Behaviors = append(r.Behaviors, v1alpha2.BehaviorResult{ID: fmt.Sprintf("LB-%d", i), Chapter: "LB", Level: "core",
					Promise: strings.Repeat("p", 300), Verdict: v1alpha2.Conformant, Attempts: 1, Seconds: 1, Expectations: 1, Controls: 1})
			}
		},
		"probes": func(r *v1alpha2.ConformanceReport) {
			probe := v1alpha2.IsolationProbe{From: "cluster1 pod", To: "cluster2 pod", Address: "10.0.0.1:80", OK: true}
			r.Isolation = &v1alpha2.Isolation{Proven: true, Probes: slices.Repeat([]v1alpha2.IsolationProbe{probe}, 10_000)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := head
			fill(&r)
			data, err := bundle.Encode(&r)
			if err != nil {
				t.Fatal(err)
			}
			report := filepath.Join(t.TempDir(), layout.ReportFile)
			if err := os.WriteFile(report, data, 0o644); err != nil {
				t.Fatal(err)
			}
			c := process(t, "render", report, "--to", t.TempDir())
			c.Env = append(c.Env, saysPeak+"=1")
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v %s", err, out)
			}
			_, after, _ := strings.Cut(string(out), "VmHWM:")
			var peak int
			if _, err := fmt.Sscanf(after, "%d kB", &peak); err != nil {
				t.Skipf("this kernel does not say what a process needed: %v", err)
			}
			if peak > 512<<10 {
				t.Errorf("it needed %d KiB, want at most 512 MiB", peak)
			}
		})
	}
}
