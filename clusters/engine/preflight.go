package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ambient.test/conformance/clusters/engine/private"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// Requirements of Preflight.
type Requirements struct {
	// Engine that will be used; nil when none was found yet, then the private one under CacheDir is
	// taken for it.
	Engine   *Engine
	CacheDir string
	// Memory is how many bytes must be available, Disk how many bytes must be free where the engine
	// keeps its data. 0 = not checked.
	Memory, Disk uint64
	// IPv6 says that the fleet has IPv6 addresses, too.
	IPv6 bool
}

// Several nodes, each with a kubelet, containerd and systemd, exceed the kernel's defaults, which
// are 128 instances and, depending on memory, about 65536 watches.
const (
	inotifyInstances = 1024
	inotifyWatches   = 524288
)

// Preflight checks whether this machine can carry a fleet. It raises the inotify limits if it may.
// What cannot be known, for example about a remote engine's machine, is a warning at most.
func Preflight(ctx context.Context, r Requirements) []v1alpha2.Check {
	return preflight(ctx, osHost, r)
}

func preflight(ctx context.Context, h host, r Requirements) []v1alpha2.Check {
	if h.goos != "linux" || (r.Engine != nil && !r.Engine.Local) {
		return []v1alpha2.Check{
			warning("machine", "the engine's machine is not this one: its limits, memory, disk and kernel cannot be seen from here",
				fmt.Sprintf("see there that fs.inotify.max_user_instances >= %d and that %s of memory are free", inotifyInstances, size(r.Memory))),
		}
	}
	checks := []v1alpha2.Check{
		sysctl(h, "inotify instances", "fs.inotify.max_user_instances", inotifyInstances),
		sysctl(h, "inotify watches", "fs.inotify.max_user_watches", inotifyWatches),
		cgroups(h),
		capabilities(h),
		memory(h, r.Memory),
	}
	checks = append(checks, disk(h, r)...)
	if r.IPv6 {
		return append(checks, kernel(ctx, h, append(slices.Clip(features), ipv6)...)...)
	}
	return append(checks, kernel(ctx, h, features...)...)
}

func passed(name, detail string) v1alpha2.Check {
	return v1alpha2.Check{Name: name, Status: v1alpha2.CheckOK, Detail: detail}
}

func fixed(name, detail string) v1alpha2.Check {
	return v1alpha2.Check{Name: name, Status: v1alpha2.CheckFixed, Detail: detail}
}

func warning(name, detail, fix string) v1alpha2.Check {
	return v1alpha2.Check{Name: name, Status: v1alpha2.CheckWarn, Detail: detail, Fix: fix}
}

func failed(name, detail, fix string) v1alpha2.Check {
	return v1alpha2.Check{Name: name, Status: v1alpha2.CheckFail, Detail: detail, Fix: fix}
}

func sysctl(h host, name, key string, want uint64) v1alpha2.Check {
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	fix := fmt.Sprintf("run as root: sysctl -w %s=%d", key, want)
	have, err := number(h, path)
	switch {
	case err != nil:
		return warning(name, fmt.Sprintf("%s cannot be read: %v", key, err), fix)
	case have >= want:
		return passed(name, fmt.Sprintf("%s is %d, %d are needed", key, have, want))
	}
	short := fmt.Sprintf("%s is %d, %d are needed: kubelets would end with \"too many open files\"", key, have, want)
	if !h.admin {
		return warning(name, short, fix)
	}
	if err := h.write(path, strconv.FormatUint(want, 10)); err != nil {
		return warning(name, fmt.Sprintf("%s, and it cannot be raised: %v", short, err), fix)
	}
	if now, err := number(h, path); err != nil || now < want {
		return warning(name, short+", and writing it changed nothing", fix)
	}
	return fixed(name, fmt.Sprintf("%s was %d and is %d now, until the next boot", key, have, want))
}

func number(h host, path string) (uint64, error) {
	s, err := h.read(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(s), 10, 64)
}

// needed are the cgroup controllers without which a kubelet does not start.
var needed = []string{"cpu", "memory", "pids"}

func cgroups(h host) v1alpha2.Check {
	const name = "cgroups"
	version, have := "v2", map[string]bool{}
	if s, err := h.read("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		for _, c := range strings.Fields(s) {
			have[c] = true
		}
	} else {
		version = "v1"
		s, err := h.read("/proc/cgroups")
		if err != nil {
			return warning(name, "the cgroup controllers cannot be seen: "+err.Error(), "")
		}
		for line := range strings.Lines(s) {
			if f := strings.Fields(line); len(f) == 4 && f[3] == "1" {
				have[f[0]] = true
			}
		}
	}
	var missing []string
	for _, c := range needed {
		if !have[c] {
			missing = append(missing, c)
		}
	}
	switch {
	case len(missing) > 0:
		return failed(
			name, fmt.Sprintf("cgroup %s without the controllers %s, which kubelet needs", version, strings.Join(missing, ", ")),
			"enable them on the kernel command line (cgroup_enable=memory) or in the container that this runs in",
		)
	case version == "v1":
		return passed(name, "cgroup v1: nodes run kubelet with failCgroupV1: false")
	}
	return passed(name, "cgroup v2")
}

func capabilities(h host) v1alpha2.Check {
	const name = "capabilities"
	if m := private.MissingCapabilities(h.read); len(m) > 0 {
		return passed(name, fmt.Sprintf("the bounding set lacks %s: containers start through the OCI runtime wrapper", strings.Join(m, ", ")))
	}
	return passed(name, "the bounding set is complete")
}

func memory(h host, want uint64) v1alpha2.Check {
	const name = "memory"
	s, err := h.read("/proc/meminfo")
	if err != nil {
		return warning(name, "the available memory cannot be read: "+err.Error(), "")
	}
	have, ok := available(s)
	switch {
	case !ok:
		return warning(name, "/proc/meminfo has no MemAvailable", "")
	case have < want:
		return failed(
			name, fmt.Sprintf("%s of memory are available%s", size(have), required(want)),
			"end other programs, or ask for fewer clusters (--clusters)",
		)
	}
	return passed(name, fmt.Sprintf("%s of memory are available%s", size(have), required(want)))
}

// available reads MemAvailable, in bytes.
func available(meminfo string) (uint64, bool) {
	for line := range strings.Lines(meminfo) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseUint(f[1], 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

func disk(h host, r Requirements) []v1alpha2.Check {
	root, ours := private.DataRoot(r.CacheDir), true
	if r.Engine != nil && r.Engine.DataRoot != "" {
		root, ours = r.Engine.DataRoot, r.Engine.Private
	}
	free, fsType, err := h.space(root)
	var checks []v1alpha2.Check
	switch {
	case err != nil:
		checks = append(checks, warning("disk", fmt.Sprintf("the free space of %s cannot be read: %v", root, err), ""))
	case free < r.Disk:
		checks = append(
			checks,
			failed(
				"disk",
				fmt.Sprintf("%s are free where the engine keeps its data (%s)%s", size(free), root, required(r.Disk)),
				"make room there (`docker system prune` removes what no container uses)",
			),
		)
	default:
		checks = append(checks, passed("disk", fmt.Sprintf("%s are free in %s%s", size(free), root, required(r.Disk))))
	}
	if ours && (fsType == "overlay" || fsType == "nfs") {
		checks = append(
			checks,
			failed(
				"data root", fmt.Sprintf("%s is on %s, on which overlay2 does not work", root, fsType),
				"choose a cache folder on a disk of its own, for example a volume with ext4 or xfs",
			),
		)
	}
	return checks
}

// required completes a sentence; a fleet that is up needs no more than it has.
func required(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %s are needed", size(n))
}

func size(n uint64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
