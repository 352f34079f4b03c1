package spec

import (
	"context"
	"errors"
	"fmt"
)

// Counter is what is counted in one cluster from some time on. It is a [Subject] whose value is an
// int64.
type Counter struct {
	says   string
	before int64
	count  func(context.Context) (int64, error)
}

// String says what is counted, and where.
func (c Counter) String() string { return c.says }

// Look counts.
func (c Counter) Look(ctx context.Context, _ int) (any, error) {
	now, err := c.count(ctx)
	return now - c.before, err
}

func (t *T) counter(says string, count func(context.Context) (int64, error)) Counter {
	before, err := count(t.ctx)
	t.NoError(err)
	return Counter{says, before, count}
}

// Tunnels counts from now on the connections that come to port 15008 of a cluster's gateways from the
// other networks.
func (t *T) Tunnels(to *Cluster) Counter {
	if t.Fixture.Tunnels == nil {
		t.NoError(errors.New("nobody counts the connections to the gateways of this fleet"))
	}
	return t.counter("connections to the gateways of "+to.Name, func(ctx context.Context) (int64, error) {
		now, err := t.Fixture.Tunnels(ctx)
		return now[to.Name], err
	})
}

// Escapes counts from now on the packets by which pods of each cluster try to leave the fleet. It
// is empty on clusters of others, where nobody counts them, and the result says so.
func (t *T) Escapes() (all []Counter) {
	if t.Fixture.Escapes == nil {
		t.Observe("packets that pods sent to addresses outside the clusters: not counted, since the nodes are not the suite's")
		return nil
	}
	for _, c := range t.Clusters {
		all = append(all, t.counter(fmt.Sprintf("packets that pods of %s sent to addresses outside the fleet", c),
			func(ctx context.Context) (int64, error) {
				now, err := t.Fixture.Escapes(ctx)
				return now[c.Name], err
			}))
	}
	return all
}

// Sightings counts from now on the packets of HBONE's port, on the nodes of each cluster, in which
// each of these texts is to be read.
func (t *T) Sightings(texts ...string) (all []Counter) {
	if t.Fixture.Sightings == nil {
		t.NoError(errors.New("nobody can look at the packets of this fleet's nodes"))
	}
	count, stop, err := t.Fixture.Sightings(t.ctx, texts)
	if stop != nil {
		t.Cleanup(stop)
	}
	t.NoError(err)
	for _, c := range t.Clusters {
		for i, text := range texts {
			all = append(all, t.counter(fmt.Sprintf("packets of HBONE's port on the nodes of %s in which %q is to be read", c, text),
				func(ctx context.Context) (int64, error) {
					now, err := count(ctx)
					if err != nil {
						return 0, err
					}
					if len(now[c.Name]) <= i {
						return 0, fmt.Errorf("%s: nobody counts %q", c.Name, text)
					}
					return now[c.Name][i], nil
				}))
		}
	}
	return all
}
