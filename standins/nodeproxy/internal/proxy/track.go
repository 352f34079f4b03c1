package proxy

import (
	"context"
	"sync"

	"istio.io/istio/pkg/workloadapi"

	"ambient.test/conformance/standins/nodeproxy/internal/rbac"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
)

// Tracker knows the open inbound connections of all pods and cuts those that a change of policy forbids.
type Tracker struct {
	mu   sync.Mutex
	open map[*inboundConn]struct{}
}

type inboundConn struct {
	conn     rbac.Connection
	workload func() *workloadapi.Workload // as istiod describes it now
	cut      context.CancelCauseFunc
	info     ConnectionInfo
}

// ConnectionInfo is an open connection, for dumps.
type ConnectionInfo struct {
	UID, Src, OriginalDst, ActualDst, Protocol string
}

// NewTracker makes an empty one.
func NewTracker() *Tracker { return &Tracker{open: map[*inboundConn]struct{}{}} }

// add takes a connection in; the caller calls the returned function at its end.
func (t *Tracker) add(c *inboundConn) (remove func()) {
	t.mu.Lock()
	t.open[c] = struct{}{}
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		delete(t.open, c)
		t.mu.Unlock()
	}
}

// Open lists the connections.
func (t *Tracker) Open() []ConnectionInfo {
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
	all := make([]*inboundConn, 0, len(t.open))
	for c := range t.open {
		all = append(all, c)
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
