package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"ambient.test/conformance/framework/progress"
)

// tools are the programs that a private engine needs, each with the Debian package that brings it. docker-cli is a package of its own since Debian 13.
var tools = []struct{ program, pkg string }{
	{"dockerd", "docker.io"}, {"containerd", "docker.io"}, {"runc", "docker.io"},
	{"iptables", "iptables"}, {"ip", "iproute2"},
}

// installTools installs what is missing with apt. Services are kept from starting meanwhile: what is installed is for the private engine alone.
func installTools(ctx context.Context, item progress.Item) error {
	want := missingPackages(func(p string) bool { _, err := exec.LookPath(p); return err == nil })
	if len(want) > 0 {
		if err := aptInstall(ctx, item, want...); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return aptInstall(ctx, item, "docker-cli")
	}
	return nil
}

func missingPackages(have func(program string) bool) []string {
	var want []string
	seen := map[string]bool{}
	for _, t := range tools {
		if !have(t.program) && !seen[t.pkg] {
			seen[t.pkg] = true
			want = append(want, t.pkg)
		}
	}
	return want
}

func aptInstall(ctx context.Context, item progress.Item, pkgs ...string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%s missing and apt-get is not in PATH: install them by hand", strings.Join(pkgs, ", "))
	}
	allow, err := denyServices()
	if err != nil {
		return err
	}
	defer allow()
	item.Note("apt-get install %s", strings.Join(pkgs, " "))
	args := append([]string{"install", "--yes", "--no-install-recommends"}, pkgs...)
	if apt(ctx, args...) == nil {
		return nil
	}
	// On a fresh machine the package lists are missing or old.
	item.Note("apt-get update")
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	item.Note("apt-get install %s", strings.Join(pkgs, " "))
	return apt(ctx, args...)
}

func apt(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), commandCause(ctx, err), lastLines(string(out), 3))
	}
	return nil
}

const (
	policyFile = "/usr/sbin/policy-rc.d"
	policyText = "#!/bin/sh\n# Written by amc while it installs packages; safe to remove.\nexit 101\n"
)

// denyServices lays Debian's own switch against starting services on installation, unless there is one already.
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
