package proxy

import (
	"context"
	"sync"

	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/rbac"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
)

// Tracker knows the open connections of all pods and cuts inbound ones that a change of policy
// forbids.
type Tracker struct {
	mu   sync.Mutex
	open map[*tracked]struct{}
}

type tracked struct {
	info ConnectionInfo

	// inbound only
	conn     rbac.Connection
	workload func() *workloadapi.Workload // as istiod describes it now
	cut      context.CancelCauseFunc
}

// ConnectionInfo is an open connection, for dumps.
type ConnectionInfo struct {
	Direction                             string // inbound or outbound
	Pod                                   string // namespace/name
	Src, OriginalDst, ActualDst, Protocol string
}

// NewTracker makes an empty one.
func NewTracker() *Tracker { return &Tracker{open: map[*tracked]struct{}{}} }

// add takes a connection in; the caller calls the returned function at its end.
func (t *Tracker) add(c *tracked) (remove func()) {
	t.mu.Lock()
	t.open[c] = struct{}{}
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		delete(t.open, c)
		t.mu.Unlock()
	}
}

// All lists the connections.
func (t *Tracker) All() []ConnectionInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []ConnectionInfo
	for c := range t.open {
		out = append(out, c.info)
	}
	return out
}

// Watch checks every open connection again at each change of the store, until ctx ends.
func (t *Tracker) Watch(ctx context.Context, store *state.Store) {
	for {
		changed := store.Changed()
		t.check(store)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Tracker) check(store *state.Store) {
	t.mu.Lock()
	all := make([]*tracked, 0, len(t.open))
	for c := range t.open {
		if c.workload != nil {
			all = append(all, c)
		}
	}
	t.mu.Unlock()
	for _, c := range all {
		w := c.workload()
		if w == nil {
			continue // going away: its connections end with its proxy
		}
		policies, _ := store.PoliciesFor(w)
		if v := rbac.Evaluate(policies, c.conn, nil); !v.Allowed {
			c.cut(&deniedError{late: true, why: v.Reason})
		}
	}
}
