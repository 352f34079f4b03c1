package bootstrap

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const given = `{
  "node": {"id": "waypoint~10.0.0.1"},
  "bootstrap_extensions": [
    {"name": "metadata_discovery",
      "typed_config": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": "type.googleapis.com/istio.workload.BootstrapExtension"}},
    {"name": "internal_listener",
      "typed_config": {"@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"}}
  ],
  "static_resources": {"clusters": [
    {"name": "xds-grpc",
      "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "./etc/istio/proxy/XDS"}}}}]}]}},
    {"name": "sds-grpc",
      "load_assignment": {"endpoints": [{
        "lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "./var/run/secrets/workload-spiffe-uds/socket"}}}}]}]}}
  ]}
}`

func TestRewrite(t *testing.T) {
	out, agent, err := Rewrite([]byte(given), "./etc/istio/proxy/XDS-relay")
	if err != nil {
		t.Fatal(err)
	}
	if want := "./etc/istio/proxy/XDS"; agent != want {
		t.Fatalf("got agent %q, want %q", agent, want)
	}
	var got, want any
	_ = json.Unmarshal(out, &got)
	want1 := strings.Replace(given, "proxy/XDS", "proxy/XDS-relay", 1)
	from, to := strings.Index(want1, `    {"name": "metadata_discovery"`), strings.Index(want1, `    {"name": "internal_listener"`)
	_ = json.Unmarshal([]byte(want1[:from]+want1[to:]), &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bootstrap (-want +got):\n%s", diff)
	}
}

func TestRewriteRefuses(t *testing.T) {
	for _, in := range []string{`{`, `[]`, `{}`, `{"static_resources": {"clusters": [{"name": "xds-grpc"}]}}`} {
		t.Run(in, func(t *testing.T) {
			if out, _, err := Rewrite([]byte(in), "x"); err == nil {
				t.Errorf("got %s, want an error", out)
			}
		})
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add([]byte(given))
	f.Add([]byte(`{"bootstrap_extensions": [1, null], "static_resources": {"clusters": [{"name": "xds-grpc", "pipe": {"path": 3}}]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, agent, err := Rewrite(in, "relay")
		if err != nil {
			return
		}
		if agent == "" {
			t.Error("got no agent's socket, want one")
		}
		if !json.Valid(out) {
			t.Errorf("got %s, want JSON", out)
		}
	})
}
