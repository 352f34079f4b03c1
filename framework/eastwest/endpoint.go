package eastwest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/portforward"
)

// quiet is how long a peer may stay silent before it counts as silent.
const quiet = 2 * time.Second

// Endpoint is one pod behind a gateway's address. Its methods return an error when nothing was
// learned: a stream to the pod broke, or our time was over. That is never a refusal.
type Endpoint struct {
	IP       string // of the pod, in its own cluster
	pod      *portforward.Pod
	uid      string
	restarts int
}

// Close ends the connections into the pod.
func (e *Endpoint) Close() { e.pod.Close() }

// String names the pod.
func (e *Endpoint) String() string { return "pod " + e.pod.Name }

func restarts(pod *corev1.Pod) (n int) {
	for _, s := range pod.Status.ContainerStatuses {
		n += int(s.RestartCount)
	}
	return n
}

// Died says whether a container of the pod was restarted since it was found. A gateway must survive
// whatever is sent to it. One that is gone says nothing: autoscalers, nodes and rollouts take pods away, too.
func (e *Endpoint) Died(ctx context.Context) (bool, error) {
	pod := &corev1.Pod{}
	err := e.pod.Cluster.Client().Get(ctx, client.ObjectKey{Namespace: e.pod.Namespace, Name: e.pod.Name}, pod)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, err
	}
	return string(pod.UID) == e.uid && restarts(pod) > e.restarts, nil
}

// closing is how long a gateway may take to close a connection that it refuses. Envoy sends its
// alert at once, but delays the close by a second, and by more on a busy machine.
const closing = 10 * time.Second

// Reply is what came back for bytes that are no HBONE.
type Reply struct {
	Way   string // how the gateway was reached
	Bytes []byte
	// LeftOpen says that the gateway did not close the connection within ten seconds.
	LeftOpen bool
}

// String is for messages.
func (r Reply) String() string {
	if r.LeftOpen {
		return fmt.Sprintf("%s: %d bytes %x, connection left open", r.Way, len(r.Bytes), r.Bytes)
	}
	return fmt.Sprintf("%s: %d bytes %x, then closed", r.Way, len(r.Bytes), r.Bytes)
}

// Send writes bytes to the gateway's port and reads until the gateway closes.
func (e *Endpoint) Send(ctx context.Context, payload []byte) (Reply, error) {
	c, err := e.pod.Dial(ctx, Port)
	if err != nil {
		return Reply{}, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(payload); err != nil {
		return Reply{}, err
	}
	_ = c.SetDeadline(time.Now().Add(closing))
	got, err := io.ReadAll(c)
	var timeout net.Error
	late := errors.As(err, &timeout) && timeout.Timeout()
	if !late {
		if err := portforward.Lost(c); err != nil {
			return Reply{}, err
		}
	}
	return Reply{e.String(), got, late}, nil
}

// WithCertificate returns the TLS configuration of a client of the mesh. With a nil id the client
// has no certificate.
func WithCertificate(id *Identity) *tls.Config {
	if id == nil {
		return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, InsecureSkipVerify: true}
	}
	return id.config()
}

// Answer is the result of one attempt at a gateway.
type Answer struct {
	Way string // how the gateway was reached
	// Refusal says that no tunnel was opened; then nothing else is set.
	Refusal *Refusal
	// Cluster is the cluster of the echo server that answered.
	Cluster string
	// Code and Body are the HTTP answer. If there is none, Raw holds the bytes that came, and Err says
	// why there were no more.
	Code int
	Body string
	Raw  []byte
	Err  error
}

// String is for messages.
func (a Answer) String() string {
	switch {
	case a.Refusal != nil:
		return a.Way + ": " + a.Refusal.Error()
	case a.Code == 0:
		return fmt.Sprintf("%s: tunnel, then no HTTP answer but %d bytes %.200x: %v", a.Way, len(a.Raw), a.Raw, a.Err)
	case a.Cluster != "":
		return fmt.Sprintf("%s: tunnel, then status %d from %s", a.Way, a.Code, a.Cluster)
	}
	return fmt.Sprintf("%s: tunnel, then status %d, body %.120q", a.Way, a.Code, a.Body)
}

// single opens one HBONE tunnel to authority (host:port), as a client inside the gateway's network
// would.
func (e *Endpoint) single(ctx context.Context, id *Identity, authority string) (*Tunnel, error) {
	return e.outer(ctx, id, authority, nil)
}

func (e *Endpoint) outer(ctx context.Context, id *Identity, authority string, headers map[string]string) (*Tunnel, error) {
	c, err := e.pod.Dial(ctx, Port)
	if err != nil {
		return nil, err
	}
	return tunnel(ctx, "outer", c, id, authority, headers)
}

// double opens an HBONE tunnel to authority and a second one inside it, as a ztunnel of another
// network does.
func (e *Endpoint) double(ctx context.Context, id Pair, authority string) (*Tunnel, error) {
	o, err := e.outer(ctx, id.Outer, authority, id.Headers)
	if err != nil {
		return nil, err
	}
	return nest(ctx, o, id.Inner, authority)
}

// nest opens a tunnel inside another one, which it closes where that fails.
func nest(ctx context.Context, outer *Tunnel, id *Identity, authority string) (*Tunnel, error) {
	behind := &counted{Conn: outer}
	in, err := tunnel(ctx, "inner", behind, id, authority, map[string]string{"X-Forwarded-Network": "amc"})
	if err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) {
			refusal.Answered = behind.bytes.Load() > 0
		}
		_ = outer.Close()
		return nil, err
	}
	return in, nil
}

// counted counts the bytes that were read.
type counted struct {
	net.Conn
	bytes atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

// Lost says whether what carries the connection was lost.
func (c *counted) Lost() error { return portforward.Lost(c.Conn) }

// Pair are the identities of a client in the outer and in the inner tunnel; nil has no certificate.
type Pair struct {
	Outer, Inner *Identity
	Headers      map[string]string // of the outer CONNECT
}

// Both is one identity in both tunnels.
func Both(id *Identity) Pair { return Pair{Outer: id, Inner: id} }

// CallDouble makes one HTTP request to host's port 80 by double HBONE, as a ztunnel of another
// network does.
func (e *Endpoint) CallDouble(ctx context.Context, id Pair, host string) (Answer, error) {
	t, err := e.double(ctx, id, host+":80")
	return e.get(t, err, host)
}

// CallSingle makes one HTTP request to host's port 80 by single HBONE, as a ztunnel of the
// gateway's own network would.
func (e *Endpoint) CallSingle(ctx context.Context, id *Identity, host string) (Answer, error) {
	t, err := e.single(ctx, id, host+":80")
	return e.get(t, err, host)
}

func (e *Endpoint) get(t *Tunnel, err error, host string) (Answer, error) {
	return e.through(t, err, func(a *Answer) {
		a.Code, a.Body, a.Raw, a.Err = t.Get(host)
		a.Cluster = clusterIn(a.Body)
	})
}

// refused makes a refusal an answer. Of any other error nothing was learned.
func (e *Endpoint) refused(err error) (Answer, error) {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return Answer{Way: e.String(), Refusal: refusal}, nil
	}
	return Answer{}, err
}

// through makes one attempt in a tunnel that may have been refused, and closes it.
func (e *Endpoint) through(t *Tunnel, err error, attempt func(*Answer)) (Answer, error) {
	if err != nil {
		return e.refused(err)
	}
	defer func() { _ = t.Close() }()
	a := Answer{Way: e.String()}
	attempt(&a)
	if a.Code == 0 && len(a.Raw) == 0 {
		if err := t.Lost(); err != nil {
			return Answer{}, err
		}
	}
	return a, nil
}

// Protocol is what a server behind a gateway is addressed in.
type Protocol string

// Protocols of what may be behind a gateway.
const (
	HTTP Protocol = "HTTP/1.1"
	H2C  Protocol = "HTTP/2 without TLS"
	TLS  Protocol = "TLS"
	// HBONE is what a ztunnel is addressed in: a second tunnel in the first, and an HTTP request in
	// it.
	HBONE Protocol = "HBONE"
)

// Speak opens a tunnel to authority (host:port) and addresses what is behind it in its own
// protocol. But for HBONE, every byte that comes back is in Raw.
func (e *Endpoint) Speak(ctx context.Context, id *Identity, authority string, in Protocol) (Answer, error) {
	if in == HBONE {
		t, err := e.double(ctx, Both(id), authority)
		return e.get(t, err, authority)
	}
	t, err := e.single(ctx, id, authority)
	return e.through(t, err, func(a *Answer) {
		_ = t.SetDeadline(time.Now().Add(quiet))
		c := &heard{Conn: t.Conn}
		a.Err = greet(ctx, c, authority, in)
		a.Raw = c.bytes.Bytes()
	})
}

// heard keeps the bytes that were read.
type heard struct {
	net.Conn
	bytes bytes.Buffer
}

func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.bytes.Write(b[:n])
	return n, err
}

// greet says hello in a protocol and reads what comes.
func greet(ctx context.Context, c net.Conn, authority string, in Protocol) error {
	switch in {
	case TLS:
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}).HandshakeContext(ctx)
	case H2C:
		if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
			return err
		}
		if err := http2.NewFramer(c, nil).WriteSettings(); err != nil {
			return err
		}
	default:
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+authority+"/version", nil)
		if err != nil {
			return err
		}
		if err := r.Write(c); err != nil {
			return err
		}
	}
	_, err := c.Read(make([]byte, 512))
	return err
}

// Died is what is seen of a gateway whose pod died of an attempt. It is as expected nowhere.
type Died string

// String is for messages.
func (d Died) String() string { return string(d) + " of the gateway died or was restarted" }
