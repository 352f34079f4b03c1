// Package hbone dials HBONE: pooled mutual-TLS HTTP/2 connections carrying CONNECT tunnels, and
// tunnels inside tunnels to other networks.
package hbone

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/h2"
)

// Header names.
const (
	BaggageHeader          = "baggage"
	ForwardedHeader        = "forwarded"
	TraceparentHeader      = "traceparent"
	ForwardedNetworkHeader = "x-forwarded-network"
)

var workloadKinds = map[workloadapi.WorkloadType]string{
	workloadapi.WorkloadType_DEPLOYMENT: "deployment", workloadapi.WorkloadType_CRONJOB: "cronjob",
	workloadapi.WorkloadType_POD: "pod", workloadapi.WorkloadType_JOB: "job",
}

// Baggage is what one end tells the other of itself.
type Baggage struct {
	Cluster, Namespace, Workload, Service, Version, Region, Zone string
}

// BaggageOf describes a workload in a header's value; absent fields are left out.
func BaggageOf(w *workloadapi.Workload) string {
	var parts []string
	add := func(k, v string) {
		if v != "" {
			parts = append(parts, k+"="+v)
		}
	}
	add("k8s.cluster.name", w.ClusterId)
	add("k8s.namespace.name", w.Namespace)
	add("k8s."+workloadKinds[w.WorkloadType]+".name", w.WorkloadName)
	add("service.name", w.CanonicalName)
	add("service.version", w.CanonicalRevision)
	add("cloud.region", w.Locality.GetRegion())
	add("cloud.availability_zone", w.Locality.GetZone())
	return strings.Join(parts, ",")
}

// ParseBaggage reads a header's value; what it does not know it passes over.
func ParseBaggage(v string) (b Baggage, found bool) {
	for _, part := range strings.Split(v, ",") {
		k, val, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || val == "" {
			continue
		}
		val, _, _ = strings.Cut(val, ";") // properties of a member
		switch k {
		case "k8s.cluster.name":
			b.Cluster = val
		case "k8s.namespace.name":
			b.Namespace = val
		case "k8s.deployment.name", "k8s.pod.name", "k8s.job.name", "k8s.cronjob.name":
			b.Workload = val
		case "service.name":
			b.Service = val
		case "service.version":
			b.Version = val
		case "cloud.region":
			b.Region = val
		case "cloud.availability_zone":
			b.Zone = val
		default:
			continue
		}
		found = true
	}
	return b, found
}

// Forwarded says for whom a tunnel is opened, and which service they meant.
func Forwarded(client netip.AddrPort, host string) string {
	v := `for="` + client.String() + `"`
	if host != "" {
		v += ";host=" + host
	}
	return v
}

// ForwardedHost takes the host out of a Forwarded header, "" without one.
func ForwardedHost(v string) string {
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r == ';' || r == ',' }) {
		if k, host, ok := strings.Cut(strings.TrimSpace(part), "="); ok && strings.EqualFold(k, "host") {
			return strings.Trim(host, `"`)
		}
	}
	return ""
}

// Traceparent makes a fresh one.
func Traceparent() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-00"
}

// Authority is a parsed CONNECT target: an address, or a host name with the port of a service.
type Authority struct {
	Addr netip.Addr // not valid for a host name
	Host string
	Port uint16
}

// ParseAuthority reads `ip:port`, `[v6]:port` or `host:port`.
func ParseAuthority(s string) (Authority, bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return Authority{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Authority{}, false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return Authority{}, false
		}
		return Authority{Addr: ip.Unmap(), Port: uint16(n)}, true
	}
	if strings.ContainsAny(host, ":/@[]% \t") {
		return Authority{}, false
	}
	return Authority{Host: host, Port: uint16(n)}, true
}

// Request is what a CONNECT says beside its authority.
func Request(source *workloadapi.Workload, client netip.AddrPort, host, traceparent string) h2.Header {
	return h2.Header{
		BaggageHeader: BaggageOf(source), ForwardedHeader: Forwarded(client, host), TraceparentHeader: traceparent,
	}
}
