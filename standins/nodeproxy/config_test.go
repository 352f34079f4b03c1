package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFromEnv(t *testing.T) {
	chart := map[string]string{
		"NETWORK":                          "n1",
		"ISTIO_META_CLUSTER_ID":            "c1",
		"CA_ADDRESS":                       "istiod-rev.istio-system.svc:15012",
		"XDS_ADDRESS":                      "https://istiod-rev.istio-system.svc:15012",
		"POD_NAME":                         "ztunnel-x",
		"POD_NAMESPACE":                    "istio-system",
		"INSTANCE_IP":                      "10.0.0.9",
		"NODE_NAME":                        "node",
		"TERMINATION_GRACE_PERIOD_SECONDS": "30",
	}
	c, err := fromEnv(func(k string) string { return chart[k] })
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.network, c.clusterID, c.drain, c.dns, c.ipv6, c.zdsSocket}
	if diff := cmp.Diff([]any{"n1", "c1", 25 * time.Second, true, true, "/var/run/ztunnel/ztunnel.sock"}, got); diff != "" {
		t.Errorf("network, cluster, drain, DNS, IPv6 and socket (-want +got):\n%s", diff)
	}
	n := c.node()
	if want := "ztunnel~10.0.0.9~ztunnel-x.istio-system~istio-system.svc.cluster.local"; n.Id != want {
		t.Errorf("got id %q, want %q", n.Id, want)
	}
	for key, want := range map[string]string{"NODE_NAME": "node", "CLUSTER_ID": "c1"} {
		if got := n.Metadata.Fields[key].GetStringValue(); got != want {
			t.Errorf("got %s %q, want %q", key, got, want)
		}
	}
	c, _ = fromEnv(func(string) string { return "" })
	got = []any{c.drain, c.clusterID, c.caAddress}
	if diff := cmp.Diff([]any{5 * time.Second, "Kubernetes", "istiod.istio-system.svc:15012"}, got); diff != "" {
		t.Errorf("default drain, cluster and CA (-want +got):\n%s", diff)
	}
	for k, v := range map[string]string{
		"IPV6_ENABLED": "maybe", "SECRET_TTL": "long", "TERMINATION_GRACE_PERIOD_SECONDS": "x", "POOL_MAX_STREAMS_PER_CONNECTION": "0",
		"XDS_ON_DEMAND": "true",
	} {
		t.Run(k, func(t *testing.T) {
			_, err := fromEnv(func(q string) string {
				if q == k {
					return v
				}
				return ""
			})
			if err == nil {
				t.Errorf("%s=%s accepted", k, v)
			}
		})
	}
}
