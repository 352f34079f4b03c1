// Package envoy reads what waypoints and gateways count of the hosts that they call. Envoy keeps
// these counters whatever a mesh selects for its metrics, and forgets a host that is not called for
// a minute.
package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
)

// adminPort is Envoy's administration, on the pod's loopback.
const adminPort = 15000

// Requests are how many requests proxies have sent, by host:port. A tunnel is one request.
type Requests map[string]int

// Sent reads the requests of all proxies that a selector finds.
func Sent(ctx context.Context, c *mesh.Cluster, namespace, selector string) (Requests, error) {
	pods, err := c.Kube().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("%s: proxies: %w", c.Name, err)
	}
	if len(pods.Items) == 0 {
		return nil, fmt.Errorf("%s: no pod with %s in %s: run `%s -n %s get pods -l %s`", c.Name, selector, namespace, c.Kubectl(), namespace,
			selector)
	}
	return SentBy(ctx, c, pods.Items)
}

// SentBy reads the requests of the proxies in these pods.
func SentBy(ctx context.Context, c *mesh.Cluster, pods []corev1.Pod) (Requests, error) {
	all := Requests{}
	for _, p := range pods {
		if err := read(ctx, portforward.Open(c, p.Namespace, p.Name), all); err != nil {
			return nil, fmt.Errorf("%s: hosts of %s: %w", c.Name, p.Name, err)
		}
	}
	return all, nil
}

func read(ctx context.Context, pod *portforward.Pod, into Requests) error {
	defer pod.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://envoy:%d/clusters?format=json", adminPort), nil)
	if err != nil {
		return err
	}
	resp, err := pod.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return parse(resp.Body, into)
}

// clusters are the parts of Envoy's answer that are of use here.
type clusters struct {
	All []struct {
		Hosts []struct {
			Address struct {
				Socket struct {
					Host string `json:"address"`
					Port int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"address"`
			Stats []struct {
				Name  string `json:"name"`
				Value string `json:"value"` // a number of 64 bits is a string in JSON; zero is left out
			} `json:"stats"`
		} `json:"host_statuses"`
	} `json:"cluster_statuses"`
}

// parse adds the requests in an answer of Envoy. Each of its threads may list a host once more.
func parse(answer io.Reader, into Requests) error {
	var seen clusters
	if err := json.NewDecoder(answer).Decode(&seen); err != nil {
		return err
	}
	for _, c := range seen.All {
		for _, h := range c.Hosts {
			for _, s := range h.Stats {
				if s.Name != "rq_total" || s.Value == "" || h.Address.Socket.Host == "" { // a listener of its own has no socket
					continue
				}
				n, err := strconv.Atoi(s.Value)
				if err != nil {
					return err
				}
				into[net.JoinHostPort(h.Address.Socket.Host, strconv.Itoa(h.Address.Socket.Port))] += n
			}
		}
	}
	return nil
}
