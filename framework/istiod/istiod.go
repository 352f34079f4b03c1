// Package istiod reads what a cluster's control plane says about itself: debug endpoints, remote
// clusters, version, flags.
//
// It needs only the cluster's API server. Since Istio 1.27.6 the debug endpoints demand a token of
// the mesh from callers on the network, but trust a caller on the pod's loopback. So every read
// goes through a port-forward, which ends on that loopback.
package istiod

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
)

// Namespace is where istiod runs.
const Namespace = "istio-system"

// DefaultRevision is the revision of an istiod that was installed without one.
const DefaultRevision = "default"

// named adds the revision to the name of a part of the control plane. Parts of the default revision
// have the plain name.
func named(name, revision string) string {
	if revision == "" || revision == DefaultRevision {
		return name
	}
	return name + "-" + revision
}

// Deployment is the name of the Deployment and of the Service of a revision's istiod.
func Deployment(revision string) string { return named("istiod", revision) }

// ConfigMap is the name of the mesh configuration of a revision.
func ConfigMap(revision string) string { return named("istio", revision) }

// Ports of istiod that the reads use.
const (
	debugPort      = 8080  // /debug/...
	monitoringPort = 15014 // /metrics, /version
)

// RemoteCluster is one row of what `istioctl remote-clusters` prints: a cluster as one istiod sees
// it.
type RemoteCluster struct {
	Name   string `json:"id"`
	Secret string `json:"secretName"` // namespace/name of the remote secret; empty for the istiod's own cluster
	Status string `json:"syncStatus"` // "synced" is the good one
	Istiod string `json:"-"`          // the pod that says so
}

// Synced is the status of a cluster that istiod has read completely.
const Synced = "synced"

// Pods returns the names of the running istiod pods of a cluster, sorted. It is an error if there
// is none.
func Pods(ctx context.Context, c *mesh.Cluster) ([]string, error) {
	if err := c.Connect(); err != nil {
		return nil, err
	}
	var list corev1.PodList
	if err := c.Client().List(ctx, &list, client.InNamespace(Namespace), client.MatchingLabels{"app": "istiod"}); err != nil {
		return nil, fmt.Errorf("%s: listing istiod's pods: %w", c.Name, err)
	}
	var names []string
	for _, p := range list.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no istiod pod is running in %s: run `kubectl --kubeconfig %s -n %s get pods -l app=istiod`", c.Name,
			Namespace, c.Kubeconfig, Namespace)
	}
	slices.Sort(names)
	return names, nil
}

// Debug reads a debug endpoint, such as "clusterz" or "mesh", of one istiod of the cluster.
func Debug(ctx context.Context, c *mesh.Cluster, endpoint string) ([]byte, error) {
	pods, err := Pods(ctx, c)
	if err != nil {
		return nil, err
	}
	return get(ctx, c, pods[0], debugPort, "/debug/"+endpoint)
}

// Version is what istiod says its build is, for example "1.31-alpha.eed52ebb66ad-Clean".
func Version(ctx context.Context, c *mesh.Cluster) (string, error) {
	pods, err := Pods(ctx, c)
	if err != nil {
		return "", err
	}
	b, err := get(ctx, c, pods[0], monitoringPort, "/version")
	return strings.TrimSpace(string(b)), err
}

// RemoteClusters asks every istiod of the cluster which clusters it knows and whether it has read
// them: the rows of `istioctl remote-clusters`.
func RemoteClusters(ctx context.Context, c *mesh.Cluster) ([]RemoteCluster, error) {
	pods, err := Pods(ctx, c)
	if err != nil {
		return nil, err
	}
	var rows []RemoteCluster
	for _, pod := range pods {
		b, err := get(ctx, c, pod, debugPort, "/debug/clusterz")
		if err != nil {
			return nil, err
		}
		some, err := parseClusters(b, pod)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

func parseClusters(b []byte, pod string) ([]RemoteCluster, error) {
	var rows []RemoteCluster
	if err := json.Unmarshal(b, &rows); err != nil {
		return nil, fmt.Errorf("istiod %s answered /debug/clusterz with something else than a list of clusters: %w: %.200s", pod, err, b)
	}
	for i := range rows {
		rows[i].Istiod = pod
	}
	slices.SortFunc(rows, func(a, b RemoteCluster) int { return strings.Compare(a.Name, b.Name) })
	return rows, nil
}

// Unsynced lists, as sentences, the wanted clusters that the rows lack or show as not synced. It
// returns nil when all are synced.
func Unsynced(rows []RemoteCluster, want []string) []string {
	var bad []string
	byPod := map[string]map[string]string{}
	for _, r := range rows {
		if byPod[r.Istiod] == nil {
			byPod[r.Istiod] = map[string]string{}
		}
		byPod[r.Istiod][r.Name] = r.Status
	}
	if len(byPod) == 0 {
		return []string{"no istiod has answered"}
	}
	for pod, known := range byPod {
		for _, name := range want {
			switch status, ok := known[name]; {
			case !ok:
				bad = append(bad, fmt.Sprintf("istiod %s does not know cluster %s", pod, name))
			case status != Synced:
				bad = append(bad, fmt.Sprintf("istiod %s shows cluster %s as %q", pod, name, status))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

// WaitSynced waits until every istiod of the cluster shows all the wanted clusters as synced. The
// debug endpoint cannot be watched, so WaitSynced polls it every 250 ms until ctx ends.
func WaitSynced(ctx context.Context, c *mesh.Cluster, want []string) error {
	var last string
	err := wait.For(func(ctx context.Context) (bool, error) {
		rows, err := RemoteClusters(ctx, c)
		bad := Unsynced(rows, want)
		if err != nil {
			bad = []string{err.Error()}
		}
		if ctx.Err() == nil || last == "" { // at the end, what was seen before says more
			last = strings.Join(bad, "; ")
		}
		return len(bad) == 0, nil
	}, wait.WithContext(ctx), wait.WithTimeout(0), wait.WithInterval(250*time.Millisecond), wait.WithImmediate())
	if err != nil {
		return fmt.Errorf("%s: istiod has not synced with the other clusters: %s: "+
			"run `%s -n %s logs -l app=istiod | grep -i remote`: %w",
			c.Name, last, c.Kubectl(), Namespace, context.Cause(ctx))
	}
	return nil
}

// get makes one request to a port on the pod's loopback.
func get(ctx context.Context, c *mesh.Cluster, pod string, port int, path string) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("%s: asking istiod %s for %s: %w", c.Name, pod, path, err)
	}
	p := portforward.Open(c, Namespace, pod)
	defer p.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://istiod:%d%s", port, path), nil)
	if err != nil {
		return fail(err)
	}
	res, err := p.HTTP().Do(req)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return fail(err)
	}
	if res.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("expected status 200, got %s: %.200s", res.Status, b))
	}
	return b, nil
}
