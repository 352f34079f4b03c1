package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ambient.test/conformance/clusters/engine/capset"
)

// machine is a made-up one on which nothing is amiss.
func machine(t *testing.T, files map[string]string) host {
	t.Helper()
	h := host{goos: "linux", root: t.TempDir(), admin: true,
		isolated: func(context.Context, string, ...string) (string, error) { return "", nil },
		space:    func(string) (uint64, string, error) { return 100 << 30, "", nil }}
	all := map[string]string{
		"/proc/sys/fs/inotify/max_user_instances": "1024\n",
		"/proc/sys/fs/inotify/max_user_watches":   "524288\n",
		"/sys/fs/cgroup/cgroup.controllers":       "cpuset cpu io memory pids\n",
		"/proc/self/status":                       "Name:\tx\nCapBnd:\t000001ffffffffff\n",
		"/proc/sys/kernel/cap_last_cap":           "40\n",
		"/proc/meminfo":                           "MemTotal: 9999999 kB\nMemAvailable: 8388608 kB\n",
		"/proc/filesystems":                       "nodev\toverlay\n",
	}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if text == "" { // not there
			continue
		}
		p := filepath.Join(h.root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestPreflight(t *testing.T) {
	want := Requirements{CacheDir: t.TempDir(), Memory: 4 << 30, Disk: 15 << 30}
	refused := func(context.Context, string, ...string) (string, error) {
		_, err := exec.Command("false").Output()
		return "No chain/target/match by that name.", err
	}
	for name, c := range map[string]struct {
		files  map[string]string
		change func(*host)
		check  string
		status Status
		says   string
	}{
		"few inotify instances":               {files: map[string]string{"/proc/sys/fs/inotify/max_user_instances": "128\n"}, check: "inotify instances", status: Fixed, says: "was 128 and is 1024 now"},
		"few inotify instances, not root":     {files: map[string]string{"/proc/sys/fs/inotify/max_user_instances": "128\n"}, change: func(h *host) { h.admin = false }, check: "inotify instances", status: Warn, says: "too many open files"},
		"inotify cannot be read":              {files: map[string]string{"/proc/sys/fs/inotify/max_user_watches": ""}, check: "inotify watches", status: Warn, says: "cannot be read"},
		"cgroup v1":                           {files: map[string]string{"/sys/fs/cgroup/cgroup.controllers": "", "/proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t1\npids\t3\t1\t1\n"}, check: "cgroups", status: OK, says: "failCgroupV1: false"},
		"cgroup v1 without memory":            {files: map[string]string{"/sys/fs/cgroup/cgroup.controllers": "", "/proc/cgroups": "cpu\t1\t1\t1\nmemory\t2\t1\t0\npids\t3\t1\t1\n"}, check: "cgroups", status: Fail, says: "without the controllers memory"},
		"short of CAP_SYS_RESOURCE":           {files: map[string]string{"/proc/self/status": "CapBnd:\t000001fffeffffff\n"}, check: "capabilities", status: OK, says: "lacks CAP_SYS_RESOURCE"},
		"too little memory":                   {files: map[string]string{"/proc/meminfo": "MemAvailable: 1048576 kB\n"}, check: "memory", status: Fail, says: "1.0 GiB of memory are available, 4.0 GiB are needed"},
		"memory unknown":                      {files: map[string]string{"/proc/meminfo": "MemTotal: 1 kB\n"}, check: "memory", status: Warn, says: "no MemAvailable"},
		"too little disk":                     {change: func(h *host) { h.space = func(string) (uint64, string, error) { return 2 << 30, "", nil } }, check: "disk", status: Fail, says: "2.0 GiB are free"},
		"disk unknown":                        {change: func(h *host) { h.space = func(string) (uint64, string, error) { return 0, "", errors.New("no") } }, check: "disk", status: Warn, says: "cannot be read"},
		"data root on overlay":                {change: func(h *host) { h.space = func(string) (uint64, string, error) { return 100 << 30, "overlay", nil } }, check: "data root", status: Fail, says: "overlay2 does not work"},
		"kernel without TPROXY":               {change: func(h *host) { h.isolated = refused }, check: "TPROXY", status: Fail, says: "keeps its source address"},
		"TPROXY loaded, but a try fails":      {files: map[string]string{"/proc/modules": "xt_TPROXY 16384 0 - Live 0x0\n"}, change: func(h *host) { h.isolated = refused }, check: "TPROXY", status: Warn, says: "a try failed"},
		"nobody may try, the kernel has it":   {files: map[string]string{"/proc/sys/kernel/osrelease": "6.1\n", "/boot/config-6.1": "CONFIG_NETFILTER_XT_TARGET_TPROXY=m\n"}, change: func(h *host) { h.admin = false }, check: "TPROXY", status: OK, says: "as a module"},
		"nobody may try, the kernel lacks it": {files: map[string]string{"/proc/sys/kernel/osrelease": "6.1\n", "/boot/config-6.1": "CONFIG_X=y\n"}, change: func(h *host) { h.admin = false }, check: "TPROXY", status: Warn, says: "has no CONFIG_NETFILTER_XT_TARGET_TPROXY"},
	} {
		t.Run(name, func(t *testing.T) {
			h := machine(t, c.files)
			if c.change != nil {
				c.change(&h)
			}
			checks := preflight(t.Context(), h, want)
			i := slices.IndexFunc(checks, func(k Check) bool { return k.Name == c.check })
			if i < 0 {
				t.Fatalf("no check %q in %+v", c.check, checks)
			}
			if k := checks[i]; k.Status != c.status || !strings.Contains(k.Detail, c.says) || (k.Status == Fail && k.Fix == "") {
				t.Errorf("%+v, want %s: %q", k, c.status, c.says)
			}
		})
	}
	for _, k := range preflight(t.Context(), machine(t, nil), want) {
		if k.Status != OK {
			t.Errorf("on a good machine: %+v", k)
		}
	}
	if far := preflight(t.Context(), machine(t, nil), Requirements{Engine: &Engine{Host: "tcp://far"}}); len(far) != 1 || far[0].Status != Warn {
		t.Errorf("of a remote engine's machine nothing is known: %+v", far)
	}
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		mode    string
		sight   sight
		private bool
		host    string
		fails   string
		note    string
	}{
		"Docker answers":                     {ModeAuto, sight{cli: true, host: "h", answers: docker}, false, "h", "", ""},
		"Docker answers, no CLI":             {ModeAuto, sight{host: "h", answers: docker}, false, "", "docker CLI is not in PATH", ""},
		"none answers":                       {ModeAuto, sight{host: "h", said: "no such socket"}, true, "", "", ""},
		"none answers, none can be started":  {ModeAuto, sight{host: "h", said: "no such socket", cannot: "it needs root"}, false, "", "it needs root", ""},
		"DOCKER_HOST is dead":                {ModeAuto, sight{host: "h", named: "DOCKER_HOST", said: "refused"}, false, "", "unset DOCKER_HOST", ""},
		"only Podman":                        {ModeAuto, sight{host: "h", podman: "unix:///p"}, true, "", "", "has not been tried"},
		"Podman as Docker":                   {ModeDocker, sight{cli: true, host: "h", answers: podman}, false, "", "no Docker answers", ""},
		"docker wanted, none":                {ModeDocker, sight{host: "h", said: "x"}, false, "", "--engine auto", ""},
		"private wanted, Docker answers":     {ModePrivate, sight{cli: true, host: "h", answers: docker}, true, "", "", ""},
		"private wanted, cannot":             {ModePrivate, sight{cannot: "it needs Linux"}, false, "", "it needs Linux", ""},
		"another word":                       {"podman", sight{}, false, "", "auto, docker or private", ""},
		"DOCKER_HOST is dead, private asked": {ModePrivate, sight{host: "h", named: "DOCKER_HOST"}, true, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := choose(c.mode, c.sight)
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Fatalf("%v, want %q", err, c.fails)
			}
			if d.private != c.private || d.host != c.host || !strings.Contains(d.note, c.note) || c.note == "" && d.note != "" {
				t.Errorf("%+v", d)
			}
		})
	}
}

// What dockerd added goes; what was there, and what somebody else has added meanwhile, stays.
func TestUndo(t *testing.T) {
	before := filterState{Rules: map[string][]string{"filter": {"-P FORWARD ACCEPT", "-A INPUT -j MINE"}, "nat": {"-P OUTPUT ACCEPT"}}}
	now := filterState{Rules: map[string][]string{
		"filter": {"-P FORWARD DROP", "-N DOCKER", "-N DOCKER-USER", "-A INPUT -j MINE", "-A INPUT -s 192.0.2.1/32 -j DROP", "-A FORWARD -j DOCKER-USER", "-A FORWARD -o br-aaaaaaaaaaaa -j ACCEPT",
			"-A FORWARD -o br-bbbbbbbbbbbb -j ACCEPT", `-A INPUT -m comment --comment "DOCKER stays" -j ACCEPT`},
		"nat": {"-P OUTPUT ACCEPT", "-A POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE"},
	}}
	lines := func(cmds [][]string) (all []string) {
		for _, c := range cmds {
			all = append(all, strings.Join(c, " "))
		}
		return all
	}
	if got, want := lines(undo(before, now, []string{"br-aaaaaaaaaaaa"}, false)), []string{
		"-t filter -D FORWARD -j DOCKER-USER", "-t filter -D FORWARD -o br-aaaaaaaaaaaa -j ACCEPT", "-t filter -X DOCKER", "-t filter -X DOCKER-USER", "-t filter -P FORWARD ACCEPT",
		"-t nat -D POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got, want := lines(undo(before, now, []string{"br-aaaaaaaaaaaa"}, true)), []string{
		"-t filter -D FORWARD -o br-aaaaaaaaaaaa -j ACCEPT", "-t nat -D POSTROUTING -s 10.0.0.0/24 ! -o br-aaaaaaaaaaaa -j MASQUERADE"}; !slices.Equal(got, want) {
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
		if l.isDaemon(c.p) != c.daemon || l.isContainerd(c.p) != c.containerd || l.isShim(c.p) != c.shim || c.p.inContainer([]string{id}) != c.in {
			t.Errorf("%q: daemon %t, containerd %t, shim %t, in a container %t", c.p.args, l.isDaemon(c.p), l.isContainerd(c.p), l.isShim(c.p), c.p.inContainer([]string{id}))
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
	if m := short.Missing(40); !slices.Equal(m, []string{"CAP_SYS_RESOURCE"}) || short.Allows("cap_sys_resource") || !short.Allows("CAP_OF_TOMORROW") {
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
