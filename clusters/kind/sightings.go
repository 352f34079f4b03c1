package kind

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ambient.test/conformance/framework/mesh"
)

// The packets of HBONE's port, to servers and from them, pass a chain with one rule for each text.
// The rules only count.
const (
	look = `set -e
tables=$1; shift
$tables -t mangle -N AMC_SEEN 2>/dev/null || $tables -t mangle -F AMC_SEEN
for text in "$@"; do $tables -t mangle -A AMC_SEEN -m string --algo bm --string "$text"; done
for side in --dport --sport; do
  $tables -t mangle -C PREROUTING -p tcp $side 15008 -j AMC_SEEN 2>/dev/null ||
    $tables -t mangle -I PREROUTING -p tcp $side 15008 -j AMC_SEEN
done`
	lookAway = `set -e
tables=$1
for side in --dport --sport; do $tables -t mangle -D PREROUTING -p tcp $side 15008 -j AMC_SEEN; done
$tables -t mangle -F AMC_SEEN
$tables -t mangle -X AMC_SEEN`
)

// Sightings returns what counts, on the nodes of each cluster, the packets of HBONE's port in which
// a text is to be read; nil for a fleet whose nodes are not ours. The counts are in the order of
// the texts. stop takes away what counts.
func Sightings(f *mesh.Fleet) func(ctx context.Context, texts []string) (
	count func(context.Context) (map[string][]int64, error), stop func(context.Context) error, err error) {
	if f.Provider != mesh.ProviderKind {
		return nil
	}
	e := of(f)
	each := func(do func(c *mesh.Cluster, node, tables string) error) (failed error) {
		for _, c := range f.Clusters {
			families := []string{"iptables"}
			if c.DualStack() {
				families = append(families, "ip6tables")
			}
			for _, node := range c.Kind.Nodes {
				for _, tables := range families {
					if err := do(c, node, tables); err != nil {
						failed = errors.Join(failed, fmt.Errorf("%s: packets of node %s: %w", c.Name, node, err))
					}
				}
			}
		}
		return failed
	}
	count := func(ctx context.Context) (map[string][]int64, error) {
		all := map[string][]int64{}
		err := each(func(c *mesh.Cluster, node, tables string) error {
			out, err := e.Output(ctx, "exec", node, tables, "-t", "mangle", "-nvxL", "AMC_SEEN")
			if err != nil {
				return err
			}
			return addPackets(all, c.Name, out)
		})
		return all, err
	}
	stop := func(ctx context.Context) error {
		return each(func(_ *mesh.Cluster, node, tables string) error {
			return e.Run(ctx, "exec", node, "sh", "-c", lookAway, "sh", tables)
		})
	}
	return func(ctx context.Context, texts []string) (func(context.Context) (map[string][]int64, error), func(context.Context) error, error) {
		return count, stop, each(func(_ *mesh.Cluster, node, tables string) error {
			return e.Run(ctx, append([]string{"exec", node, "sh", "-c", look, "sh", tables}, texts...)...)
		})
	}
}

// addPackets adds the packets of each rule of a listed chain, which has two lines of titles.
func addPackets(to map[string][]int64, cluster, listing string) error {
	lines := strings.Split(strings.TrimSpace(listing), "\n")
	if len(lines) < 3 {
		return fmt.Errorf("no rule counts: %q", listing)
	}
	for i, line := range lines[2:] {
		fields := strings.Fields(line)
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return fmt.Errorf("rule %q: %w", line, err)
		}
		if len(to[cluster]) <= i {
			to[cluster] = append(to[cluster], 0)
		}
		to[cluster][i] += n
	}
	return nil
}
