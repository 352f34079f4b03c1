package main

import (
	"testing"
	"time"
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
	if c.network != "n1" || c.clusterID != "c1" || c.drain != 25*time.Second || !c.dns || !c.ipv6 ||
		c.zdsSocket != "/var/run/ztunnel/ztunnel.sock" {
		t.Errorf("%+v", c)
	}
	n := c.node()
	if n.Id != "ztunnel~10.0.0.9~ztunnel-x.istio-system~istio-system.svc.cluster.local" ||
		n.Metadata.Fields["NODE_NAME"].GetStringValue() != "node" ||
		n.Metadata.Fields["CLUSTER_ID"].GetStringValue() != "c1" {
		t.Errorf("%v", n)
	}
	if c, _ := fromEnv(
		func(string) string { return "" },
	); c.drain != 5*time.Second || c.clusterID != "Kubernetes" ||
		c.caAddress != "istiod.istio-system.svc:15012" {
		t.Errorf("defaults %+v", c)
	}
	for k, v := range map[string]string{
		"IPV6_ENABLED": "maybe", "SECRET_TTL": "long", "TERMINATION_GRACE_PERIOD_SECONDS": "x", "POOL_MAX_STREAMS_PER_CONNECTION": "0",
		"XDS_ON_DEMAND": "true",
	} {
		if _, err := fromEnv(func(q string) string {
			if q == k {
				return v
			}
			return ""
		}); err == nil {
			t.Errorf("%s=%s accepted", k, v)
		}
	}
}
