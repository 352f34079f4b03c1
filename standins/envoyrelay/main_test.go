package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The test binary plays both parts: the relay, and the real Envoy that it starts.
func TestMain(m *testing.M) {
	switch os.Getenv("PLAY") {
	case "relay":
		os.Setenv("PLAY", "envoy")
		code, err := run(os.Args[1:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	case "envoy":
		envoy()
	}
	os.Exit(m.Run())
}

func envoy() {
	fmt.Println("args", strings.Join(os.Args[1:], " "))
	if os.Args[1] == "--version" {
		os.Exit(7)
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	b, err := os.ReadFile(os.Args[2])
	fmt.Println("bootstrap", string(b), err)
	<-c
	os.Exit(3)
}

func started(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), "PLAY=relay", "ENVOY_REAL="+self)
	return c
}

func exitCode(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return 0
}

func TestPassesThroughWithoutBootstrap(t *testing.T) {
	out, err := started("--version").Output()
	if code := exitCode(err); code != 7 {
		t.Errorf("got exit %d, want 7", code)
	}
	if diff := cmp.Diff("args --version\n", string(out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSignalAndExitStatus(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "envoy-rev.json")
	boot := fmt.Sprintf(`{"static_resources":{"clusters":[{"name":"xds-grpc","pipe":{"path":%q}}]}}`, filepath.Join(dir, "XDS"))
	if err := os.WriteFile(file, []byte(boot), 0o600); err != nil {
		t.Fatal(err)
	}
	c := started("-c", file, "--concurrency", "2")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	if want := "args -c " + filepath.Join(dir, "envoyrelay.json") + " --concurrency 2"; lines.Text() != want {
		t.Errorf("Envoy got %q, want %q", lines.Text(), want)
	}
	lines.Scan()
	if !strings.Contains(lines.Text(), filepath.Join(dir, "XDS-relay")) {
		t.Errorf("Envoy's bootstrap: %s", lines.Text())
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(c.Wait()); code != 3 {
		t.Errorf("exit status %d, want Envoy's 3", code)
	}
}

func TestBadBootstrap(t *testing.T) {
	out, err := started("-c", filepath.Join(t.TempDir(), "none.json")).CombinedOutput()
	if code := exitCode(err); code != 1 {
		t.Errorf("got exit %d, want 1", code)
	}
	if want := "none.json"; !strings.Contains(string(out), want) {
		t.Errorf("got %s, want it to name %s", out, want)
	}
}
