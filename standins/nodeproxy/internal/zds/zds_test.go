package zds

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/zdsapi"
)

// agent is istio-cni's side.
type agent struct {
	t *testing.T
	l *net.UnixListener
	c *net.UnixConn
}

func newAgent(t *testing.T) (*agent, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "z.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &agent{t: t, l: l}, path
}

func (a *agent) accept() {
	a.t.Helper()
	a.l.SetDeadline(time.Now().Add(20 * time.Second))
	c, err := a.l.AcceptUnix()
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	a.c = c
	hello := &zdsapi.ZdsHello{}
	a.read(hello)
	if hello.Version != zdsapi.Version_V1 {
		a.t.Fatalf("hello %v", hello)
	}
}

func (a *agent) read(m proto.Message) error {
	a.c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, MaxPacket)
	n, err := a.c.Read(b)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	return proto.Unmarshal(b[:n], m)
}

// ask sends a request and returns the error of its acknowledgement, or why there was none.
func (a *agent) ask(r *zdsapi.WorkloadRequest, fds ...int) (string, error) {
	a.t.Helper()
	b, err := proto.Marshal(r)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.packet(b, fds...)
}

func (a *agent) packet(b []byte, fds ...int) (string, error) {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := a.c.WriteMsgUnix(b, oob, nil); err != nil {
		return "", err
	}
	resp := &zdsapi.WorkloadResponse{}
	if err := a.read(resp); err != nil {
		return "", err
	}
	return resp.GetAck().GetError(), nil
}

func add(uid string) *zdsapi.WorkloadRequest {
	return &zdsapi.WorkloadRequest{
		Payload: &zdsapi.WorkloadRequest_Add{
			Add: &zdsapi.AddWorkload{Uid: uid, WorkloadInfo: &zdsapi.WorkloadInfo{Name: uid, Namespace: "ns", ServiceAccount: "sa"}},
		},
	}
}

func keep(uid string) *zdsapi.WorkloadRequest {
	return &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Keep{Keep: &zdsapi.KeepWorkload{Uid: uid}}}
}

func del(uid string) *zdsapi.WorkloadRequest {
	return &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Del{Del: &zdsapi.DelWorkload{Uid: uid}}}
}

var sent = &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_SnapshotSent{SnapshotSent: &zdsapi.SnapshotSent{}}}

type recorder struct {
	mu     sync.Mutex
	events []string
	fail   error
	lost   chan struct{}
}

func (r *recorder) note(e string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return r.fail
}
func (r *recorder) Start() { r.note("start") }
func (r *recorder) Lost()  { r.note("lost"); r.lost <- struct{}{} }
func (r *recorder) Add(uid string, i *zdsapi.WorkloadInfo, fd int) error {
	var st unix.Stat_t
	ok := unix.Fstat(fd, &st) == nil
	flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	unix.Close(fd)
	if !ok || flags&unix.FD_CLOEXEC == 0 {
		return errors.New("not a descriptor to keep")
	}
	return r.note("add " + uid + " " + i.Namespace)
}
func (r *recorder) Keep(uid string) error { return r.note("keep " + uid) }
func (r *recorder) Del(uid string) error  { return r.note("del " + uid) }
func (r *recorder) SnapshotSent() error   { return r.note("sent") }

func serve(t *testing.T) (*agent, *recorder, chan error) {
	t.Helper()
	a, path := newAgent(t)
	h := &recorder{lost: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err != nil {
			done <- err
			return
		}
		done <- Serve(context.Background(), c, h)
	}()
	a.accept()
	return a, h, done
}

func devnull(t *testing.T) int {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

func TestConversation(t *testing.T) {
	a, h, done := serve(t)
	fd := devnull(t)
	for _, step := range []func() (string, error){
		func() (string, error) { return a.ask(add("u1"), fd) },
		func() (string, error) { return a.ask(keep("u2")) },
		func() (string, error) { return a.ask(sent) },
		func() (string, error) { return a.ask(del("u1")) },
	} {
		if nack, err := step(); err != nil {
			t.Fatal(err)
		} else if nack != "" {
			t.Fatalf("got NACK %q, want none", nack)
		}
	}
	h.mu.Lock()
	h.fail = errors.New("cannot, " + strings.Repeat("because ", 500))
	h.mu.Unlock()
	if nack, err := a.ask(add("u3"), fd); err != nil { // the reason is cut, so that it fits in a packet
		t.Fatal(err)
	} else if !strings.HasPrefix(nack, "cannot") {
		t.Fatalf("got NACK %q, want the reason", nack)
	}
	a.c.Close()
	if err := <-done; err == nil {
		t.Fatal("end of the connection unnoticed")
	}
	<-h.lost
	want := []string{"start", "add u1 ns", "keep u2", "sent", "del u1", "add u3 ns", "lost"}
	if diff := cmp.Diff(want, h.events); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
}

func TestBreachesEndTheConnection(t *testing.T) {
	fd := devnull(t)
	long := add("u")
	long.GetAdd().WorkloadInfo.Name = strings.Repeat("x", 2*MaxPacket)
	for name, send := range map[string]func(*agent) (string, error){
		"add without descriptor": func(a *agent) (string, error) { return a.ask(add("u")) },
		"add with two":           func(a *agent) (string, error) { return a.ask(add("u"), fd, fd) },
		"more than fit":          func(a *agent) (string, error) { return a.ask(add("u"), fd, fd, fd, fd, fd, fd) },
		"delete with one":        func(a *agent) (string, error) { return a.ask(del("u"), fd) },
		"too long":               func(a *agent) (string, error) { return a.ask(long, fd) },
		"no kind":                func(a *agent) (string, error) { return a.ask(&zdsapi.WorkloadRequest{}) },
		"no uid":                 func(a *agent) (string, error) { return a.ask(del("")) },
		"junk":                   func(a *agent) (string, error) { return a.packet([]byte{0xff, 0xff}) },
	} {
		t.Run(name, func(t *testing.T) {
			a, h, done := serve(t)
			before := openFDs(t)
			if nack, err := send(a); err == nil {
				t.Errorf("acknowledged with %q", nack)
			}
			if err := <-done; err == nil {
				t.Error("no error")
			}
			<-h.lost
			if len(h.events) != 2 {
				t.Errorf("got %v, want two events", h.events)
			}
			a.c.Close()
			if after := openFDs(t); after > before {
				t.Errorf("%d descriptors leaked", after-before)
			}
		})
	}
}

func openFDs(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestFatalErrorIsAcknowledgedFirst(t *testing.T) {
	a, h, done := serve(t)
	h.mu.Lock()
	h.fail = Fatal{errors.New("out of order")}
	h.mu.Unlock()
	if nack, err := a.ask(sent); err != nil {
		t.Fatal(err)
	} else if want := "out of order"; nack != want {
		t.Fatalf("got NACK %q, want %q", nack, want)
	}
	if err := <-done; err == nil {
		t.Fatal("connection kept")
	}
}

func FuzzParse(f *testing.F) {
	for _, r := range []*zdsapi.WorkloadRequest{add("u"), keep("u"), del("u"), sent} {
		b, _ := proto.Marshal(r)
		f.Add(b, 1)
		f.Add(b, 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, fds int) {
		r, err := parse(b, fds)
		if err != nil {
			return
		}
		a := r.GetAdd()
		want := 0 // only a pod that is added comes with its namespace
		if a != nil {
			want = 1
		}
		if fds != want {
			t.Errorf("accepted %v with %d descriptors, want %d", r, fds, want)
		}
		if a != nil && a.Uid == "" {
			t.Errorf("accepted %v, want a uid", r)
		}
		if a != nil && a.WorkloadInfo == nil {
			t.Errorf("accepted %v, want a workload", r)
		}
	})
}
