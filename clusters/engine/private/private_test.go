package private

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/clusters/engine/private/capset"
)

// What dockerd added goes; what was there, and what somebody else has added meanwhile, stays.
func TestUndo(t *testing.T) {
	before := hostNetwork{Rules: map[string][]string{
		"iptables filter": {"-P FORWARD ACCEPT", "-A INPUT -j MINE"}, "iptables nat": {"-P OUTPUT ACCEPT"},
	}}
	now := hostNetwork{Rules: map[string][]string{
		"iptables filter": {
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
		"iptables nat":     {"-P OUTPUT ACCEPT", "-A POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE"},
		"ip6tables filter": {"-P FORWARD ACCEPT", "-A FORWARD -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -j ACCEPT"},
	}}
	for name, c := range map[string]struct {
		now     hostNetwork
		bridges []string
		shared  bool
		want    []string
	}{
		"all of dockerd's goes": {now, []string{"br-aaaaaaaaaaaa"}, false, []string{
			"ip6tables --wait -t filter -D FORWARD -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -j ACCEPT",
			"iptables --wait -t filter -D FORWARD -j DOCKER-USER",
			"iptables --wait -t filter -D FORWARD -o br-aaaaaaaaaaaa -j ACCEPT",
			"iptables --wait -t filter -X DOCKER",
			"iptables --wait -t filter -X DOCKER-USER",
			"iptables --wait -t filter -P FORWARD ACCEPT",
			"iptables --wait -t nat -D POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE",
		}},
		"beside another dockerd only rules of our bridges": {now, []string{"br-aaaaaaaaaaaa"}, true, []string{
			"ip6tables --wait -t filter -D FORWARD -i br-aaaaaaaaaaaa -o br-aaaaaaaaaaaa -j ACCEPT",
			"iptables --wait -t filter -D FORWARD -o br-aaaaaaaaaaaa -j ACCEPT",
			"iptables --wait -t nat -D POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE",
		}},
		"nothing was added": {before, nil, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, args := range undo(before, c.now, c.bridges, c.shared) {
				got = append(got, strings.Join(args, " "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBridgesIn(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	db := "\x00junk docker/network/v1.0/bridge/" + id + "/ more docker/network/v1.0/bridge/" + id + "/ docker/network/v1.0/endpoint/x/"
	if diff := cmp.Diff([]string{"br-0123456789ab"}, bridgesIn(db)); diff != "" {
		t.Errorf("bridges (-want +got):\n%s", diff)
	}
}

func TestFailureIn(t *testing.T) {
	for log, want := range map[string]string{
		"": "its log has no error",
		"time=\"x\" level=info msg=\"Starting up\"\nfailed to start daemon: pid file found\n": "failed to start daemon: pid file found",
		`time="x" level=error msg="it said \"no\""`:                                           `it said "no"`,
	} {
		t.Run(want, func(t *testing.T) {
			if got := failureIn(log); got != want {
				t.Errorf("of the log %q: got %q, want %q", log, got, want)
			}
		})
	}
}

func TestMountsBelow(t *testing.T) {
	const info = `22 1 0:20 / /proc rw - proc proc rw
30 1 254:0 / /cache/engine/data rw - ext4 x rw
31 1 0:4 net:[1] /cache/engine/run/netns/a\040b rw - nsfs nsfs rw
32 1 0:4 / /cache/engine-of-others rw - nsfs nsfs rw
`
	want := []string{"/cache/engine/run/netns/a b", "/cache/engine/data"}
	if diff := cmp.Diff(want, mountsBelow(info, "/cache/engine")); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

func TestProcesses(t *testing.T) {
	l := layoutIn("/c")
	id := strings.Repeat("ab", 32)
	type kinds struct{ Daemon, Containerd, Shim, InContainer bool }
	for _, c := range []struct {
		p    process
		want kinds
	}{
		{process{args: []string{"dockerd", "--config-file", "/c/engine/daemon.json"}}, kinds{Daemon: true}},
		{process{args: []string{"/usr/sbin/dockerd", "--config-file", "/etc/docker/daemon.json"}}, kinds{}},
		{process{args: []string{"containerd", "--config", l.containerdConfig()}}, kinds{Containerd: true}},
		{process{args: []string{"/usr/bin/containerd-shim-runc-v2", "-address", l.containerdSocket()}}, kinds{Shim: true}},
		{process{args: []string{"/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"}}, kinds{}},
		{process{args: []string{"/sbin/init"}, cgroup: "1:cpu:/docker/" + id}, kinds{InContainer: true}},
		{process{args: []string{"sh", "-c", "dockerd --config-file /c/engine/daemon.json"}}, kinds{}},
	} {
		t.Run(strings.Join(c.p.args, " "), func(t *testing.T) {
			got := kinds{l.isDaemon(c.p), l.isContainerd(c.p), l.isShim(c.p), c.p.inContainer([]string{id})}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("taken for (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLayoutFits(t *testing.T) {
	if err := layoutIn("/home/somebody/.cache/amc").fits(); err != nil {
		t.Error(err)
	}
	if err := layoutIn("/" + strings.Repeat("x", 100)).fits(); !strings.Contains(fmt.Sprint(err), "shorter cache folder") {
		t.Errorf("got %v, want it to ask for a shorter cache folder", err)
	}
}

func TestCapabilities(t *testing.T) {
	all, err := capset.Bounding("Name:\tx\nCapBnd:\t000001ffffffffff\n")
	if err != nil {
		t.Fatal(err)
	}
	short := all &^ (1 << capset.SysResource)
	for name, c := range map[string]struct {
		set     capset.Set
		missing []string
	}{"all": {all, nil}, "short": {short, []string{"CAP_SYS_RESOURCE"}}} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.missing, c.set.Missing(40)); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
	for _, c := range []struct {
		set  capset.Set
		name string
		want bool
	}{{all, "CAP_CHOWN", true}, {short, "cap_sys_resource", false}, {short, "CAP_OF_TOMORROW", true}} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.set.Allows(c.name); got != c.want {
				t.Errorf("%s is allowed: %v, want %v", c.name, got, c.want)
			}
		})
	}
	for _, bad := range []string{"", "CapBnd:\tzz\n"} {
		t.Run(strconv.Quote(bad), func(t *testing.T) {
			if got, err := capset.Bounding(bad); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
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
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff("real --version\n", string(out)); diff != "" {
		t.Errorf("output of the real runtime (-want +got):\n%s", diff)
	}
	if k := WrapperKey(); len(k) != 64 {
		t.Errorf("got key %q, want 64 digits", k)
	}
}
