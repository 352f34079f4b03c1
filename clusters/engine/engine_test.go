package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/reports/api/v1alpha2"
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
		status v1alpha2.CheckStatus
		says   string
	}{
		"few inotify instances": {
			files: map[string]string{"/proc/sys/fs/inotify/max_user_instances": "128\n"}, check: "inotify instances",
			status: v1alpha2.CheckFixed, says: "was 128 and is 1024 now",
		},
		"few inotify instances, not root": {
			files: map[string]string{"/proc/sys/fs/inotify/max_user_instances": "128\n"}, change: func(h *host) { h.admin = false },
			check: "inotify instances", status: v1alpha2.CheckWarn, says: "too many open files",
		},
		"inotify cannot be read": {
			files: map[string]string{"/proc/sys/fs/inotify/max_user_watches": ""}, check: "inotify watches", status: v1alpha2.CheckWarn,
			says: "cannot be read",
		},
		"cgroup v1": {
			files: map[string]string{
				"/sys/fs/cgroup/cgroup.controllers": "",
				"/proc/cgroups":                     "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t1\npids\t3\t1\t1\n",
			},
			check: "cgroups", status: v1alpha2.CheckOK, says: "failCgroupV1: false",
		},
		"cgroup v1 without memory": {
			files: map[string]string{"/sys/fs/cgroup/cgroup.controllers": "", "/proc/cgroups": "cpu\t1\t1\t1\nmemory\t2\t1\t0\npids\t3\t1\t1\n"},
			check: "cgroups", status: v1alpha2.CheckFail, says: "without the controllers memory",
		},
		"short of CAP_SYS_RESOURCE": {
			files: map[string]string{"/proc/self/status": "CapBnd:\t000001fffeffffff\n"}, check: "capabilities", status: v1alpha2.CheckOK,
			says: "lacks CAP_SYS_RESOURCE",
		},
		"too little memory": {
			files: map[string]string{"/proc/meminfo": "MemAvailable: 1048576 kB\n"}, check: "memory", status: v1alpha2.CheckFail,
			says: "1.0 GiB of memory are available, 4.0 GiB are needed",
		},
		"memory unknown": {
			files: map[string]string{"/proc/meminfo": "MemTotal: 1 kB\n"}, check: "memory", status: v1alpha2.CheckWarn,
			says: "no MemAvailable",
		},
		"too little disk": {
			change: func(h *host) { h.space = func(string) (uint64, string, error) { return 2 << 30, "", nil } }, check: "disk",
			status: v1alpha2.CheckFail, says: "2.0 GiB are free",
		},
		"disk unknown": {
			change: func(h *host) { h.space = func(string) (uint64, string, error) { return 0, "", errors.New("no") } }, check: "disk",
			status: v1alpha2.CheckWarn, says: "cannot be read",
		},
		"data root on overlay": {
			change: func(h *host) { h.space = func(string) (uint64, string, error) { return 100 << 30, "overlay", nil } },
			check:  "data root", status: v1alpha2.CheckFail, says: "overlay2 does not work",
		},
		"kernel without TPROXY": {
			change: func(h *host) { h.isolated = refused }, check: "TPROXY", status: v1alpha2.CheckFail, says: "keeps its source address",
		},
		"TPROXY loaded, but a try fails": {
			files: map[string]string{"/proc/modules": "xt_TPROXY 16384 0 - Live 0x0\n"}, change: func(h *host) { h.isolated = refused },
			check: "TPROXY", status: v1alpha2.CheckWarn, says: "a try failed",
		},
		"nobody may try, the kernel has it": {
			files:  map[string]string{"/proc/sys/kernel/osrelease": "6.1\n", "/boot/config-6.1": "CONFIG_NETFILTER_XT_TARGET_TPROXY=m\n"},
			change: func(h *host) { h.admin = false }, check: "TPROXY", status: v1alpha2.CheckOK, says: "as a module",
		},
		"nobody may try, the kernel lacks it": {
			files:  map[string]string{"/proc/sys/kernel/osrelease": "6.1\n", "/boot/config-6.1": "CONFIG_X=y\n"},
			change: func(h *host) { h.admin = false }, check: "TPROXY", status: v1alpha2.CheckWarn,
			says: "has no CONFIG_NETFILTER_XT_TARGET_TPROXY",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := machine(t, c.files)
			if c.change != nil {
				c.change(&h)
			}
			checks := preflight(t.Context(), h, want)
			i := slices.IndexFunc(checks, func(k v1alpha2.Check) bool { return k.Name == c.check })
			if i < 0 {
				t.Fatalf("no check %q in %+v", c.check, checks)
			}
			k := checks[i]
			if k.Status != c.status {
				t.Errorf("got %+v, want status %s", k, c.status)
			}
			if !strings.Contains(k.Detail, c.says) {
				t.Errorf("got %q, want it to say %q", k.Detail, c.says)
			}
			if k.Status == v1alpha2.CheckFail && k.Fix == "" {
				t.Errorf("%+v fails and names no fix", k)
			}
		})
	}
	for _, k := range preflight(t.Context(), machine(t, nil), want) {
		t.Run("good machine, "+k.Name, func(t *testing.T) {
			if k.Status != v1alpha2.CheckOK {
				t.Errorf("got %+v, want %s", k, v1alpha2.CheckOK)
			}
		})
	}
	far := preflight(t.Context(), machine(t, nil), Requirements{Engine: &Engine{Host: "tcp://far"}})
	if len(far) != 1 {
		t.Fatalf("of a remote engine's machine nothing is known: got %+v, want one check", far)
	}
	if far[0].Status != v1alpha2.CheckWarn {
		t.Errorf("of a remote engine's machine nothing is known: got %+v, want a warning", far[0])
	}
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		mode    string
		probe   probe
		private bool
		host    string
		fails   string
		note    string
	}{
		"Docker answers":         {ModeAuto, probe{cli: true, host: "h", answers: docker}, false, "h", "", ""},
		"Docker answers, no CLI": {ModeAuto, probe{host: "h", answers: docker}, false, "", "docker CLI is not in PATH", ""},
		"none answers":           {ModeAuto, probe{host: "h", said: "no such socket"}, true, "", "", ""},
		"none answers, none can be started": {
			ModeAuto, probe{host: "h", said: "no such socket", cannot: "it needs root"}, false, "", "it needs root", "",
		},
		"DOCKER_HOST is dead": {
			ModeAuto, probe{host: "h", named: "DOCKER_HOST", said: "refused"}, false, "", "unset DOCKER_HOST", "",
		},
		"only Podman":                        {ModeAuto, probe{host: "h", podman: "unix:///p"}, true, "", "", "has not been tried"},
		"Podman as Docker":                   {ModeDocker, probe{cli: true, host: "h", answers: podman}, false, "", "no Docker answers", ""},
		"docker wanted, none":                {ModeDocker, probe{host: "h", said: "x"}, false, "", "--engine auto", ""},
		"private wanted, Docker answers":     {ModePrivate, probe{cli: true, host: "h", answers: docker}, true, "", "", ""},
		"private wanted, cannot":             {ModePrivate, probe{cannot: "it needs Linux"}, false, "", "it needs Linux", ""},
		"another word":                       {"podman", probe{}, false, "", "auto, docker or private", ""},
		"DOCKER_HOST is dead, private asked": {ModePrivate, probe{host: "h", named: "DOCKER_HOST"}, true, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := choose(c.mode, c.probe)
			if c.fails == "" && err != nil {
				t.Fatalf("got %v, want none", err)
			}
			if c.fails != "" && !strings.Contains(fmt.Sprint(err), c.fails) {
				t.Fatalf("got %v, want %q", err, c.fails)
			}
			if d.private != c.private {
				t.Errorf("private engine: got %v, want %v", d.private, c.private)
			}
			if diff := cmp.Diff(c.host, d.host); diff != "" {
				t.Errorf("host (-want +got):\n%s", diff)
			}
			if !strings.Contains(d.note, c.note) {
				t.Errorf("got note %q, want it to say %q", d.note, c.note)
			}
			if c.note == "" && d.note != "" {
				t.Errorf("got note %q, want none", d.note)
			}
		})
	}
}
