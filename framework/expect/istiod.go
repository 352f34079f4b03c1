package expect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/istiod"
)

// AllSynced expects that every istiod that answered shows each of the clusters once and synced: its
// own without a remote secret, the others with one. The mesh may have more clusters.
func AllSynced[C fmt.Stringer](own fmt.Stringer, clusters ...C) types.GomegaMatcher {
	want := names(clusters)
	says := fmt.Sprintf("to show %s once and synced, %s without a secret and the others with one", strings.Join(want, ", "), own)
	return everyIstiod(says, func(rows []istiod.RemoteCluster) string {
		for _, name := range want {
			if wrong := wrongIn(rows, name, name == own.String()); wrong != "" {
				return name + " " + wrong
			}
		}
		return ""
	})
}

// everyIstiod expects something of the rows of each istiod; says completes "every istiod ...".
func everyIstiod(says string, wrong func([]istiod.RemoteCluster) string) types.GomegaMatcher {
	return Value("every istiod "+says, func(rows []istiod.RemoteCluster) string {
		byPod := map[string][]istiod.RemoteCluster{}
		for _, r := range rows {
			byPod[r.Istiod] = append(byPod[r.Istiod], r)
		}
		for _, pod := range slices.Sorted(maps.Keys(byPod)) {
			if w := wrong(byPod[pod]); w != "" {
				return fmt.Sprintf("istiod %s: %s", pod, w)
			}
		}
		if len(byPod) == 0 {
			return "no istiod answered"
		}
		return ""
	})
}

// named are the rows of one cluster.
func named(rows []istiod.RemoteCluster, cluster string) (of []istiod.RemoteCluster) {
	for _, r := range rows {
		if r.Name == cluster {
			of = append(of, r)
		}
	}
	return of
}

func wrongIn(rows []istiod.RemoteCluster, name string, own bool) string {
	of := named(rows, name)
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

// Lists expects that every istiod lists the cluster once, with this status.
func Lists(c fmt.Stringer, status string) types.GomegaMatcher {
	return everyIstiod(fmt.Sprintf("to list %s once and as %s", c, status), func(rows []istiod.RemoteCluster) string {
		of := named(rows, c.String())
		switch {
		case len(of) != 1:
			return fmt.Sprintf("lists it %d times", len(of))
		case of[0].Status != status:
			return fmt.Sprintf("lists it as %q by secret %s", of[0].Status, of[0].Secret)
		}
		return ""
	})
}

// ListsNo expects that no istiod lists the cluster.
func ListsNo(c fmt.Stringer) types.GomegaMatcher {
	return everyIstiod(fmt.Sprintf("not to list %s", c), func(rows []istiod.RemoteCluster) string {
		if of := named(rows, c.String()); len(of) > 0 {
			return fmt.Sprintf("lists it as %q by secret %s", of[0].Status, of[0].Secret)
		}
		return ""
	})
}
