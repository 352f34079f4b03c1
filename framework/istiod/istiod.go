// Package istiod reads what a cluster's control plane says about itself: debug endpoints, remote
// clusters, version, flags.
//
// It needs only the cluster's API server. Since Istio 1.27.6 the debug endpoints demand a token of
// the mesh from callers on the network, but trust a caller on the pod's loopback. So every read
// goes through a port-forward, which ends on that loopback.
package istiod

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// Ports of istiod that it shows to clusters which it serves, behind a gateway.
const (
	DiscoveryPort = 15012 // proxies ask for certificates and configuration
	WebhookPort   = 15017
)

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

// Synced is the status of a cluster that istiod has read completely, TimedOut that of one that it
// has given up to wait for.
const (
	Synced   = "synced"
	TimedOut = "timeout"
)

// podNames are the names of the pods of [Pods], sorted.
func podNames(ctx context.Context, c *mesh.Cluster) ([]string, error) {
	pods, err := Pods(ctx, c)
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names, err
}

// Pods are the istiod pods of a cluster that run, of all revisions; at least one.
func Pods(ctx context.Context, c *mesh.Cluster) ([]corev1.Pod, error) {
	if err := c.Connect(); err != nil {
		return nil, err
	}
	var list corev1.PodList
	if err := c.Client().List(ctx, &list, client.InNamespace(Namespace), client.MatchingLabels{"app": "istiod"}); err != nil {
		return nil, fmt.Errorf("%s: listing istiod's pods: %w", c.Name, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil
	})
	if len(pods) == 0 {
		return nil, fmt.Errorf("%s: no istiod pod is running in %s: run `kubectl --kubeconfig %s -n %s get pods -l app=istiod`", c.Name,
			Namespace, c.Kubeconfig, Namespace)
	}
	return pods, nil
}

// Debug reads a debug endpoint, such as "clusterz" or "mesh", of one istiod of the cluster.
func Debug(ctx context.Context, c *mesh.Cluster, endpoint string) ([]byte, error) {
	pods, err := podNames(ctx, c)
	if err != nil {
		return nil, err
	}
	return get(ctx, c, pods[0], debugPort, "/debug/"+endpoint)
}

// Version is what istiod says its build is, for example "1.31-alpha.eed52ebb66ad-Clean".
func Version(ctx context.Context, c *mesh.Cluster) (string, error) {
	pods, err := podNames(ctx, c)
	if err != nil {
		return "", err
	}
	b, err := get(ctx, c, pods[0], monitoringPort, "/version")
	return strings.TrimSpace(string(b)), err
}

// RemoteClusters asks every istiod of the cluster which clusters it knows and whether it has read
// them: the rows of `istioctl remote-clusters`.
func RemoteClusters(ctx context.Context, c *mesh.Cluster) ([]RemoteCluster, error) {
	pods, err := podNames(ctx, c)
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

// WaitSynced waits until every istiod of the cluster shows all the wanted clusters as synced.
func WaitSynced(ctx context.Context, c *mesh.Cluster, want []string) error {
	return poll(ctx, c, "istiod has not synced with the other clusters", "remote", func(ctx context.Context) []string {
		rows, err := RemoteClusters(ctx, c)
		if err != nil {
			return []string{err.Error()}
		}
		return Unsynced(rows, want)
	})
}

// remoteTimeout is the variable by which an istiod is given its limit, and the limit without it.
const (
	remoteTimeoutVariable = "PILOT_REMOTE_CLUSTER_TIMEOUT"
	defaultRemoteTimeout  = 30 * time.Second
)

// RemoteTimeout is how long the istiod of a cluster gives another one to synchronize, until it
// calls it timed out. It is an error if there is no limit.
func RemoteTimeout(ctx context.Context, c *mesh.Cluster) (time.Duration, error) {
	name := Deployment(c.Revision)
	d, err := c.Kube().AppsV1().Deployments(Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("%s: Deployment %s: %w", c.Name, name, err)
	}
	limit, err := remoteTimeout(d.Spec.Template.Spec.Containers)
	if err != nil {
		return 0, fmt.Errorf("%s: Deployment %s: %s: %w", c.Name, name, remoteTimeoutVariable, err)
	}
	return limit, nil
}

func remoteTimeout(containers []corev1.Container) (time.Duration, error) {
	limit := defaultRemoteTimeout
	for _, c := range containers {
		for _, e := range c.Env {
			if e.Name != remoteTimeoutVariable {
				continue
			}
			var err error
			if limit, err = time.ParseDuration(e.Value); err != nil {
				return 0, err
			}
		}
	}
	if limit <= 0 {
		return 0, fmt.Errorf("%s: no cluster is ever called timed out", limit)
	}
	return limit, nil
}

// poll looks until nothing is amiss. What istiod serves cannot be watched, so it is asked every 250
// ms until ctx ends. logs is what its log says of such things.
func poll(ctx context.Context, c *mesh.Cluster, says, logs string, amiss func(context.Context) []string) error {
	var last string
	err := wait.For(func(ctx context.Context) (bool, error) {
		bad := amiss(ctx)
		if ctx.Err() == nil || last == "" { // at the end, what was seen before says more
			last = strings.Join(bad, "; ")
		}
		return len(bad) == 0, nil
	}, wait.WithContext(ctx), wait.WithTimeout(0), wait.WithInterval(250*time.Millisecond), wait.WithImmediate())
	if err != nil {
		return fmt.Errorf("%s: %s: %s: run `%s -n %s logs -l app=istiod | grep -i '%s'`: %w", c.Name, says, last, c.Kubectl(), Namespace,
			logs, context.Cause(ctx))
	}
	return nil
}

// SecretEvents is how often the istiods of a cluster have noticed that a remote secret appeared,
// changed or went, by pod. Clusters are listed with the same status before a change and after it;
// this counter tells that a change has arrived.
func SecretEvents(ctx context.Context, c *mesh.Cluster) (map[string]float64, error) {
	pods, err := podNames(ctx, c)
	if err != nil {
		return nil, err
	}
	events := map[string]float64{}
	for _, pod := range pods {
		b, err := get(ctx, c, pod, monitoringPort, "/metrics")
		if err != nil {
			return nil, err
		}
		if events[pod], err = parseSecretEvents(b); err != nil {
			return nil, fmt.Errorf("%s: metrics of istiod %s: %w", c.Name, pod, err)
		}
	}
	return events, nil
}

func parseSecretEvents(metrics []byte) (sum float64, err error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(metrics))
	if err != nil {
		return 0, err
	}
	for _, m := range families["remote_cluster_secret_events_total"].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return sum, nil
}

// WaitNoticed waits until every istiod of the cluster has noticed a change of its remote secrets
// since the events were counted.
func WaitNoticed(ctx context.Context, c *mesh.Cluster, since map[string]float64) error {
	return poll(ctx, c, "istiod has not noticed that its remote secrets changed", "remote", func(ctx context.Context) []string {
		now, err := SecretEvents(ctx, c)
		if err != nil {
			return []string{err.Error()}
		}
		return unnoticed(since, now)
	})
}

// unnoticed lists, as sentences, the istiods that have counted no event more. One that has started
// in between has read the secrets as they are.
func unnoticed(since, now map[string]float64) (bad []string) {
	for _, pod := range slices.Sorted(maps.Keys(now)) {
		if before, was := since[pod]; was && now[pod] <= before {
			bad = append(bad, fmt.Sprintf("istiod %s has counted %v events, before and after", pod, before))
		}
	}
	return bad
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
