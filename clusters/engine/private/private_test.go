package private

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ambient.test/conformance/clusters/engine/private/capset"
)

// What dockerd added goes; what was there, and what somebody else has added meanwhile, stays.
func TestUndo(t *testing.T) {
	before := filterState{Rules: map[string][]string{"filter": {"-P FORWARD ACCEPT", "-A INPUT -j MINE"}, "nat": {"-P OUTPUT ACCEPT"}}}
	now := filterState{Rules: map[string][]string{
		"filter": {
			"-P FORWARD DROP",
			"-N DOCKER",
			"-N DOCKER-USER",
			"-A INPUT -j MINE",
			"-A INPUT -s 192.0.2.1/32 -j DROP",
			"-A FORWARD -j DOCKER-USER",
			"-A FORWARD -o br-aaaaaaaaaaaa -j ACCEPT",
			"-A FORWARD -o br-bbbbbbbbbbbb -j ACCEPT",
			`-A INPUT -m comment --comment "DOCKER stays" -j ACCEPT`,
		},
		"nat": {"-P OUTPUT ACCEPT", "-A POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE"},
	}}
	lines := func(cmds [][]string) (all []string) {
		for _, c := range cmds {
			all = append(all, strings.Join(c, " "))
		}
		return all
	}
	if got, want := lines(undo(before, now, []string{"br-aaaaaaaaaaaa"}, false)), []string{
		"-t filter -D FORWARD -j DOCKER-USER",
		"-t filter -D FORWARD -o br-aaaaaaaaaaaa -j ACCEPT",
		"-t filter -X DOCKER",
		"-t filter -X DOCKER-USER",
		"-t filter -P FORWARD ACCEPT",
		"-t nat -D POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got, want := lines(undo(before, now, []string{"br-aaaaaaaaaaaa"}, true)), []string{
		"-t filter -D FORWARD -o br-aaaaaaaaaaaa -j ACCEPT",
		"-t nat -D POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE",
	}; !slices.Equal(got, want) {
		t.Errorf("beside another dockerd: got %q", got)
	}
	if got := undo(before, before, nil, false); len(got) > 0 {
		t.Errorf("nothing was added: %q", got)
	}
}

func TestBridgesIn(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	db := "\x00junk docker/network/v1.0/bridge/" + id + "/ more docker/network/v1.0/bridge/" + id + "/ docker/network/v1.0/endpoint/x/"
	if got := bridgesIn(db); !slices.Equal(got, []string{"br-0123456789ab"}) {
		t.Errorf("%q", got)
	}
}

func TestFailureIn(t *testing.T) {
	for log, want := range map[string]string{
		"": "its log has no error",
		"time=\"x\" level=info msg=\"Starting up\"\nfailed to start daemon: pid file found\n": "failed to start daemon: pid file found",
		`time="x" level=error msg="it said \"no\""`:                                           `it said "no"`,
	} {
		if got := failureIn(log); got != want {
			t.Errorf("%q: %q, want %q", log, got, want)
		}
	}
}

func TestMountsBelow(t *testing.T) {
	const info = `22 1 0:20 / /proc rw - proc proc rw
30 1 254:0 / /cache/engine/data rw - ext4 x rw
31 1 0:4 net:[1] /cache/engine/run/netns/a\040b rw - nsfs nsfs rw
32 1 0:4 / /cache/engine-of-others rw - nsfs nsfs rw
`
	if got := mountsBelow(info, "/cache/engine"); !slices.Equal(got, []string{"/cache/engine/run/netns/a b", "/cache/engine/data"}) {
		t.Errorf("%q", got)
	}
}

func TestProcesses(t *testing.T) {
	l := layoutIn("/c")
	id := strings.Repeat("ab", 32)
	for _, c := range []struct {
		p                            process
		daemon, containerd, shim, in bool
	}{
		{process{args: []string{"dockerd", "--config-file", "/c/engine/daemon.json"}}, true, false, false, false},
		{process{args: []string{"/usr/sbin/dockerd", "--config-file", "/etc/docker/daemon.json"}}, false, false, false, false},
		{process{args: []string{"containerd", "--config", l.containerdConfig()}}, false, true, false, false},
		{process{args: []string{"/usr/bin/containerd-shim-runc-v2", "-address", l.containerdSocket()}}, false, false, true, false},
		{process{args: []string{"/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"}}, false, false, false, false},
		{process{args: []string{"/sbin/init"}, cgroup: "1:cpu:/docker/" + id}, false, false, false, true},
		{process{args: []string{"sh", "-c", "dockerd --config-file /c/engine/daemon.json"}}, false, false, false, false},
	} {
		if l.isDaemon(c.p) != c.daemon || l.isContainerd(c.p) != c.containerd || l.isShim(c.p) != c.shim ||
			c.p.inContainer([]string{id}) != c.in {
			t.Errorf(
				"%q: daemon %t, containerd %t, shim %t, in a container %t",
				c.p.args,
				l.isDaemon(c.p),
				l.isContainerd(c.p),
				l.isShim(c.p),
				c.p.inContainer([]string{id}),
			)
		}
	}
}

func TestLayoutFits(t *testing.T) {
	if err := layoutIn("/home/somebody/.cache/amc").fits(); err != nil {
		t.Error(err)
	}
	if err := layoutIn("/" + strings.Repeat("x", 100)).fits(); err == nil || !strings.Contains(err.Error(), "shorter cache folder") {
		t.Errorf("%v", err)
	}
}

func TestCapabilities(t *testing.T) {
	all, err := capset.Bounding("Name:\tx\nCapBnd:\t000001ffffffffff\n")
	if err != nil || len(all.Missing(40)) > 0 || !all.Allows("CAP_CHOWN") {
		t.Errorf("%x, %v", all, err)
	}
	short := all &^ (1 << capset.SysResource)
	if m := short.Missing(
		40,
	); !slices.Equal(m, []string{"CAP_SYS_RESOURCE"}) || short.Allows("cap_sys_resource") ||
		!short.Allows("CAP_OF_TOMORROW") {
		t.Errorf("%q", m)
	}
	for _, bad := range []string{"", "CapBnd:\tzz\n"} {
		if _, err := capset.Bounding(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The wrapper is built from what is embedded, far from this checkout.
func TestBuildWrapper(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "bin", "ociwrap")
	if err := BuildWrapper(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(filepath.Dir(dst), "runc.real")
	if err := os.WriteFile(real, []byte("#!/bin/sh\necho real \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(dst, "--version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "real --version" {
		t.Errorf("%s, %v", out, err)
	}
	if k := WrapperKey(); len(k) != 64 {
		t.Errorf("key %q", k)
	}
}
