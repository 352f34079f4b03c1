package kind

import (
	"context"
	"fmt"

	"ambient.test/conformance/framework/mesh"
)

// StopNodes returns what ends everything on nodes of a cluster at once, without a warning; nil for a
// fleet whose nodes are not ours. A run that is killed may leave nodes stopped until [Health] looks
// at the fleet.
func StopNodes(f *mesh.Fleet) func(ctx context.Context, c *mesh.Cluster, nodes ...string) error {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	return func(ctx context.Context, c *mesh.Cluster, nodes ...string) error {
		if _, err := of(f).Output(ctx, append([]string{"kill"}, nodes...)...); err != nil {
			return fmt.Errorf("%s: the power of %v cannot be cut: %w", c.Name, nodes, err)
		}
		return nil
	}
}

// StartNodes returns what starts the nodes of a fleet that are stopped; nil where they are not ours.
// It returns when the API servers answer and the nodes are ready, behind their firewalls; pods start
// meanwhile and afterwards.
func StartNodes(f *mesh.Fleet) func(ctx context.Context) error {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	return func(ctx context.Context) error { return Health(ctx, f) }
}

// killSandbox kills the process that holds a pod's namespaces, as a folder of processes ($1) shows
// it. Its control group is named after the pod's UID ($2), with dashes or with underscores.
const killSandbox = `pattern=$(echo "$2" | sed 's/-/[-_]/g')
for p in "$1"/[0-9]*; do
  if [ "$(cat "$p/comm" 2>/dev/null)" = pause ] && grep -q "pod$pattern" "$p/cgroup"; then kill -9 "${p##*/}" && killed=yes; fi
done
test -n "$killed"`

// KillSandbox returns what kills the sandbox of a pod by its UID; kubelet makes another for the same
// pod. It is nil for a fleet whose nodes are not ours.
func KillSandbox(f *mesh.Fleet) func(ctx context.Context, c *mesh.Cluster, node, uid string) error {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	return func(ctx context.Context, c *mesh.Cluster, node, uid string) error {
		if _, err := of(f).Output(ctx, "exec", node, "sh", "-c", killSandbox, "sh", "/proc", uid); err != nil {
			return fmt.Errorf("%s: node %s has no sandbox of pod %s to kill: %w", c.Name, node, uid, err)
		}
		return nil
	}
}
