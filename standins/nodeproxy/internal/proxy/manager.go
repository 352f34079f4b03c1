package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"istio.io/istio/pkg/zdsapi"

	"ambient.test/conformance/standins/nodeproxy/internal/netns"
	"ambient.test/conformance/standins/nodeproxy/internal/zds"
)

// retryEvery is how long a pod whose ports are still taken (an older node proxy drains) waits for
// the next try.
const retryEvery = 5 * time.Second

// Manager keeps exactly the pods proxied that istio-cni speaks of. It implements zds.Handler.
type Manager struct {
	shared *Shared
	open   func(fd int) (netns.Sockets, error)
	ctx    context.Context

	mu       sync.Mutex
	pods     map[string]*managed
	noted    map[string]bool // uids of the snapshot under way
	snapshot bool            // its end has been seen, on this connection
	retrying bool
}

type managed struct {
	info    *zdsapi.WorkloadInfo
	sockets netns.Sockets
	pod     *Pod // nil while pending
}

// NewManager starts pods with what they share; open takes over a namespace's descriptor.
func NewManager(ctx context.Context, shared *Shared, open func(fd int) (netns.Sockets, error)) *Manager {
	return &Manager{shared: shared, open: open, ctx: ctx, pods: map[string]*managed{}, noted: map[string]bool{}}
}

// Ready tells that the agent's snapshot is complete and every pod of it is proxied.
func (m *Manager) Ready() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot && m.pendingLocked() == 0
}

func (m *Manager) pendingLocked() (n int) {
	for _, x := range m.pods {
		if x.pod == nil {
			n++
		}
	}
	return n
}

func (m *Manager) countLocked() {
	pending := m.pendingLocked()
	m.shared.Recorder.Metrics.PendingProxies.Set(float64(pending))
	m.shared.Recorder.Metrics.ActiveProxies.Set(float64(len(m.pods) - pending))
}

// Start implements zds.Handler: a new connection begins with a new snapshot. Pods proxied stay so.
func (m *Manager) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noted, m.snapshot = map[string]bool{}, false
}

// Lost implements zds.Handler.
func (m *Manager) Lost() { m.Start() }

// Add implements zds.Handler. It is idempotent by uid and namespace; a pod that has got another
// namespace is started anew.
func (m *Manager) Add(uid string, info *zdsapi.WorkloadInfo, fd int) error {
	sockets, err := m.open(fd)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.countLocked()
	if !m.snapshot {
		m.noted[uid] = true
	}
	if old := m.pods[uid]; old != nil {
		if old.sockets.ID() == sockets.ID() && old.pod != nil {
			return sockets.Close()
		}
		m.dropLocked(uid)
	}
	x := &managed{info: info, sockets: sockets}
	err = m.startLocked(x)
	switch {
	case err == nil:
		m.pods[uid] = x
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		m.pods[uid] = x
		if !m.retrying {
			m.retrying = true
			go m.retry()
		}
		return err
	}
	sockets.Close()
	return zds.Fatal{Err: err}
}

func (m *Manager) startLocked(x *managed) error {
	p, err := Start(m.shared, x.info, x.sockets)
	if err != nil {
		m.shared.Log.Error("cannot proxy pod", "pod", x.info.Namespace+"/"+x.info.Name, "error", err)
		return err
	}
	x.pod = p
	m.shared.Recorder.Metrics.ProxiesStarted.Inc()
	m.shared.Log.Info("proxying pod", "pod", p.name(), "netns", x.sockets.ID())
	return nil
}

// retry starts pending pods until none is left.
func (m *Manager) retry() {
	for {
		select {
		case <-time.After(retryEvery):
		case <-m.ctx.Done():
			return
		}
		m.mu.Lock()
		for _, x := range m.pods {
			if x.pod == nil {
				_ = m.startLocked(x)
			}
		}
		m.countLocked()
		if m.retrying = m.pendingLocked() > 0; !m.retrying {
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
	}
}

// dropLocked ends a pod's proxy at once: the pod is gone, nobody waits for a drain.
func (m *Manager) dropLocked(uid string) {
	x := m.pods[uid]
	delete(m.pods, uid)
	if x.pod == nil {
		x.sockets.Close()
		return
	}
	x.pod.closeListeners() // before anything else may bind in the same namespace
	m.shared.Recorder.Metrics.ProxiesStopped.Inc()
	m.shared.Log.Info("pod is gone", "pod", x.pod.name())
	go x.pod.Stop(0)
}

// Keep implements zds.Handler: the agent knows the pod and not its namespace.
func (m *Manager) Keep(uid string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapshot {
		return zds.Fatal{Err: fmt.Errorf("protocol error: KeepWorkload %s after the snapshot", uid)}
	}
	m.noted[uid] = true
	return nil
}

// Del implements zds.Handler. Before the snapshot is complete it only takes the pod off it.
func (m *Manager) Del(uid string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.snapshot {
		delete(m.noted, uid)
		return nil
	}
	if m.pods[uid] != nil {
		m.dropLocked(uid)
		m.countLocked()
	}
	return nil
}

// SnapshotSent implements zds.Handler: what the snapshot did not name is gone.
func (m *Manager) SnapshotSent() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapshot {
		return zds.Fatal{Err: errors.New("protocol error: a second SnapshotSent")}
	}
	m.snapshot = true
	for uid := range m.pods {
		if !m.noted[uid] {
			m.dropLocked(uid)
		}
	}
	m.noted = nil
	m.countLocked()
	return nil
}

// Pods describes the pods for dumps, by uid.
func (m *Manager) Pods() map[string]PodState {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]PodState{}
	for uid, x := range m.pods {
		s := PodState{Info: x.info, State: "Up"}
		if x.pod == nil {
			s.State = "Pending"
		}
		out[uid] = s
	}
	return out
}

// PodState is one pod in a dump.
type PodState struct {
	Info  *zdsapi.WorkloadInfo
	State string
}

// Shutdown drains all pods side by side.
func (m *Manager) Shutdown(grace time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var wg sync.WaitGroup
	for uid, x := range m.pods {
		delete(m.pods, uid)
		if x.pod == nil {
			x.sockets.Close()
			continue
		}
		wg.Go(func() { x.pod.Stop(grace) })
	}
	wg.Wait()
}
