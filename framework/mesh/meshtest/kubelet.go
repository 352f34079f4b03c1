package meshtest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// Kubelet is the far end of port-forwards: an API server that answers only these, by what serves
// each port. As the real one does, it ends both streams of a forward when its port's server is
// done, and says on the error stream why it failed.
type Kubelet struct {
	// Pods are what serves the ports of pods, by namespace/name.
	Pods map[string]Ports

	mu    sync.Mutex
	conns []httpstream.Connection
}

// Ports are what serves the ports of a pod.
type Ports map[int]func(data io.ReadWriter) error

// ServeHTTP takes requests for the subresource portforward of pods that it has.
func (k *Kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(r.URL.Path, "/") // "", api, v1, namespaces, ns, pods, name, portforward
	if len(part) != 8 || part[7] != "portforward" || k.Pods[part[4]+"/"+part[6]] == nil {
		http.Error(w, r.URL.Path+" is no port-forward to a pod that there is", http.StatusForbidden)
		return
	}
	ports := k.Pods[part[4]+"/"+part[6]]
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return // the answer is written
	}
	streams := make(chan httpstream.Stream)
	c := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if c == nil {
		return
	}
	k.mu.Lock()
	k.conns = append(k.conns, c)
	k.mu.Unlock()
	waiting := map[string]httpstream.Stream{} // error streams, by request
	for {
		select {
		case <-c.CloseChan():
			return
		case s := <-streams:
			id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				waiting[id] = s
				continue
			}
			go ports.forward(s, waiting[id])
		}
	}
}

func (p Ports) forward(data, errs httpstream.Stream) {
	port, _ := strconv.Atoi(data.Headers().Get(corev1.PortHeader))
	serve, ok := p[port]
	if !ok {
		serve = func(io.ReadWriter) error { return fmt.Errorf("connect to port %d: connection refused", port) }
	}
	if err := serve(data); err != nil {
		_, _ = io.WriteString(errs, err.Error())
	}
	_ = data.Close()
	_ = errs.Close()
}

// Connections are those that clients have opened so far.
func (k *Kubelet) Connections() []httpstream.Connection {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]httpstream.Connection(nil), k.conns...)
}
