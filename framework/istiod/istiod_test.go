package istiod

import (
	"slices"
	"testing"
)

func TestParseClusters(t *testing.T) {
	rows, err := parseClusters([]byte(`[
		{"id":"cluster2","secretName":"istio-system/istio-remote-secret-cluster2","syncStatus":"synced"},
		{"id":"cluster1","secretName":"","syncStatus":"synced"}
	]`), "istiod-a")
	if err != nil {
		t.Fatal(err)
	}
	want := []RemoteCluster{{Name: "cluster1", Status: Synced, Istiod: "istiod-a"},
		{Name: "cluster2", Secret: "istio-system/istio-remote-secret-cluster2", Status: Synced, Istiod: "istiod-a"}}
	if !slices.Equal(rows, want) {
		t.Errorf("rows are %+v, want %+v", rows, want)
	}
	if _, err := parseClusters([]byte("Authentication required"), "istiod-a"); err == nil {
		t.Error("a refusal was read as a list of clusters")
	}
}

func TestUnsynced(t *testing.T) {
	good := []RemoteCluster{{Name: "c1", Status: Synced, Istiod: "a"}, {Name: "c2", Status: Synced, Istiod: "a"}}
	for name, tt := range map[string]struct {
		rows []RemoteCluster
		bad  int
	}{
		"all synced":                      {good, 0},
		"nobody answered":                 {nil, 1},
		"one is missing":                  {good[:1], 1},
		"one has timed out":               {[]RemoteCluster{good[0], {Name: "c2", Status: "timeout", Istiod: "a"}}, 1},
		"the second replica lacks a clus": {append(slices.Clone(good), RemoteCluster{Name: "c1", Status: Synced, Istiod: "b"}), 1},
	} {
		t.Run(name, func(t *testing.T) {
			if bad := Unsynced(tt.rows, []string{"c1", "c2"}); len(bad) != tt.bad {
				t.Errorf("%s: %v, want %d sentences", name, bad, tt.bad)
			}
		})
	}
}
