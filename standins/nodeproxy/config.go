package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// config is what ztunnel's chart says, by the same variables.
type config struct {
	network, clusterID, domain                  string
	nodeName, podName, podNamespace, podIP      string
	serviceAccount                              string
	xdsAddress, xdsRoot, altXDSHostname         string
	caAddress, caRoot, altCAHostname            string
	token, zdsSocket                            string
	xdsHeaders, caHeaders                       map[string]string
	metadata                                    map[string]any
	secretTTL, drain                            time.Duration
	poolStreams                                 int
	dns, ipv6, responseBaggage, localhostTunnel bool
}

func fromEnv(get func(string) string) (*config, error) {
	var bad error
	str := func(k, d string) string {
		if v := get(k); v != "" {
			return v
		}
		return d
	}
	boolean := func(k string, d bool) bool {
		v := get(k)
		if v == "" {
			return d
		}
		b, err := strconv.ParseBool(v)
		if err != nil {
			bad = fmt.Errorf("%s=%q: expected true or false", k, v)
		}
		return b
	}
	dur := func(k string, d time.Duration) time.Duration {
		v := get(k)
		if v == "" {
			return d
		}
		x, err := time.ParseDuration(v)
		if err != nil {
			bad = fmt.Errorf("%s=%q: expected a duration such as 10s", k, v)
		}
		return x
	}
	c := &config{
		network:        get("NETWORK"),
		clusterID:      str("ISTIO_META_CLUSTER_ID", "Kubernetes"),
		domain:         str("CLUSTER_DOMAIN", "cluster.local"),
		nodeName:       get("NODE_NAME"),
		podName:        get("POD_NAME"),
		podNamespace:   str("POD_NAMESPACE", "istio-system"),
		podIP:          get("INSTANCE_IP"),
		serviceAccount: get("SERVICE_ACCOUNT"),
		xdsAddress: str(
			"XDS_ADDRESS",
			"istiod.istio-system.svc:15012",
		),
		xdsRoot:         str("XDS_ROOT_CA", "/var/run/secrets/istio/root-cert.pem"),
		altXDSHostname:  get("ALT_XDS_HOSTNAME"),
		caRoot:          str("CA_ROOT_CA", "/var/run/secrets/istio/root-cert.pem"),
		altCAHostname:   get("ALT_CA_HOSTNAME"),
		token:           str("AUTH_TOKEN_PATH", "/var/run/secrets/tokens/istio-token"),
		zdsSocket:       str("INPOD_UDS", "/var/run/ztunnel/ztunnel.sock"),
		xdsHeaders:      map[string]string{},
		caHeaders:       map[string]string{},
		metadata:        map[string]any{},
		secretTTL:       dur("SECRET_TTL", 24*time.Hour),
		dns:             boolean("ISTIO_META_DNS_CAPTURE", true),
		ipv6:            boolean("IPV6_ENABLED", true),
		responseBaggage: boolean("ENABLE_RESPONSE_BAGGAGE", true),
		localhostTunnel: boolean("LOCALHOST_APP_TUNNEL", true),
	}
	if boolean("XDS_ON_DEMAND", false) {
		bad = fmt.Errorf("XDS_ON_DEMAND: this stand-in asks for everything; unset it or use ztunnel")
	}
	c.caAddress = str("CA_ADDRESS", c.xdsAddress)
	c.drain = 5 * time.Second
	if v := get("TERMINATION_GRACE_PERIOD_SECONDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			bad = fmt.Errorf("TERMINATION_GRACE_PERIOD_SECONDS=%q: expected seconds", v)
		}
		c.drain = time.Duration(max(n-5, 1)) * time.Second
	}
	c.drain = dur("CONNECTION_TERMINATION_DEADLINE", c.drain)
	if v := get("POOL_MAX_STREAMS_PER_CONNECTION"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			bad = fmt.Errorf("POOL_MAX_STREAMS_PER_CONNECTION=%q: expected a positive number", v)
		}
		c.poolStreams = n
	}
	for _, kv := range os.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		if h, ok := strings.CutPrefix(k, "XDS_HEADER_"); ok {
			c.xdsHeaders[h] = v
		} else if h, ok := strings.CutPrefix(k, "CA_HEADER_"); ok {
			c.caHeaders[h] = v
		} else if m, ok := strings.CutPrefix(k, "ISTIO_METAJSON_"); ok {
			var x map[string]any
			if json.Unmarshal([]byte(v), &x) == nil {
				c.metadata[m] = x
			}
		} else if strings.HasPrefix(k, "ISTIO_META_") {
			c.metadata[k] = v
			c.metadata[strings.TrimPrefix(k, "ISTIO_META_")] = v
		}
	}
	return c, bad
}

// node is how istiod knows this proxy.
func (c *config) node() *core.Node {
	md := map[string]any{}
	for k, v := range c.metadata {
		md[k] = v
	}
	md["NAME"], md["NAMESPACE"], md["INSTANCE_IPS"] = c.podName, c.podNamespace, c.podIP
	md["NODE_NAME"], md["CLUSTER_ID"] = c.nodeName, c.clusterID
	s, err := structpb.NewStruct(md)
	if err != nil {
		s = nil // only values that came from JSON or are strings: cannot happen
	}
	return &core.Node{
		Id:       fmt.Sprintf("ztunnel~%s~%s.%s~%s.svc.cluster.local", c.podIP, c.podName, c.podNamespace, c.podNamespace),
		Metadata: s,
	}
}
