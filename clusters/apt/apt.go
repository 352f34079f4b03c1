// Package apt installs Debian packages that a bare machine lacks.
package apt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// Tool is a program and the Debian package that brings it.
type Tool struct{ Program, Package string }

// Ensure installs the packages of the tools that are not in PATH. note receives what it is doing.
func Ensure(ctx context.Context, note func(format string, args ...any), tools ...Tool) error {
	want := missing(func(p string) bool { _, err := exec.LookPath(p); return err == nil }, tools)
	if len(want) == 0 {
		return nil
	}
	return Install(ctx, note, want...)
}

// missing returns the packages of the tools that have no program in PATH, each once.
func missing(have func(program string) bool, tools []Tool) []string {
	var want []string
	seen := map[string]bool{}
	for _, t := range tools {
		if !have(t.Program) && !seen[t.Package] {
			seen[t.Package] = true
			want = append(want, t.Package)
		}
	}
	return want
}

// one allows one install at a time: the second would remove the policy file of the first.
var one sync.Mutex

// Install installs packages with apt. Meanwhile no service
// can start: what is installed is for the suite alone.
func Install(ctx context.Context, note func(format string, args ...any), pkgs ...string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%s missing and apt-get is not in PATH: install them by hand", strings.Join(pkgs, ", "))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf(
			"%s missing, and installing needs root: run `sudo apt-get install %s`",
			strings.Join(pkgs, ", "),
			strings.Join(pkgs, " "),
		)
	}
	one.Lock()
	defer one.Unlock()
	allow, err := denyServices()
	if err != nil {
		return err
	}
	defer allow()
	args := append([]string{"install", "--yes", "--no-install-recommends"}, pkgs...)
	note("apt-get install %s", strings.Join(pkgs, " "))
	if run(ctx, args...) == nil {
		return nil
	}
	// On a fresh machine the package lists are missing or old.
	note("apt-get update")
	if err := run(ctx, "update"); err != nil {
		return err
	}
	note("apt-get install %s", strings.Join(pkgs, " "))
	return run(ctx, args...)
}

func run(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := c.CombinedOutput(); err != nil {
		if ctx.Err() != nil { // "signal: killed" says nothing
			err = context.Cause(ctx)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-3):], " | "))
	}
	return nil
}

const (
	policyFile = "/usr/sbin/policy-rc.d"
	policyText = "#!/bin/sh\n# Written by amc while it installs packages; safe to remove.\nexit 101\n"
)

// denyServices writes policy-rc.d, which is how Debian forbids packages to start services when they
// are installed. One that is already there stays.
func denyServices() (allow func(), err error) {
	f, err := os.OpenFile(policyFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) {
		old, err := os.ReadFile(policyFile)
		if err == nil && string(old) == policyText { // of an amc that was killed
			return func() { _ = os.Remove(policyFile) }, nil
		}
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = f.WriteString(policyText)
	return func() { _ = os.Remove(policyFile) }, err
}
