package spec

import (
	"context"
	"fmt"

	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/ztunnel"
)

// CallAndCount makes calls once and returns their outcomes with what every cluster's ztunnels count
// from their begin on.
func (t *T) CallAndCount(calls traffic.Calls) (traffic.Outcomes, Counted) {
	counted := t.Counts()
	os, err := calls.From.Do(t.ctx, calls.Call)
	t.NoError(err)
	return os, counted
}

// Counts is what every cluster's ztunnels count from now on.
func (t *T) Counts() Counted {
	t.Still()
	before := map[*Cluster]ztunnel.Counters{}
	for _, c := range t.Clusters {
		counters, err := ztunnel.Opened(t.ctx, c.Cluster)
		t.NoError(err)
		before[c] = counters
	}
	return Counted{before}
}

// Counted are the connections that ztunnels have counted since CallAndCount or Counts began.
type Counted struct{ before map[*Cluster]ztunnel.Counters }

// By selects the ztunnels of one cluster.
func (c Counted) By(cluster *Cluster) Connections {
	return Connections{cluster, c.before[cluster], ztunnel.Query{}}
}

// Connections are some of the connections that one cluster's ztunnels have counted. They are a
// [Subject], since counters arrive a little after the calls.
type Connections struct {
	cluster *Cluster
	before  ztunnel.Counters
	query   ztunnel.Query
}

func (c Connections) with(label, value string) Connections {
	c.query = c.query.With(label, value)
	return c
}

// AsSource selects what the client's ztunnel reports.
func (c Connections) AsSource() Connections { return c.with("reporter", "source") }

// AsDestination selects what the server's ztunnel reports.
func (c Connections) AsDestination() Connections { return c.with("reporter", "destination") }

// FromWorkload selects connections of clients of this name.
func (c Connections) FromWorkload(name string) Connections { return c.with("source_workload", name) }

// FromAccount selects connections of clients that have authenticated as this account of the specs'
// namespace.
func (c Connections) FromAccount(t *T, account string) Connections {
	return c.with("source_principal", "spiffe://"+t.Principal(account))
}

// FromCluster selects connections of clients in that cluster.
func (c Connections) FromCluster(from *Cluster) Connections {
	return c.with("source_cluster", from.Name)
}

// To selects connections to a service.
func (c Connections) To(s traffic.Target) Connections { return c.with("destination_service", s.Host()) }

// ToPodsOf selects connections to the pods behind a service, whatever they were meant for.
func (c Connections) ToPodsOf(s *Service) Connections {
	return c.ToWorkload(s.App).with("destination_workload_namespace", s.Namespace)
}

// ToWorkload selects connections to pods of this workload.
func (c Connections) ToWorkload(name string) Connections { return c.with("destination_workload", name) }

// String says whose counters these are, and which.
func (c Connections) String() string {
	return fmt.Sprintf("connections that %s's ztunnel has counted with %v", c.cluster, map[string]string(c.query))
}

// Look reads the counters; the value is [ztunnel.Connections].
func (c Connections) Look(ctx context.Context, _ int) (any, error) {
	now, err := ztunnel.Opened(ctx, c.cluster.Cluster)
	if err != nil {
		return nil, err
	}
	return ztunnel.Connections{
		All:       int(now.Since(c.before, c.query)),
		MutualTLS: int(now.Since(c.before, c.query.With("connection_security_policy", "mutual_tls"))),
	}, nil
}

// KnownOf counts the workloads of another cluster's network that the ztunnels of one cluster know; an
// int64.
func KnownOf(of, by *Cluster) Subject {
	return Probe(fmt.Sprintf("workloads of %s that the ztunnels of %s know", of.Network, by), func(ctx context.Context) (any, error) {
		return ztunnel.Workloads(ctx, by.Cluster, of.Network)
	})
}
