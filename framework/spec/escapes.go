package spec

import (
	"context"
	"errors"
	"fmt"
)

// Packets are what nodes of one cluster count from some time on. They are a [Subject] whose value
// is an int64.
type Packets struct {
	says   string
	before int64
	count  func(context.Context) (int64, error)
}

// String says what is counted, and where.
func (p Packets) String() string { return p.says }

// Look reads the counters of the nodes.
func (p Packets) Look(ctx context.Context, _ int) (any, error) {
	now, err := p.count(ctx)
	return now - p.before, err
}

func (t *T) packets(says string, count func(context.Context) (int64, error)) Packets {
	before, err := count(t.ctx)
	t.NoError(err)
	return Packets{says, before, count}
}

// Escapes counts from now on the packets by which pods of each cluster try to leave the fleet. It
// is empty on clusters of others, where nobody counts them.
func (t *T) Escapes() (all []Packets) {
	if t.Fixture.Escapes == nil {
		return nil
	}
	for _, c := range t.Clusters {
		all = append(all, t.packets(fmt.Sprintf("packets that pods of %s sent to addresses outside the fleet", c),
			func(ctx context.Context) (int64, error) {
				now, err := t.Fixture.Escapes(ctx)
				return now[c.Name], err
			}))
	}
	return all
}

// Sightings counts from now on the packets of HBONE's port, on the nodes of each cluster, in which
// each of these texts is to be read.
func (t *T) Sightings(texts ...string) (all []Packets) {
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
			all = append(all, t.packets(fmt.Sprintf("packets of HBONE's port on the nodes of %s in which %q is to be read", c, text),
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
