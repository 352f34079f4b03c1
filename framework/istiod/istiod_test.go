package istiod

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
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
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
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

func TestSecretEvents(t *testing.T) {
	got, err := parseSecretEvents([]byte(`# TYPE remote_cluster_secret_events_total counter
remote_cluster_secret_events_total{event="add"} 1
remote_cluster_secret_events_total{event="update"} 2
# TYPE istiod_managed_clusters gauge
istiod_managed_clusters{cluster_type="remote"} 7
`))
	if err != nil {
		t.Fatal(err)
	}
	if got != 3 {
		t.Errorf("got %v events, want 3", got)
	}
	if _, err := parseSecretEvents([]byte("Authentication required")); err == nil {
		t.Error("a refusal was read as metrics")
	}
}

func TestUnnoticed(t *testing.T) {
	before := map[string]float64{"a": 1, "b": 4}
	for name, c := range map[string]struct {
		now map[string]float64
		bad int
	}{
		"nobody has noticed":      {map[string]float64{"a": 1, "b": 4}, 2},
		"one has":                 {map[string]float64{"a": 2, "b": 4}, 1},
		"all have":                {map[string]float64{"a": 2, "b": 5}, 0},
		"another pod has started": {map[string]float64{"a": 2, "c": 1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if bad := unnoticed(before, c.now); len(bad) != c.bad {
				t.Errorf("got %v, want %d sentences", bad, c.bad)
			}
		})
	}
}

func TestRemoteTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		value string // of the variable; empty: it is not set
		want  time.Duration
	}{
		"by default":     {"", 30 * time.Second},
		"as it says":     {"45s", 45 * time.Second},
		"without limit":  {"0", 0},
		"not a duration": {"soon", 0},
	} {
		t.Run(name, func(t *testing.T) {
			containers := []corev1.Container{{Env: []corev1.EnvVar{{Name: "OTHER", Value: "1s"}}}, {}}
			if c.value != "" {
				containers[1].Env = []corev1.EnvVar{{Name: remoteTimeoutVariable, Value: c.value}}
			}
			got, err := remoteTimeout(containers)
			if (err == nil) != (c.want > 0) {
				t.Errorf("got error %v", err)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
