package spec

import (
	"context"

	"ambient.test/conformance/framework/istiod"
)

// RemoteClusters are the clusters that a cluster's control plane knows, as `istioctl
// remote-clusters` lists them; a []istiod.RemoteCluster.
func RemoteClusters(c *Cluster) Subject {
	return Probe("istiod of "+c.Name+": remote clusters", func(ctx context.Context) (any, error) {
		return istiod.RemoteClusters(ctx, c.Cluster)
	})
}
