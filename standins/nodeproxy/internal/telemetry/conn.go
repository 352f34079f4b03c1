package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/fault"
)

// Reporter is which end of a connection speaks.
type Reporter string

// Both ends.
const (
	Source      Reporter = "source"
	Destination Reporter = "destination"
)

func (r Reporter) direction() string {
	if r == Source {
		return "outbound"
	}
	return "inbound"
}

// Flag is why a connection failed: the metric label response_flags.
type Flag string

// All flags.
const (
	NoFlag        Flag = "-"
	Denied        Flag = "DENY"                 // by policy
	ConnectFailed Flag = "CONNECT"              // no upstream connection, or it broke
	TLSFailed     Flag = "TLS_FAILURE"          // handshake
	H2Failed      Flag = "H2_HANDSHAKE_FAILURE" // HTTP/2 to the next hop
	NetworkPolicy Flag = "NETWORK_POLICY"       // connect to the HBONE port timed out
	IdentityError Flag = "IDENTITY_ERROR"       // no certificate
)

// Recorder makes connections' records.
type Recorder struct {
	Metrics *Metrics
	Access  *slog.Logger // target "access"
}

// Record is one connection from open to close. Its fields are set before Opened.
type Record struct {
	Reporter    Reporter
	Src, Dst    netip.AddrPort
	HBONE       string // CONNECT authority; "" for plain TCP
	Source      Peer
	Destination Peer
	Service     *workloadapi.Service
	MutualTLS   bool
	Start       time.Time

	r              *Recorder
	once           sync.Once
	sent, received atomic.Int64 // response bytes, request bytes
	csent, crecv   prometheus.Counter
}

func (c *Record) labels(flag Flag) []string {
	policy := "unknown"
	if c.MutualTLS && !fault.HidesMutualTLS() {
		policy = "mutual_tls"
	}
	l := []string{
		string(c.Reporter),
		unknown(c.Service.GetHostname()),
		unknown(c.Service.GetNamespace()),
		unknown(c.Service.GetName()),
		"tcp",
		string(flag),
		policy,
	}
	return append(append(l, c.Source.values()...), c.Destination.values()...)
}

func (c *Record) attrs() []any {
	var a []any
	str := func(k, v string) {
		if v != "" {
			a = append(a, slog.String(k, v))
		}
	}
	side := func(prefix string, addr netip.AddrPort, p Peer, extra func()) {
		a = append(a, slog.Any(prefix+".addr", Bare(addr.String())))
		extra()
		name := p.Pod
		if name == "" {
			name = p.CanonicalService
		}
		str(prefix+".workload", name)
		str(prefix+".namespace", p.Namespace)
		if c.MutualTLS {
			str(prefix+".identity", p.Principal)
		}
		str(prefix+".cluster", p.Cluster)
	}
	side("src", c.Src, c.Source, func() {})
	side("dst", c.Dst, c.Destination, func() {
		if c.HBONE != "" {
			a = append(a, slog.Any("dst.hbone_addr", Bare(c.HBONE)))
		}
		str("dst.service", c.Service.GetHostname())
	})
	return append(a, slog.String("direction", c.Reporter.direction()))
}

// Opened counts the connection and hands out its record. It is called once per record.
func (r *Recorder) Opened(c *Record) *Record {
	c.r = r
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	l := c.labels(NoFlag)
	r.Metrics.opened.WithLabelValues(l...).Inc()
	c.csent, c.crecv = r.Metrics.sent.WithLabelValues(l...), r.Metrics.received.WithLabelValues(l...)
	if r.Access.Enabled(context.Background(), slog.LevelDebug) {
		r.Access.Debug("connection opened", c.attrs()...)
	}
	return c
}

// Sent counts bytes of the response, Received those of the request: at both ends alike.
func (c *Record) Sent(n int) { c.sent.Add(int64(n)); c.csent.Add(float64(n)) }

// Received counts bytes of the request.
func (c *Record) Received(n int) { c.received.Add(int64(n)); c.crecv.Add(float64(n)) }

// Closed counts the end and writes the access line; only the first call does.
func (c *Record) Closed(err error, flag Flag) {
	c.once.Do(func() {
		if err == nil {
			flag = NoFlag
		}
		l := c.labels(flag)
		c.r.Metrics.closed.WithLabelValues(l...).Inc()
		if err != nil {
			c.r.Metrics.failed.WithLabelValues(l...).Inc()
		}
		out, in := c.received.Load(), c.sent.Load() // as this end sees them
		if c.Reporter == Destination {
			out, in = in, out
		}
		a := append(c.attrs(), slog.Int64("bytes_sent", out), slog.Int64("bytes_recv", in),
			slog.String("duration", fmt.Sprintf("%dms", time.Since(c.Start).Milliseconds())))
		if err == nil {
			c.r.Access.Info("connection complete", a...)
		} else {
			c.r.Access.Error("connection complete", append(a, slog.String("error", err.Error()))...)
		}
	})
}

// Refused logs a connection turned away before anything is known that could be counted.
func (r *Recorder) Refused(rep Reporter, src, dst netip.AddrPort, err error) {
	r.Access.Warn("connection failed", slog.Any("src.addr", Bare(src.String())), slog.Any("dst.addr", Bare(dst.String())),
		slog.String("direction", rep.direction()), slog.String("error", err.Error()))
}
