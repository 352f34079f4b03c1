package rewrite

import (
	"bytes"
	"slices"
	"testing"

	udpa "github.com/cncf/xds/go/udpa/type/v1"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	state "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	httpstate "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	netstate "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func direct(typ string) *anypb.Any { return &anypb.Any{TypeUrl: prefix + typ, Value: []byte{8, 1}} }

func typed(typ string) *anypb.Any { return packed(&udpa.TypedStruct{TypeUrl: prefix + typ}) }

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

func netFilter(a *anypb.Any) *listener.Filter {
	return &listener.Filter{Name: "f", ConfigType: &listener.Filter_TypedConfig{TypedConfig: a}}
}

func withNet(filters ...*listener.Filter) *anypb.Any {
	return packed(&listener.Listener{Name: "main_internal", FilterChains: []*listener.FilterChain{{Filters: filters}}})
}

func withHTTP(filters ...*hcm.HttpFilter) *anypb.Any {
	return withNet(netFilter(packed(&hcm.HttpConnectionManager{HttpFilters: filters})))
}

func httpFilter(a *anypb.Any) *hcm.HttpFilter {
	return &hcm.HttpFilter{Name: "f", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: a}}
}

func TestResource(t *testing.T) {
	hash := func(key string) []*state.FilterStateValue { return []*state.FilterStateValue{{FactoryKey: key}} }
	for name, c := range map[string]struct {
		in   *anypb.Any
		want []string
	}{
		"peer metadata stays and is optional": {
			withHTTP(httpFilter(typed("io.istio.http.peer_metadata.Config"))),
			[]string{"HTTP filter io.istio.http.peer_metadata.Config made optional"},
		},
		"peer metadata put directly is not touched, so that Envoy rejects it": {
			withHTTP(httpFilter(direct("io.istio.http.peer_metadata.Config"))), nil,
		},
		"stats over HTTP goes": {
			withHTTP(httpFilter(direct("stats.PluginConfig"))), []string{"HTTP filter stats.PluginConfig removed"},
		},
		"alpn goes": {
			withHTTP(httpFilter(direct("istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"))),
			[]string{"HTTP filter istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig removed"},
		},
		"upstream's grpc_stats stays": {
			withHTTP(httpFilter(direct("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"))), nil,
		},
		"metadata exchange in a TypedStruct goes": {
			withNet(netFilter(typed("envoy.tcp.metadataexchange.config.MetadataExchange"))),
			[]string{"network filter envoy.tcp.metadataexchange.config.MetadataExchange removed"},
		},
		"stats over TCP goes": {
			withNet(netFilter(typed("stats.PluginConfig"))), []string{"network filter stats.PluginConfig removed"},
		},
		"a gateway with a blackhole only is untouched": {
			withNet(netFilter(direct("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"))), nil,
		},
		"an extension nobody has heard of is untouched": {
			withNet(netFilter(typed("io.istio.network.something_new.Config"))), nil,
		},
		"HTTP filter state": {
			withHTTP(httpFilter(packed(&httpstate.Config{OnRequestHeaders: hash("istio.hashable_string")}))),
			[]string{"factory istio.hashable_string named envoy.hashable_string"},
		},
		"network filter state": {
			withNet(netFilter(packed(&netstate.Config{OnNewConnection: hash("istio.hashable_string")}))),
			[]string{"factory istio.hashable_string named envoy.hashable_string"},
		},
		"other factories stay": {
			withNet(netFilter(packed(&netstate.Config{OnNewConnection: hash("envoy.string")}))), nil,
		},
		"a cluster's metadata exchange goes": {
			packed(&cluster.Cluster{
				Name: "c", Filters: []*cluster.Filter{{Name: "f", TypedConfig: typed("envoy.tcp.metadataexchange.config.MetadataExchange")}},
			}),
			[]string{"cluster filter envoy.tcp.metadataexchange.config.MetadataExchange removed"},
		},
		"a default chain is looked into": {
			packed(&listener.Listener{
				DefaultFilterChain: &listener.FilterChain{Filters: []*listener.Filter{netFilter(typed("stats.PluginConfig"))}},
			}),
			[]string{"network filter stats.PluginConfig removed"},
		},
		"other resources pass": {direct("envoy.config.route.v3.RouteConfiguration"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := bytes.Clone(c.in.Value)
			did, err := Resource(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(did, c.want) {
				t.Fatalf("did %q, want %q", did, c.want)
			}
			if same := bytes.Equal(before, c.in.Value); same != (c.want == nil) {
				t.Errorf("bytes unchanged: %t", same)
			}
			if again, err := Resource(c.in); err != nil {
				t.Errorf("a second time: %v", err)
			} else if again != nil {
				t.Errorf("a second time it did %q, want nothing", again)
			}
		})
	}
}

// What stands beside a removed filter keeps its place and its bytes.
func TestNeighbors(t *testing.T) {
	keep := direct("io.istio.network.something_new.Config")
	a := withNet(
		netFilter(typed("stats.PluginConfig")), netFilter(keep),
		netFilter(typed("envoy.tcp.metadataexchange.config.MetadataExchange")),
	)
	if _, err := Resource(a); err != nil {
		t.Fatal(err)
	}
	var l listener.Listener
	if err := proto.Unmarshal(a.Value, &l); err != nil {
		t.Fatal(err)
	}
	f := l.FilterChains[0].Filters
	if len(f) != 1 {
		t.Fatalf("left: %v, want one", f)
	}
	if got := f[0].GetTypedConfig(); !proto.Equal(got, keep) {
		t.Errorf("left: %v, want %v", got, keep)
	}
}

func FuzzResource(f *testing.F) {
	for _, a := range []*anypb.Any{
		withNet(netFilter(typed("stats.PluginConfig"))), withHTTP(httpFilter(typed("io.istio.http.peer_metadata.Config"))),
		direct("x"),
	} {
		f.Add(a.TypeUrl, a.Value)
	}
	f.Fuzz(func(t *testing.T, url string, value []byte) {
		a := &anypb.Any{TypeUrl: url, Value: bytes.Clone(value)}
		did, err := Resource(a)
		if len(did) == 0 && !bytes.Equal(a.Value, value) {
			t.Fatal("changed without saying so")
		}
		if err != nil {
			return
		}
		if again, err := Resource(a); err != nil {
			t.Fatalf("a second time: %v", err)
		} else if len(again) > 0 {
			t.Fatalf("a second time it did %q, want nothing", again)
		}
	})
}
