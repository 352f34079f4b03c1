package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"istio.io/istio/pkg/workloadapi"
)

// Metrics are ztunnel's counters under their names.
type Metrics struct {
	registry *prometheus.Registry

	opened, closed, failed, sent, received *prometheus.CounterVec
	SocketsOpen                            *prometheus.GaugeVec   // reporter
	XDSMessages                            *prometheus.CounterVec // url
	XDSTerminations                        *prometheus.CounterVec // reason
	DNSRequests, DNSUpstream, DNSFailures  *prometheus.CounterVec
	ActiveProxies, PendingProxies          prometheus.Gauge
	ProxiesStarted, ProxiesStopped         prometheus.Counter
}

var peerLabels = []string{
	"workload",
	"canonical_service",
	"canonical_revision",
	"workload_namespace",
	"principal",
	"app",
	"version",
	"cluster",
	"region",
	"zone",
}

var trafficLabels = func() []string {
	names := []string{
		"reporter",
		"destination_service",
		"destination_service_namespace",
		"destination_service_name",
		"request_protocol",
		"response_flags",
		"connection_security_policy",
	}
	for _, side := range []string{"source_", "destination_"} {
		for _, l := range peerLabels {
			names = append(names, side+l)
		}
	}
	return names
}()

// NewMetrics makes and registers all of them; version is shown by istio_build.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.opened = vec("istio_tcp_connections_opened_total", "The total number of TCP connections opened.", trafficLabels...)
	m.closed = vec("istio_tcp_connections_closed_total", "The total number of TCP connections closed.", trafficLabels...)
	m.failed = vec("istio_tcp_connections_failed_total", "The total number of TCP connections that failed to establish.", trafficLabels...)
	m.received = vec("istio_tcp_received_bytes_total", "Bytes received during the request.", trafficLabels...)
	m.sent = vec("istio_tcp_sent_bytes_total", "Bytes sent during the response.", trafficLabels...)
	m.XDSMessages = vec("istio_xds_message_total", "xDS responses received.", "url")
	m.XDSTerminations = vec("istio_xds_connection_terminations_total", "Ended connections to the xDS server.", "reason")
	m.DNSRequests = vec("istio_dns_requests_total", "DNS requests received.", "source_workload", "source_workload_namespace")
	m.DNSUpstream = vec("istio_dns_upstream_requests_total", "DNS requests forwarded.", "source_workload", "source_workload_namespace")
	m.DNSFailures = vec(
		"istio_dns_upstream_failures_total", "DNS requests forwarded without success.", "source_workload",
		"source_workload_namespace",
	)
	m.SocketsOpen = prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "istio_tcp_sockets_open", Help: "Open TCP sockets."},
		[]string{"reporter"},
	)
	m.ActiveProxies = prometheus.NewGauge(prometheus.GaugeOpts{Name: "workload_manager_active_proxy_count", Help: "Pods proxied."})
	m.PendingProxies = prometheus.NewGauge(
		prometheus.GaugeOpts{Name: "workload_manager_pending_proxy_count", Help: "Pods whose proxy could not start yet."},
	)
	m.ProxiesStarted = prometheus.NewCounter(prometheus.CounterOpts{Name: "workload_manager_proxies_started_total", Help: "Proxies started."})
	m.ProxiesStopped = prometheus.NewCounter(prometheus.CounterOpts{Name: "workload_manager_proxies_stopped_total", Help: "Proxies stopped."})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "istio_build", Help: "Build information."}, []string{"component", "tag"})
	build.WithLabelValues("ztunnel", version).Set(1)
	m.registry.MustRegister(m.SocketsOpen, m.ActiveProxies, m.PendingProxies, m.ProxiesStarted, m.ProxiesStopped, build)
	return m
}

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gatherer is for tests.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Peer is what is known of one end of a connection. Empty means unknown.
type Peer struct {
	Workload, CanonicalService, CanonicalRevision, Namespace, Principal, App, Version, Cluster, Region, Zone string

	Pod string // for the access log only
}

// PeerOf describes a workload. The principal is not filled in: for a source only TLS can say it.
func PeerOf(w *workloadapi.Workload) Peer {
	if w == nil {
		return Peer{}
	}
	return Peer{
		Workload: w.WorkloadName, CanonicalService: w.CanonicalName, CanonicalRevision: w.CanonicalRevision, Namespace: w.Namespace,
		App: w.CanonicalName, Version: w.CanonicalRevision, Cluster: w.ClusterId,
		Region: w.Locality.GetRegion(), Zone: w.Locality.GetZone(), Pod: w.Name,
	}
}

func unknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func (p Peer) values() []string {
	return []string{unknown(p.Workload), unknown(p.CanonicalService), unknown(p.CanonicalRevision), unknown(p.Namespace), unknown(p.Principal),
		unknown(p.App), unknown(p.Version), unknown(p.Cluster), unknown(p.Region), unknown(p.Zone)}
}
