package mesh

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	good := &Fleet{RunID: "r", Provider: ProviderKind, Clusters: []*Cluster{{Name: "cluster1", Network: "network1", Kubeconfig: "k"}}}
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := good.Save(path); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("saved with mode %04o", st.Mode().Perm())
	}
	if f, err := Load(path); err != nil || f.Cluster("cluster1") == nil || f.Path() != path {
		t.Fatalf("%+v %v", f, err)
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
		"no cluster":         {"apiVersion: " + FleetVersion + "\nrunID: r\n", "no cluster", 0o600},
		"twice":              {"apiVersion: " + FleetVersion + "\nrunID: r\nclusters:\n- {name: a, network: n, kubeconfig: k}\n- {name: a, network: m, kubeconfig: k}\n", "stands twice", 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "fleet.yaml")
			if err := os.WriteFile(p, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(p, c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNoFleet) {
		t.Errorf("error %v", err)
	}
}
