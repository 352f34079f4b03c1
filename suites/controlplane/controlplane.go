// Package controlplane proves what control planes know of each other.
package controlplane

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/prove"
)

func init() {
	prove.Proves(behaviors.RemoteClustersAreSynced, func(s *prove.Spec) {
		s.Each(func(at *prove.Site) {
			s.Eventually(fmt.Sprintf("istiod of %s to list %s, each once and synced, itself without a secret and the others with one", at.Name, strings.Join(s.Names(), ", ")), func(ctx context.Context) (string, error) {
				rows, err := istiod.RemoteClusters(ctx, at.Cluster)
				if err != nil {
					return "", err
				}
				var listed []string
				for _, r := range rows {
					listed = append(listed, r.Name)
					if r.Status != istiod.Synced {
						return fmt.Sprintf("%s is %q", r.Name, r.Status), nil
					}
					if own := r.Name == at.Name; own != (r.Secret == "") {
						return fmt.Sprintf("%s has secret %q", r.Name, r.Secret), nil
					}
				}
				if want := slices.Sorted(slices.Values(s.Names())); !slices.Equal(slices.Sorted(slices.Values(listed)), want) {
					return fmt.Sprintf("listed: %v", listed), nil
				}
				return "", nil
			})
			// Twin: the same reading finds a cluster that nobody registered missing.
			rows, err := istiod.RemoteClusters(s.Ctx, at.Cluster)
			s.Must(err)
			s.TwinHolds(len(istiod.Unsynced(rows, append(s.Names(), "nobody"))) > 0, "istiod of %s does not list a cluster that nobody registered", at.Name)
		})
	})
}
