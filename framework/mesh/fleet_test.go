package mesh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// The fleet file follows no link that lies in its folder already.
func TestSaveFollowsNoLink(t *testing.T) {
	for _, name := range []string{"fleet.yaml", "fleet.yaml.tmp"} {
		t.Run(name, func(t *testing.T) {
			dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "mine")
			if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			f := &Fleet{RunID: "r", Clusters: []*Cluster{{Name: "a", Network: "n", Kubeconfig: "k"}}}
			if err := f.Save(filepath.Join(dir, "fleet.yaml")); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Error("it was written outside")
			}
			if _, err := Load(filepath.Join(dir, "fleet.yaml")); err != nil {
				t.Error(err)
			}
		})
	}
}

// The isolation proof is the report's own type. Fleet files in which its fields begin with a
// capital letter, as an earlier type wrote them, can still be read.
func TestIsolationInFleetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	want := &v1alpha2.Isolation{
		Proven: true,
		At:     time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC),
		Probes: []v1alpha2.IsolationProbe{{From: "a", To: "b", Address: "10.0.0.1:80", Control: true, Reached: true, Answered: "b",
			OK: true}},
		FirewallDrops: []v1alpha2.FirewallDrops{{Cluster: "a", Packets: 3}},
	}
	f := &Fleet{RunID: "r", Clusters: []*Cluster{{Name: "a", Network: "n", Kubeconfig: "k"}}, Isolation: want}
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	capitals := strings.NewReplacer("from: a", "From: a", "to: b", "To: b", "address:", "Address:", "control:", "Control:",
		"reached:", "Reached:", "answered:", "Answered:", "ok:", "OK:").Replace(string(written))
	for name, content := range map[string]string{"as written": string(written), "capitals": capitals} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, f.Isolation); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	good := &Fleet{RunID: "r", Provider: ProviderKind, Clusters: []*Cluster{{Name: "cluster1", Network: "network1", Kubeconfig: "k"}}}
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := good.Save(path); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("saved with mode %04o", st.Mode().Perm())
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.Cluster("cluster1") == nil {
		t.Fatalf("got %+v, want cluster1 in it", f)
	}
	if f.Path() != path {
		t.Fatalf("got path %s, want %s", f.Path(), path)
	}
	b, _ := os.ReadFile(path)
	for name, c := range map[string]struct {
		content, want string
		mode          os.FileMode
	}{
		"readable by others": {string(b), "chmod 600", 0o644},
		"malformed":          {"clusters: [", "malformed", 0o600},
		"unknown field":      {string(b) + "extra: 1\n", "malformed", 0o600},
		"newer":              {strings.Replace(string(b), FleetVersion, "amc.ambient.test/v9", 1), "newer version", 0o600},
		"empty":              {"\n", "is empty", 0o600},
		"of something else":  {"apiVersion: v1\nkind: Config\n", "no fleet file", 0o600},
		"of a long name":     {"apiVersion: " + strings.Repeat("x", 99) + "/v1\n", "no fleet file", 0o600},
		"without a version":  {"runID: r\n", "no fleet file", 0o600},
		"another shape":      {"- a\n- b\n", "malformed", 0o600},
		"no run":             {"apiVersion: " + FleetVersion + "\nclusters: []\n", "runID is missing", 0o600},
		"nothing of one":     {"apiVersion: " + FleetVersion + "\nrunID: r\nclusters: [null]\n", "clusters[0]", 0o600},
		"no cluster":         {"apiVersion: " + FleetVersion + "\nrunID: r\n", "no cluster", 0o600},
		"twice": {"apiVersion: " + FleetVersion +
			"\nrunID: r\nclusters:\n- {name: a, network: n, kubeconfig: k}\n- {name: a, network: m, kubeconfig: k}\n", "stands twice", 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "fleet.yaml")
			if err := os.WriteFile(p, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(p, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Load(p)
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if !strings.Contains(err.Error(), p) {
				t.Errorf("error %v names no file", err)
			}
			if !strings.Contains(err.Error(), "`") && !strings.Contains(err.Error(), "amc") {
				t.Errorf("error %v names no next command", err)
			}
			if newer := errors.Is(err, ErrFleetNewer); newer != (name == "newer") {
				t.Errorf("of a newer version: %t", newer)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNoFleet) {
		t.Errorf("error %v", err)
	}
	// Even root cannot read a folder as a file.
	if _, err := Load(privateDir(t)); !strings.Contains(fmt.Sprint(err), "cannot be read") {
		t.Errorf("got %v, want that it cannot be read", err)
	}
}

func privateDir(t *testing.T) string {
	d := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := os.Mkdir(d, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}
