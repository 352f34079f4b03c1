package traffic

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/pkg/test/echo/proto"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
)

// Ports of the echo application. Services map 80 to HTTP, 443 to HTTPS, and keep the others.
const (
	HTTP        = 8080
	HTTPS       = 8443 // only where a spec asks for it
	TCP         = 9090
	ServerFirst = 9091
	GRPC        = 7070 // the suite drives the application by it, too
)

// CallTimeout is how long one call may take by default.
const CallTimeout = 5 * time.Second

// Parallel is how many calls of one client run at the same time, whoever asks for them. Specs that
// run side by side would otherwise make so many at once, each with two TLS handshakes for each
// tunnel, that a small machine answers some of them later than [CallTimeout].
const Parallel = 8

// Call describes calls to make; each is on a connection of its own.
type Call struct {
	URL         string            // http://, tcp://, grpc://, ws://
	Times       int               // default 1
	Timeout     time.Duration     // of one call; default [CallTimeout]
	Headers     map[string]string // of the request
	Method      string            // default GET
	Message     string            // body of TCP and gRPC calls
	Await       string            // TCP: what must be in the answer, where it is not the echo application's
	HTTP2       bool              // prior knowledge
	Reuse       int               // >1: this many requests on ONE connection count as the calls (HTTP/2, gRPC only)
	ServerFirst bool              // TCP: the server speaks first
	CA          string            // TLS: the only authority that is trusted, as PEM; default any
	ServerName  string            // TLS: the server that is asked for, and trusted; default that of the URL
	Tunnel      *Tunnel           // HBONE around the connection; default none
	InTurn      bool              // each call begins when the one before has ended
}

// begin makes one of the calls, beside the others or in turn.
func (c Call) begin(beside *sync.WaitGroup, one func()) {
	if c.InTurn {
		one()
		return
	}
	beside.Go(one)
}

// Tunnel is HBONE around a call's connection, as a ztunnel makes it. The echo client speaks it.
type Tunnel struct {
	// Proxy is the address (host:port) that the tunnel is opened at.
	Proxy string
	// Cert and Key are PEM; empty = no certificate.
	Cert, Key string
	// Double opens a second tunnel inside the first, to the same authority and with the same
	// certificate, as to another network.
	Double bool
}

// in puts the tunnel into a request.
func (t *Tunnel) in(req *proto.ForwardEchoRequest, authority string) {
	outer := &proto.HBONE{Address: t.Proxy, Cert: t.Cert, Key: t.Key, InsecureSkipVerify: true}
	if !t.Double {
		req.Hbone = outer
		return
	}
	req.DoubleHbone = outer
	req.Hbone = &proto.HBONE{Address: authority, InsecureSkipVerify: true} // the client takes the outer certificate
}

// Client drives the echo application in one pod over one stream that stays open for the whole run.
type Client struct {
	Cluster *mesh.Cluster
	Name    string // for messages: workload and cluster, such as "client in cluster1"
	Pod     *portforward.Pod
	grpc    *grpc.ClientConn
	slots   chan struct{} // one for each call that runs
}

// Dial opens the stream to the pod.
func Dial(pod *portforward.Pod, name string) (*Client, error) {
	cc, err := grpc.NewClient("passthrough:///"+pod.Name,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pod.Dial(ctx, GRPC) }))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pod, err)
	}
	return newClient(pod, name, cc), nil
}

func newClient(pod *portforward.Pod, name string, cc *grpc.ClientConn) *Client {
	return &Client{Cluster: pod.Cluster, Name: name + " in " + pod.Cluster.Name, Pod: pod, grpc: cc, slots: make(chan struct{}, Parallel)}
}

// Close ends the stream.
func (c *Client) Close() { _ = c.grpc.Close(); c.Pod.Close() }

// Record describes one Do: who called what, with which outcomes.
type Record struct {
	At       time.Time // when it began
	Took     time.Duration
	From     string // name of the client
	Call     Call
	Outcomes Outcomes
	Err      error // the pod could not be driven
}

type recorder struct{}

// WithRecorder returns a context under which every Do calls record when it has ended, from the
// goroutine that made the calls.
func WithRecorder(ctx context.Context, record func(Record)) context.Context {
	return context.WithValue(ctx, recorder{}, record)
}

// Do makes the calls and returns the outcome of each. An error says nothing about the mesh: the pod
// could not be driven.
func (c *Client) Do(ctx context.Context, call Call) (Outcomes, error) {
	start := time.Now()
	out, err := c.do(ctx, call)
	if record, ok := ctx.Value(recorder{}).(func(Record)); ok {
		record(Record{At: start, Took: time.Since(start), From: c.Name, Call: call, Outcomes: out, Err: err})
	}
	return out, err
}

func (c *Client) do(ctx context.Context, call Call) (Outcomes, error) {
	times, requests := max(call.Times, 1), 1
	if call.Reuse > 1 {
		times, requests = 1, call.Reuse
	}
	outs, errs := make([]Outcomes, times), make([]error, times)
	var wg sync.WaitGroup
	for i := range times {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			errs[i] = ctx.Err()
			continue
		}
		call.begin(&wg, func() {
			defer func() { <-c.slots }()
			outs[i], errs[i] = c.forward(ctx, call, requests)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(outs...), nil
}

func (c *Client) forward(ctx context.Context, call Call, count int) (Outcomes, error) {
	timeout := cmp.Or(call.Timeout, CallTimeout)
	req := &proto.ForwardEchoRequest{
		Url: call.URL, Count: int32(count), TimeoutMicros: timeout.Microseconds(), Method: call.Method, Message: call.Message, Http2: call.HTTP2,
		ServerFirst: call.ServerFirst, NewConnectionPerRequest: call.Reuse <= 1, ForceDNSLookup: false, InsecureSkipVerify: call.CA == "",
		CaCert: call.CA, ServerName: call.ServerName,
	}
	if call.Await != "" {
		req.ExpectedResponse = wrapperspb.String(call.Await)
	}
	if call.Tunnel != nil {
		u, err := url.Parse(call.URL)
		if err != nil {
			return nil, err
		}
		call.Tunnel.in(req, u.Host)
	}
	for k, v := range call.Headers {
		req.Headers = append(req.Headers, &proto.Header{Key: k, Value: v})
	}
	// The pod gives up first; what comes after that is a broken stream to the pod, not an outcome.
	ctx, cancel := context.WithTimeout(ctx, timeout+10*time.Second)
	defer cancel()
	start := time.Now()
	resp, err := proto.NewEchoTestServiceClient(c.grpc).ForwardEcho(ctx, req, grpc.WaitForReady(true))
	took := time.Since(start)
	if err != nil {
		if s, ok := status.FromError(err); ok && s.Code() == codes.Unknown { // the handler's own error: the call failed
			return Outcomes{fail(s.Message(), took)}, nil
		}
		return nil, fmt.Errorf("%s cannot be driven: %w: is pod %s alive? (`kubectl -n %s get pod %s`)", c.Name, err, c.Pod,
			c.Pod.Namespace, c.Pod.Name)
	}
	out := make(Outcomes, len(resp.Output))
	for i, s := range resp.Output {
		out[i] = parse(call.URL, s, took)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: the echo client answered nothing for %s", c.Name, call.URL)
	}
	return out, nil
}
