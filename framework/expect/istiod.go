package expect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/istiod"
)

// AllSynced expects that every istiod that answered shows each of the clusters once and synced: its own
// without a remote secret, the others with one. The mesh may have more clusters.
func AllSynced[C fmt.Stringer](own fmt.Stringer, clusters ...C) types.GomegaMatcher {
	want := names(clusters)
	says := fmt.Sprintf("every istiod to show %s once and synced, %s without a secret and the others with one", strings.Join(want, ", "), own)
	return Value(says, func(rows []istiod.RemoteCluster) string {
		byPod := map[string][]istiod.RemoteCluster{}
		for _, r := range rows {
			byPod[r.Istiod] = append(byPod[r.Istiod], r)
		}
		for _, pod := range slices.Sorted(maps.Keys(byPod)) {
			for _, name := range want {
				if wrong := wrongIn(byPod[pod], name, name == own.String()); wrong != "" {
					return fmt.Sprintf("istiod %s: %s %s", pod, name, wrong)
				}
			}
		}
		if len(byPod) == 0 {
			return "no istiod answered"
		}
		return ""
	})
}

// wrongIn says what is wrong with a cluster in the rows of one istiod.
func wrongIn(rows []istiod.RemoteCluster, name string, own bool) string {
	var of []istiod.RemoteCluster
	for _, r := range rows {
		if r.Name == name {
			of = append(of, r)
		}
	}
	switch {
	case len(of) != 1:
		return fmt.Sprintf("is listed %d times", len(of))
	case of[0].Status != istiod.Synced:
		return fmt.Sprintf("is %q", of[0].Status)
	case own != (of[0].Secret == ""):
		return fmt.Sprintf("has secret %q", of[0].Secret)
	}
	return ""
}
