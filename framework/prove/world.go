package prove

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// Namespaces of the standing workloads. Specs add Services and policies of their own to the first and delete them after.
const (
	MeshNamespace  = "amc-mesh"  // in the mesh
	PlainNamespace = "amc-plain" // not in the mesh
)

// EchoApp is the standing server's app label and ServiceAccount.
const EchoApp = "echo"

// World is where specs run: a fleet with standing workloads that no spec changes.
type World struct {
	Fleet *mesh.Fleet
	Sites Sites
	Times Times

	waypoints   sync.Mutex
	waypointsUp bool
}

// Site is one cluster with its standing clients.
type Site struct {
	*mesh.Cluster
	Client  *traffic.Client // ServiceAccount client
	ClientB *traffic.Client // ServiceAccount client-b
	Plain   *traffic.Client // outside the mesh
}

// Times are the limits in force; all are ours, none is promised by Istio. They are in every report.
type Times struct {
	Settle time.Duration // a change must show in traffic within; default 30 s
	Hold   time.Duration // and then stay; default 1 s
	Spec   time.Duration // one spec may take at most; default 3 min
}

// DefaultTimes are the limits unless a flag says otherwise.
var DefaultTimes = Times{Settle: 30 * time.Second, Hold: time.Second, Spec: 3 * time.Minute}

// Build deploys the standing workloads in all clusters side by side and opens the streams to the clients. It may run again on a fleet that has them.
func Build(ctx context.Context, f *mesh.Fleet, times Times) (*World, error) {
	w := &World{Fleet: f, Times: times, Sites: make(Sites, len(f.Clusters))}
	image := f.Images["app"].Ref
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range f.Clusters {
		g.Go(func() error {
			if err := c.Connect(); err != nil {
				return err
			}
			if err := apply.Objects(ctx, c, workload.Namespace(MeshNamespace, true), workload.Namespace(PlainNamespace, false)); err != nil {
				return err
			}
			s := &Site{Cluster: c}
			w.Sites[i] = s
			pods, ctx := errgroup.WithContext(ctx)
			for _, p := range []struct {
				ns, name string
				client   **traffic.Client
			}{{MeshNamespace, EchoApp, nil}, {MeshNamespace, "client", &s.Client}, {MeshNamespace, "client-b", &s.ClientB}, {PlainNamespace, "plain", &s.Plain}} {
				pods.Go(func() error {
					if err := (workload.Echo{Namespace: p.ns, Name: p.name, Owner: "standing", Image: image, Replicas: 1}).Deploy(ctx, c); err != nil || p.client == nil {
						return err
					}
					pod, err := workload.Pod(ctx, c, p.ns, p.name)
					if err != nil {
						return err
					}
					*p.client, err = traffic.Dial(portforward.Open(c, p.ns, pod.Name), p.name)
					return err
				})
			}
			return pods.Wait()
		})
	}
	if err := g.Wait(); err != nil {
		w.Close()
		return nil, fmt.Errorf("standing workloads: %w", err)
	}
	return w, nil
}

// Close ends the streams to the clients; the workloads stay for the next run.
func (w *World) Close() {
	for _, s := range w.Sites {
		if s == nil {
			continue
		}
		for _, c := range []*traffic.Client{s.Client, s.ClientB, s.Plain} {
			if c != nil {
				c.Close()
			}
		}
	}
}

// Names are the names of all clusters.
func (w *World) Names() []string { return w.Sites.Names() }

// Sites are clusters of a world.
type Sites []*Site

// Names are the names of these clusters.
func (all Sites) Names() []string {
	var n []string
	for _, s := range all {
		n = append(n, s.Name)
	}
	return n
}
