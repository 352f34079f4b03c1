package spec

import (
	"context"
	"fmt"
)

// Escapes counts from now on the packets by which pods of each cluster try to leave the fleet. It is
// empty on clusters of others, where nobody counts them.
func (t *T) Escapes() (all []Escapes) {
	if t.Fixture.Escapes == nil {
		return nil
	}
	before, err := t.Fixture.Escapes(t.ctx)
	t.NoError(err)
	for _, c := range t.Clusters {
		all = append(all, Escapes{c, before[c.Name], t.Fixture.Escapes})
	}
	return all
}

// Escapes are packets of one cluster's pods to addresses outside the fleet. They are a [Subject] whose
// value is an int64.
type Escapes struct {
	cluster *Cluster
	before  int64
	count   func(context.Context) (map[string]int64, error)
}

// String says what is counted, and where.
func (e Escapes) String() string {
	return fmt.Sprintf("packets that pods of %s sent to addresses outside the fleet", e.cluster)
}

// Look reads the counters of the nodes.
func (e Escapes) Look(ctx context.Context, _ int) (any, error) {
	now, err := e.count(ctx)
	return now[e.cluster.Name] - e.before, err
}
