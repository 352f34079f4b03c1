// Package rewrite takes out of istiod's Listeners and Clusters what only Istio's own Envoy build
// has compiled in, and nothing else.
//
// Types are matched exactly: a substring such as "stats." would also hit upstream's grpc_stats.
// Whatever is not named here passes byte for byte, so that anything else Envoy does not know is
// still rejected by Envoy itself, and seen.
package rewrite

import (
	"fmt"
	"strings"

	udpa "github.com/cncf/xds/go/udpa/type/v1"
	xds "github.com/cncf/xds/go/xds/type/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	state "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	httpstate "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	netstate "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const prefix = "type.googleapis.com/"

// Type URLs of the two kinds of resource that are looked into.
const (
	ListenerType = prefix + "envoy.config.listener.v3.Listener"
	ClusterType  = prefix + "envoy.config.cluster.v3.Cluster"
)

// Types that upstream Envoy lacks, by where they stand. Sources: Istio's filters.go,
// networkfilter.go and telemetry.go, fed to an upstream Envoy.
var (
	// optional HTTP filters stay in the configuration, marked is_optional: Envoy skips what it does
	// not know, and the same image serves an Envoy that does. That works only for a TypedStruct: an
	// unknown type put directly into an Any would make the whole /config_dump unreadable.
	optionalHTTP = set("io.istio.http.peer_metadata.Config")
	removedHTTP  = set("stats.PluginConfig", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig")
	removedNet   = set(
		"envoy.tcp.metadataexchange.config.MetadataExchange", "stats.PluginConfig",
		"envoy.extensions.network_filters.peer_metadata.Config",
	)
	removedUp = set("envoy.tcp.metadataexchange.config.MetadataExchange", "envoy.extensions.network_filters.peer_metadata.UpstreamConfig")
)

// Istio's factory for hashable filter state and the one upstream Envoy (1.38 and later) has for the
// same thing. Never envoy.string: filter state that is not hashable lets connections to an internal
// listener be pooled across authorities, and calls reach the wrong service (istio/istio#58630).
const (
	istioHashable = "istio.hashable_string"
	envoyHashable = "envoy.hashable_string"
)

func set(s ...string) map[string]bool {
	m := map[string]bool{}
	for _, x := range s {
		m[x] = true
	}
	return m
}

// Resource rewrites a Listener or Cluster in place and says what it did, one word a change; nil for
// all other types and when nothing was there to do. An error means that the resource could not be
// read: it is then unchanged.
func Resource(a *anypb.Any) ([]string, error) {
	var did []string
	switch a.GetTypeUrl() {
	case ListenerType:
		l := &listener.Listener{}
		if err := proto.Unmarshal(a.Value, l); err != nil {
			return nil, fmt.Errorf("listener: %w", err)
		}
		chains := l.FilterChains
		if l.DefaultFilterChain != nil {
			chains = append(chains[:len(chains):len(chains)], l.DefaultFilterChain)
		}
		for _, c := range chains {
			some, err := chain(c)
			if err != nil {
				return nil, fmt.Errorf("listener %s: %w", l.Name, err)
			}
			did = append(did, some...)
		}
		return did, pack(a, l, did)
	case ClusterType:
		c := &cluster.Cluster{}
		if err := proto.Unmarshal(a.Value, c); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
		c.Filters, did = without(c.Filters, removedUp, "cluster filter ")
		return did, pack(a, c, did)
	}
	return nil, nil
}

func chain(c *listener.FilterChain) (did []string, err error) {
	c.Filters, did = without(c.Filters, removedNet, "network filter ")
	for _, f := range c.Filters {
		some, err := network(f.GetTypedConfig())
		if err != nil {
			return nil, fmt.Errorf("filter %s: %w", f.Name, err)
		}
		did = append(did, some...)
	}
	return did, nil
}

func network(a *anypb.Any) ([]string, error) {
	switch name(a) {
	case "envoy.extensions.filters.network.set_filter_state.v3.Config":
		c := &netstate.Config{}
		if err := proto.Unmarshal(a.Value, c); err != nil {
			return nil, err
		}
		did := hashable(c.OnNewConnection)
		return did, pack(a, c, did)
	case "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager":
		m := &hcm.HttpConnectionManager{}
		if err := proto.Unmarshal(a.Value, m); err != nil {
			return nil, err
		}
		var did []string
		m.HttpFilters, did = without(m.HttpFilters, removedHTTP, "HTTP filter ")
		for _, f := range m.HttpFilters {
			some, err := http(f)
			if err != nil {
				return nil, fmt.Errorf("HTTP filter %s: %w", f.Name, err)
			}
			did = append(did, some...)
		}
		return did, pack(a, m, did)
	}
	return nil, nil
}

func http(f *hcm.HttpFilter) ([]string, error) {
	a := f.GetTypedConfig()
	if inner, typed := typedStruct(a); typed && optionalHTTP[inner] && !f.IsOptional {
		f.IsOptional = true
		return []string{"HTTP filter " + inner + " made optional"}, nil
	}
	if name(a) != "envoy.extensions.filters.http.set_filter_state.v3.Config" {
		return nil, nil
	}
	c := &httpstate.Config{}
	if err := proto.Unmarshal(a.Value, c); err != nil {
		return nil, err
	}
	did := hashable(c.OnRequestHeaders)
	return did, pack(a, c, did)
}

func hashable(values []*state.FilterStateValue) (did []string) {
	for _, v := range values {
		if v.FactoryKey == istioHashable {
			v.FactoryKey = envoyHashable
			did = append(did, "factory "+istioHashable+" named "+envoyHashable)
		}
	}
	return did
}

type filter interface{ GetTypedConfig() *anypb.Any }

func without[F filter](filters []F, unwanted map[string]bool, what string) (kept []F, did []string) {
	for _, f := range filters {
		t := name(f.GetTypedConfig())
		if inner, ok := typedStruct(f.GetTypedConfig()); ok {
			t = inner
		}
		if unwanted[t] {
			did = append(did, what+t+" removed")
			continue
		}
		kept = append(kept, f)
	}
	if did == nil {
		return filters, nil
	}
	return kept, did
}

// name is the message type of an Any, whatever host stands before it.
func name(a *anypb.Any) string {
	url := a.GetTypeUrl()
	return url[strings.LastIndexByte(url, '/')+1:]
}

// typedStruct is the type that a TypedStruct, of either name, carries inside.
func typedStruct(a *anypb.Any) (inner string, ok bool) {
	var url string
	switch name(a) {
	case "udpa.type.v1.TypedStruct":
		var t udpa.TypedStruct
		if proto.Unmarshal(a.Value, &t) != nil {
			return "", false
		}
		url = t.TypeUrl
	case "xds.type.v3.TypedStruct":
		var t xds.TypedStruct
		if proto.Unmarshal(a.Value, &t) != nil {
			return "", false
		}
		url = t.TypeUrl
	default:
		return "", false
	}
	return url[strings.LastIndexByte(url, '/')+1:], true
}

// pack writes m back into a, if anything was done to it.
func pack(a *anypb.Any, m proto.Message, did []string) error {
	if len(did) == 0 {
		return nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	a.Value = b
	return nil
}
