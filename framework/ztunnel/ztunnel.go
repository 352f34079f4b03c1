// Package ztunnel reads what the node proxies of a cluster count and know. Expectations about
// encryption are measured by them. Counters belong to a pod and restart with it, so only
// differences have a meaning.
package ztunnel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
)

// Namespace and Selector find the node proxies.
const (
	Namespace = "istio-system"
	Selector  = "app=ztunnel"
)

// Ports of every ztunnel: /metrics, and its administration, on its loopback.
const metricsPort, adminPort = 15020, 15000

// Counters are the values of one metric of all node proxies of a cluster.
type Counters struct{ samples []sample }

type sample struct {
	labels map[string]string
	value  float64
}

// Query selects samples by their labels.
type Query map[string]string

// With returns the query with one more condition.
func (q Query) With(label, value string) Query {
	q = maps.Clone(q)
	q[label] = value
	return q
}

// Sum returns the total of the samples that the query selects.
func (c Counters) Sum(q Query) float64 {
	var sum float64
next:
	for _, s := range c.samples {
		for k, v := range q {
			if s.labels[k] != v {
				continue next
			}
		}
		sum += s.value
	}
	return sum
}

// Since returns the total now minus the total before.
func (c Counters) Since(before Counters, q Query) float64 { return c.Sum(q) - before.Sum(q) }

// Opened reads istio_tcp_connections_opened_total of every node proxy of the cluster.
func Opened(ctx context.Context, c *mesh.Cluster) (Counters, error) {
	return Read(ctx, c, "istio_tcp_connections_opened_total")
}

// Read reads one counter of every node proxy of the cluster.
func Read(ctx context.Context, c *mesh.Cluster, metric string) (Counters, error) {
	pods, err := podsOf(ctx, c)
	if err != nil {
		return Counters{}, err
	}
	var all Counters
	for _, p := range pods {
		samples, err := scrape(ctx, c, p.Name, metric)
		if err != nil {
			return Counters{}, fmt.Errorf("%s: metrics of %s: %w", c.Name, p.Name, err)
		}
		all.samples = append(all.samples, samples...)
	}
	return all, nil
}

// podsOf are the node proxies of a cluster, of which there is at least one.
func podsOf(ctx context.Context, c *mesh.Cluster) ([]corev1.Pod, error) {
	pods, err := c.Kube().CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: Selector})
	if err != nil {
		return nil, fmt.Errorf("%s: node proxies: %w", c.Name, err)
	}
	if len(pods.Items) == 0 {
		return nil, fmt.Errorf("%s: no pod %s in %s: run `kubectl -n %s get pods`", c.Name, Selector, Namespace, Namespace)
	}
	return pods.Items, nil
}

// parse reads the samples of a counter from the text of /metrics. In OpenMetrics the name of a
// family lacks the suffix of its samples, so the parser finds these, untyped, under their own name.
func parse(text io.Reader, metric string) ([]sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, err
	}
	var all []sample
	for _, m := range families[metric].GetMetric() {
		s := sample{labels: map[string]string{}, value: m.GetCounter().GetValue() + m.GetUntyped().GetValue()}
		for _, l := range m.GetLabel() {
			s.labels[l.GetName()] = l.GetValue()
		}
		all = append(all, s)
	}
	return all, nil
}

func scrape(ctx context.Context, c *mesh.Cluster, pod, metric string) (samples []sample, err error) {
	err = get(ctx, c, pod, metricsPort, "/metrics", func(text io.Reader) error {
		samples, err = parse(text, metric)
		return err
	})
	return samples, err
}

// get asks a node proxy, and lets read have its answer.
func get(ctx context.Context, c *mesh.Cluster, pod string, port int, path string, read func(io.Reader) error) error {
	way := portforward.Open(c, Namespace, pod)
	defer way.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://ztunnel:%d%s", port, path), nil)
	if err != nil {
		return err
	}
	resp, err := way.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return read(resp.Body)
}

// Dump lets read have what a node proxy knows, as JSON.
func Dump(ctx context.Context, c *mesh.Cluster, pod string, read func(io.Reader) error) error {
	return get(ctx, c, pod, adminPort, "/config_dump", read)
}

// Workloads counts the workloads of a network that the node proxies of a cluster know, each proxy for
// itself.
func Workloads(ctx context.Context, c *mesh.Cluster, network string) (n int64, err error) {
	pods, err := podsOf(ctx, c)
	if err != nil {
		return 0, err
	}
	for _, p := range pods {
		if err := Dump(ctx, c, p.Name, func(dump io.Reader) error {
			known, err := workloads(dump, network)
			n += known
			return err
		}); err != nil {
			return 0, fmt.Errorf("%s: what %s knows: %w", c.Name, p.Name, err)
		}
	}
	return n, nil
}

func workloads(dump io.Reader, network string) (n int64, err error) {
	var known struct {
		Workloads []struct{ Network string }
	}
	if err := json.NewDecoder(dump).Decode(&known); err != nil {
		return 0, err
	}
	for _, w := range known.Workloads {
		if w.Network == network {
			n++
		}
	}
	return n, nil
}

// Connections counts the connections that were opened, and those of them with mutual TLS.
type Connections struct{ All, MutualTLS int }

// String says both numbers.
func (c Connections) String() string {
	return fmt.Sprintf("%d, %d of them mutual TLS", c.All, c.MutualTLS)
}
