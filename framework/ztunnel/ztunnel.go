// Package ztunnel reads the counters of the node proxies of a cluster. Expectations about
// encryption are measured by them. Counters belong to a pod and restart with it, so only
// differences have a meaning.
package ztunnel

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
)

// Namespace and Selector find the node proxies.
const (
	Namespace = "istio-system"
	Selector  = "app=ztunnel"
)

// metricsPort serves /metrics in every ztunnel.
const metricsPort = 15020

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
	pods, err := c.Kube().CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: Selector})
	if err != nil {
		return Counters{}, fmt.Errorf("%s: node proxies: %w", c.Name, err)
	}
	if len(pods.Items) == 0 {
		return Counters{}, fmt.Errorf("%s: no pod %s in %s: run `kubectl -n %s get pods`", c.Name, Selector, Namespace, Namespace)
	}
	var all Counters
	for _, p := range pods.Items {
		samples, err := scrape(ctx, c, p.Name, metric)
		if err != nil {
			return Counters{}, fmt.Errorf("%s: metrics of %s: %w", c.Name, p.Name, err)
		}
		all.samples = append(all.samples, samples...)
	}
	return all, nil
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

func scrape(ctx context.Context, c *mesh.Cluster, pod, metric string) ([]sample, error) {
	way := portforward.Open(c, Namespace, pod)
	defer way.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://ztunnel:%d/metrics", metricsPort), nil)
	if err != nil {
		return nil, err
	}
	resp, err := way.HTTP().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return parse(resp.Body, metric)
}

// Connections counts the connections that were opened, and those of them with mutual TLS.
type Connections struct{ All, MutualTLS int }

// String says both numbers.
func (c Connections) String() string {
	return fmt.Sprintf("%d, %d of them mutual TLS", c.All, c.MutualTLS)
}
