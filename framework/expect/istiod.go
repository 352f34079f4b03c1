package expect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/istiod"
)

// Knows expects that every istiod that answered shows each of the clusters as synced. Others may be
// listed, too.
func Knows[C fmt.Stringer](clusters ...C) types.GomegaMatcher {
	want := names(clusters)
	return Value(strings.Join(want, ", ")+" to be synced", func(rows []istiod.RemoteCluster) string {
		return strings.Join(istiod.Unsynced(rows, want), "; ")
	})
}

// ListsExactly expects the clusters, each once and synced: own without a remote secret, the others
// with one.
func ListsExactly[C fmt.Stringer](own fmt.Stringer, clusters ...C) types.GomegaMatcher {
	want := names(clusters)
	says := fmt.Sprintf("%s, each once and synced, %s without a secret and the others with one", strings.Join(want, ", "), own)
	return Value(says, func(rows []istiod.RemoteCluster) string {
		var listed []string
		for _, r := range rows {
			listed = append(listed, r.Name)
			if r.Status != istiod.Synced {
				return fmt.Sprintf("%s is %q", r.Name, r.Status)
			}
			if isOwn := r.Name == own.String(); isOwn != (r.Secret == "") {
				return fmt.Sprintf("%s has secret %q", r.Name, r.Secret)
			}
		}
		if slices.Sort(listed); !slices.Equal(listed, want) {
			return fmt.Sprintf("listed: %v", listed)
		}
		return ""
	})
}
