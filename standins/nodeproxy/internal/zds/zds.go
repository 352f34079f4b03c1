// Package zds speaks the protocol by which istio-cni hands a node proxy its pods: one protobuf
// message per packet of a unixpacket socket, the pod's network namespace beside it as a file
// descriptor, one acknowledgement per request.
package zds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/zdsapi"
)

// MaxPacket is the largest message either side reads, bytes.
const MaxPacket = 1024

// Handler does what the agent asks. An error becomes a negative acknowledgement; one that is Fatal
// also ends the connection.
type Handler interface {
	// Start is called for each connection, before any request.
	Start()
	// Add takes over netns, always.
	Add(uid string, info *zdsapi.WorkloadInfo, netns int) error
	Keep(uid string) error
	Del(uid string) error
	SnapshotSent() error
	// Lost is called when the connection ends.
	Lost()
}

// Fatal is a breach of the protocol.
type Fatal struct{ Err error }

func (f Fatal) Error() string { return f.Err.Error() }
func (f Fatal) Unwrap() error { return f.Err }

// Run dials the agent's socket at path and serves it until ctx ends, dialing again with a back-off
// from 10 ms to 15 s.
func Run(ctx context.Context, path string, h Handler, log *slog.Logger) {
	wait := 10 * time.Millisecond
	for ctx.Err() == nil {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err == nil {
			began := time.Now()
			err = Serve(ctx, c, h)
			if time.Since(began) > time.Minute {
				wait = 10 * time.Millisecond
			}
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("connection to istio-cni lost", "socket", path, "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(wait*2, 15*time.Second)
	}
}

// Serve runs the protocol on one connection.
func Serve(ctx context.Context, c *net.UnixConn, h Handler) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	h.Start()
	defer h.Lost()
	if err := send(c, &zdsapi.ZdsHello{Version: zdsapi.Version_V1}); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	for {
		req, fd, err := Read(c)
		if err != nil {
			return err
		}
		err = dispatch(req, fd, h)
		ack := &zdsapi.Ack{}
		if err != nil {
			ack.Error = err.Error()
			if len(ack.Error) > MaxPacket/2 {
				ack.Error = ack.Error[:MaxPacket/2] // the agent reads no more than one packet
			}
		}
		if serr := send(c, &zdsapi.WorkloadResponse{Payload: &zdsapi.WorkloadResponse_Ack{Ack: ack}}); serr != nil {
			return serr
		}
		var fatal Fatal
		if errors.As(err, &fatal) {
			return err
		}
	}
}

func send(c *net.UnixConn, m proto.Message) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

// Read takes one request and the file descriptor beside it, -1 without.
func Read(c *net.UnixConn) (*zdsapi.WorkloadRequest, int, error) {
	buf, oob := make([]byte, MaxPacket), make([]byte, unix.CmsgSpace(4*4))
	n, on, flags, _, err := c.ReadMsgUnix(buf, oob) // sets MSG_CMSG_CLOEXEC
	if err != nil {
		return nil, -1, err
	}
	fds, err := descriptors(oob[:on])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("packet larger than %d bytes, or its descriptors cut off", MaxPacket)
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	var req *zdsapi.WorkloadRequest
	if err == nil {
		req, err = parse(buf[:n], len(fds))
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, -1, err
	}
	if len(fds) == 1 {
		return req, fds[0], nil
	}
	return req, -1, nil
}

func descriptors(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range msgs {
		f, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, f...)
	}
	return fds, nil
}

// parse checks a packet: exactly one descriptor with Add, none with anything else.
func parse(b []byte, fds int) (*zdsapi.WorkloadRequest, error) {
	r := &zdsapi.WorkloadRequest{}
	if err := proto.Unmarshal(b, r); err != nil {
		return nil, err
	}
	want, uid := 0, "-"
	switch p := r.Payload.(type) {
	case *zdsapi.WorkloadRequest_Add:
		want, uid = 1, p.Add.GetUid()
		if p.Add.GetWorkloadInfo() == nil {
			return nil, errors.New("AddWorkload without workload_info")
		}
	case *zdsapi.WorkloadRequest_Keep:
		uid = p.Keep.GetUid()
	case *zdsapi.WorkloadRequest_Del:
		uid = p.Del.GetUid()
	case *zdsapi.WorkloadRequest_SnapshotSent:
	default:
		return nil, errors.New("request of an unknown kind")
	}
	if uid == "" {
		return nil, fmt.Errorf("%T without uid", r.Payload)
	}
	if fds != want {
		return nil, fmt.Errorf("%T with %d file descriptors, expected %d", r.Payload, fds, want)
	}
	return r, nil
}

func dispatch(r *zdsapi.WorkloadRequest, fd int, h Handler) error {
	switch p := r.Payload.(type) {
	case *zdsapi.WorkloadRequest_Add:
		return h.Add(p.Add.Uid, p.Add.WorkloadInfo, fd)
	case *zdsapi.WorkloadRequest_Keep:
		return h.Keep(p.Keep.Uid)
	case *zdsapi.WorkloadRequest_Del:
		return h.Del(p.Del.Uid)
	}
	return h.SnapshotSent()
}
