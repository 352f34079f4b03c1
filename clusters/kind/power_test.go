package kind

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"ambient.test/conformance/framework/mesh"
)

// The script, on processes of our own: only the sandbox of that pod ends.
func TestKillSandbox(t *testing.T) {
	const uid = "0f2a-11"
	for name, x := range map[string]struct {
		comm, group string
		killed      bool
	}{
		"its sandbox, by cgroupfs":  {"pause", "/kubepods/burstable/pod0f2a-11/abc", true},
		"its sandbox, by systemd":   {"pause", "/kubepods.slice/kubepods-pod0f2a_11.slice/cri-abc.scope", true},
		"another one's sandbox":     {"pause", "/kubepods/burstable/pod0f2a-12/abc", false},
		"another of its processes":  {"server", "/kubepods/burstable/pod0f2a-11/def", false},
		"one that only looks alike": {"pause", "/user.slice/0f2a-11", false},
	} {
		t.Run(name, func(t *testing.T) {
			victim := exec.Command("sleep", "60")
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = victim.Process.Kill(); _ = victim.Wait() })
			proc := filepath.Join(t.TempDir(), "proc")
			dir := filepath.Join(proc, strconv.Itoa(victim.Process.Pid))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"comm": x.comm, "cgroup": "9:memory:" + x.group} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.Command("sh", "-c", killSandbox, "sh", proc, uid).CombinedOutput()
			if (err == nil) != x.killed {
				t.Errorf("got %v (%s), want that something was killed: %t", err, out, x.killed)
			}
		})
	}
}

func TestNodesOfOtherFleets(t *testing.T) {
	others := &mesh.Fleet{Provider: mesh.ProviderExisting}
	if StopNodes(others) != nil || StartNodes(others) != nil || KillSandbox(others) != nil || Tunnels(others) != nil {
		t.Error("got ways to break or to read nodes that are not ours, want none")
	}
}
