// Command nodeproxy stands in for ztunnel where its image cannot be had: it speaks ztunnel's
// contracts to istio-cni, istiod, waypoints, gateways and other node proxies. It is configured by
// the environment and files ztunnel's chart gives.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/zdsapi"

	"ambient.test/conformance/standins/nodeproxy/internal/admin"
	"ambient.test/conformance/standins/nodeproxy/internal/dns"
	"ambient.test/conformance/standins/nodeproxy/internal/hbone"
	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/proxy"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
	"ambient.test/conformance/standins/nodeproxy/internal/xds"
	"ambient.test/conformance/standins/nodeproxy/internal/zds"
)

func main() {
	level := new(slog.LevelVar)
	level.Set(telemetry.ParseLevel(os.Getenv("RUST_LOG")))
	log := telemetry.NewLogger(os.Stdout, os.Getenv("LOG_FORMAT"), level)
	if err := run(log, level); err != nil {
		log.Error("node proxy ends", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger, level *slog.LevelVar) error {
	cfg, err := fromEnv(os.Getenv)
	if err != nil {
		return err
	}
	ctx, quit := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer quit()
	// What goes on while connections drain: certificates, policies and the resources behind both.
	drain, stop := context.WithCancel(context.Background())
	defer stop()

	self, err := netns.Own(cfg.ipv6)
	if err != nil {
		return err
	}
	if err := self.Preflight(ctx); err != nil {
		return fmt.Errorf("cannot make the sockets of a node proxy: %w", err)
	}

	metrics := telemetry.NewMetrics("nodeproxy")
	recorder := &telemetry.Recorder{Metrics: metrics, Access: log.With("target", "access")}
	store := state.New(cfg.network, cfg.clusterID)
	token := xds.Token{Path: cfg.token, ClusterID: cfg.clusterID}
	istiod, err := xds.Dial(cfg.xdsAddress, cfg.altXDSHostname, cfg.xdsRoot, token.With(cfg.xdsHeaders))
	if err != nil {
		return err
	}
	ca, err := xds.Dial(cfg.caAddress, cfg.altCAHostname, cfg.caRoot, token.With(cfg.caHeaders))
	if err != nil {
		return err
	}
	certs := identity.NewManager(drain, identity.Istiod{Conn: ca, TTLSeconds: int64(cfg.secretTTL.Seconds())})
	certs.Failed = func(id string, err error, again time.Duration) {
		log.Warn("no certificate from the CA", "identity", id, "error", err, "again_in", again)
	}
	store.OnWorkload(holder(cfg, certs.Hold), holder(cfg, certs.Drop))

	shared := &proxy.Shared{
		Store: store, Certs: certs, Recorder: recorder, Log: log.With("target", "proxy"), Domain: cfg.domain, IPv6: cfg.ipv6,
		ResponseBaggage: cfg.responseBaggage, LocalhostTunnel: cfg.localhostTunnel, Limits: hbone.Limits{Streams: cfg.poolStreams},
		Open: proxy.NewTracker(),
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
	}
	if cfg.dns {
		if shared.Nameservers, err = dns.Nameservers("/etc/resolv.conf"); err != nil {
			return err
		}
	}
	go shared.Open.Watch(drain, store)

	client := &xds.Client{
		Conn:    istiod,
		Node:    cfg.node(),
		Types:   []string{state.AddressType, state.AuthorizationType},
		Apply:   store.Apply,
		Log:     log.With("target", "xds"),
		Message: func(t string) { metrics.XDSMessages.WithLabelValues(t).Inc() },
		Ended:   func(reason string) { metrics.XDSTerminations.WithLabelValues(reason).Inc() },
	}
	go client.Run(drain)

	pods := proxy.NewManager(ctx, shared, func(fd int) (netns.Sockets, error) { return netns.FromFD(fd, cfg.ipv6) })
	var zdsDone sync.WaitGroup
	zdsDone.Go(func() { zds.Run(ctx, cfg.zdsSocket, pods, log.With("target", "zds")) })

	failed := make(chan error, 3)
	serve := func(addr string, h http.Handler) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			failed <- err
			return
		}
		go func() { failed <- (&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}).Serve(l) }()
	}
	serve(":15021", admin.Ready(map[string]func() bool{"state manager": client.Ready, "workload proxy manager": pods.Ready}))
	serve(":15020", admin.Stats(metrics))
	serve("localhost:15000", admin.Admin(func() any {
		return admin.Dump(store, certs.All(), pods.Pods(), shared.Open.All())
	}, level, quit))

	var own *proxy.Pod
	if cfg.podName != "" && cfg.podNamespace != "" && cfg.serviceAccount != "" {
		info := &zdsapi.WorkloadInfo{Name: cfg.podName, Namespace: cfg.podNamespace, ServiceAccount: cfg.serviceAccount}
		if own, err = proxy.Start(shared, info, self, proxy.HBONEPort); err != nil {
			log.Warn("no HBONE listener of the node proxy itself", "error", err)
		}
	}
	log.Info("node proxy stand-in started", "node", cfg.nodeName, "network", cfg.network, "cluster", cfg.clusterID)

	select {
	case <-ctx.Done():
	case err := <-failed:
		if !errors.Is(err, http.ErrServerClosed) {
			return err
		}
	}
	log.Info("draining", "deadline", cfg.drain)
	zdsDone.Wait()
	if own != nil {
		go own.Stop(cfg.drain)
	}
	pods.Shutdown(cfg.drain)
	return nil
}

// holder applies f to the identity of workloads that this node proxies.
func holder(cfg *config, f func(string)) func(*workloadapi.Workload) {
	return func(w *workloadapi.Workload) {
		if w.Node == cfg.nodeName && w.ClusterId == cfg.clusterID && w.TunnelProtocol == workloadapi.TunnelProtocol_HBONE {
			f(state.Identity(w))
		}
	}
}
