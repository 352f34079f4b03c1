package inspect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/ztunnel"
)

// StandIn is a proxy that is not Istio's.
type StandIn struct {
	Part string // of the mesh, whose place it takes: ztunnel or proxyv2
	What string // what it is, in a sentence
	pod  corev1.Pod
}

// StandIns asks the proxies of all clusters themselves whether they stand in for Istio's. It
// returns what they are, by the part whose place they take. The name of an image would tell
// nothing: a stand-in has the same one.
func StandIns(ctx context.Context, f *mesh.Fleet) (map[string]string, error) {
	each := make([][]StandIn, len(f.Clusters))
	all, ctx := errgroup.WithContext(ctx)
	for i, c := range f.Clusters {
		all.Go(func() (err error) {
			if err = c.Connect(); err == nil {
				each[i], err = StandInsOf(ctx, c)
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", c.Name, err)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, some := range each {
		for _, x := range some {
			found[x.Part] = x.What
		}
	}
	return found, nil
}

// StandInsOf finds the stand-ins of one cluster. The error does not name the cluster.
func StandInsOf(ctx context.Context, c *mesh.Cluster) (found []StandIn, err error) {
	for _, q := range []struct {
		part, port, path string
		where            []client.ListOption
		judge            func(answer []byte) string
	}{
		{"ztunnel", "15020", "/metrics", []client.ListOption{client.InNamespace(ztunnel.Namespace),
			client.MatchingLabels{"app": "ztunnel"}}, judgeZtunnel},
		{"proxyv2", "15000", "/config_dump?mask=bootstrap",
			[]client.ListOption{client.MatchingLabels{gateway.GatewayClassNameLabelKey: c.EastWestClass()}}, judgeProxy},
	} {
		var pods corev1.PodList
		if err := c.Client().List(ctx, &pods, q.where...); err != nil {
			return nil, fmt.Errorf("list pods of %s: %w", q.part, err)
		}
		for _, p := range pods.Items {
			if !alive(&p) {
				continue
			}
			answer, err := ask(ctx, c, &p, q.port, q.path)
			if err != nil {
				return nil, fmt.Errorf("pod %s/%s cannot be asked whether it is a real %s: %w: "+
					"give the right to forward ports there, see `amc rbac --help`",
					p.Namespace, p.Name, q.part, err)
			}
			if what := q.judge(answer); what != "" {
				found = append(found, StandIn{q.part, what, p})
			}
		}
	}
	return found, nil
}

// MarkStandIns notes on the images of a cluster which of them are stand-ins.
func (f *Cluster) MarkStandIns(found []StandIn) {
	for _, x := range found {
		for i := range f.Images {
			for _, s := range x.pod.Status.ContainerStatuses {
				if f.Images[i].Part == x.Part && f.Images[i].Ref == ref(&x.pod, s) {
					f.Images[i].StandIn = x.What
				}
			}
		}
	}
}

var ourZtunnel = regexp.MustCompile(`(?m)^istio_build\{[^}]*tag="nodeproxy"`)

// judgeZtunnel reads the metrics of a node proxy: ours calls itself nodeproxy.
func judgeZtunnel(metrics []byte) string {
	if ourZtunnel.Match(metrics) {
		return "the suite's node proxy, which speaks ztunnel's protocols"
	}
	return ""
}

// judgeProxy reads the extensions in Envoy's bootstrap: Istio's build has some that upstream lacks.
func judgeProxy(bootstrap []byte) string {
	if strings.Contains(string(bootstrap), "metadata_exchange") || strings.Contains(string(bootstrap), "metadataexchange") {
		return ""
	}
	return "an Envoy without Istio's extensions"
}

func ask(ctx context.Context, c *mesh.Cluster, p *corev1.Pod, port, path string) ([]byte, error) {
	way := portforward.Open(c, p.Namespace, p.Name)
	defer way.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod:"+port+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := way.HTTP().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}
