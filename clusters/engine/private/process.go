package private

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// process is one of this machine's, as /proc shows it.
type process struct {
	pid    int
	args   []string
	cgroup string // text of /proc/PID/cgroup
	netns  string // the link /proc/PID/ns/net
	start  string // start time in clock ticks: with the number it names a process for good
}

// processes lists all that can be seen; those that end meanwhile are left out.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var ps []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		cgroup, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		netns, _ := os.Readlink(filepath.Join(dir, "ns", "net"))
		start := startTime(pid)
		if start == "" {
			continue
		}
		ps = append(ps, process{pid, strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00"), string(cgroup), netns, start})
	}
	return ps, nil
}

func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name is in parentheses and may hold anything, so count from the last one: field 22 is the
	// 20th after it.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	if f := strings.Fields(rest); len(f) > 19 && f[0] != "Z" {
		return f[19]
	}
	return ""
}

// same says whether the number still belongs to the process that was listed.
func (p process) same() bool { return startTime(p.pid) == p.start }

func (p process) name() string { return filepath.Base(p.args[0]) }

func (l layout) isDaemon(p process) bool {
	return p.name() == "dockerd" && slices.Contains(p.args, l.config())
}
func (l layout) isContainerd(p process) bool { return slices.Contains(p.args, l.containerdConfig()) }
func (l layout) isShim(p process) bool {
	return strings.HasPrefix(p.name(), "containerd-shim") && slices.Contains(p.args, l.containerdSocket())
}

func (p process) inContainer(ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(p.cgroup, id) })
}

// rival finds a dockerd that is not ours in the network namespace of this process. Two there delete
// each other's iptables chains when they start.
func rival(ps []process, ours layout) (process, bool) {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return process{}, false
	}
	for _, p := range ps {
		if p.name() == "dockerd" && p.netns == own && !ours.isDaemon(p) {
			return p, true
		}
	}
	return process{}, false
}

var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// containerIDs are the containers in the data root; the ids are random, so a process in a cgroup of
// that name is ours.
func (l layout) containerIDs() []string {
	var ids []string
	entries, _ := os.ReadDir(filepath.Join(l.dataRoot(), "containers"))
	for _, e := range entries {
		if containerID.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids
}

// mountsBelow lists the mount points at or below dir in a mountinfo text, the last made first.
func mountsBelow(mountinfo, dir string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		p := unescape(f[4])
		if p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	slices.Reverse(points)
	return points
}

// unescape reads the octal escapes of proc(5): space, tab, line break, backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
