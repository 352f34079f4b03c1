package private

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ambient.test/conformance/internal/progress"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "pause" { // the only program of the trial's image
		if c, err := net.Dial("tcp", os.Args[2]); err == nil {
			defer c.Close()
		}
		time.Sleep(10 * time.Minute) // an empty select would be a deadlock, and end it
	}
	os.Exit(m.Run())
}

// TestPrivateEngine starts a real private engine in a network namespace of its own, kills all of
// it, recovers it and stops it. It needs root, dockerd and about ten seconds: AMC_TRY_ENGINE=1
// CGO_ENABLED=0 go test -run TestPrivateEngine ./clusters/engine/private (its own binary is the
// container, so it must be static)
func TestPrivateEngine(t *testing.T) {
	switch os.Getenv("AMC_TRY_ENGINE") {
	case "":
		t.Skip("set AMC_TRY_ENGINE=1 to start a real engine")
	case "1":
		c := exec.Command(os.Args[0], "-test.run=^TestPrivateEngine$", "-test.v")
		c.Env = append(os.Environ(), "AMC_TRY_ENGINE=inner")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := c.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cache := t.TempDir()
	l := layoutIn(cache)
	before := state(t, ctx)
	start := time.Now()
	lap := func(what string) {
		t.Logf("%-28s %s", what, time.Since(start).Round(time.Millisecond))
		start = time.Now()
	}

	host, err := Start(ctx, cache, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Stop(context.Background(), cache) })
	lap("first start")
	feed := func(stdin io.Reader, args ...string) string {
		t.Helper()
		c := exec.CommandContext(ctx, "docker", args...)
		c.Env, c.Stdin = append(os.Environ(), "DOCKER_HOST="+host), stdin
		var errs strings.Builder
		c.Stderr = &errs
		out, err := c.Output()
		if err != nil {
			t.Fatalf("docker %v: %v: %s", args, err, &errs)
		}
		return strings.TrimSpace(string(out))
	}
	must := func(args ...string) string { t.Helper(); return feed(nil, args...) }
	if diff := cmp.Diff(l.dataRoot(), must("info", "--format", "{{.DockerRootDir}}")); diff != "" {
		t.Fatalf("data root (-want +got):\n%s", diff)
	}
	again, err := Start(ctx, cache, progress.Discard)
	if err != nil {
		t.Fatalf("Start beside the running engine: %v", err)
	}
	if diff := cmp.Diff(host, again); diff != "" {
		t.Fatalf("Start beside the running engine (-want +got):\n%s", diff)
	}
	if _, err := Start(ctx, t.TempDir(), progress.Discard); !strings.Contains(fmt.Sprint(err), "another dockerd") {
		t.Fatalf("a second private engine in the same network namespace: got %v, want a refusal", err)
	}
	lap("two more Starts")
	feed(image(t), "import", "-", "trial:1")
	network := must("network", "create", "trial")
	// A peer that takes a connection and vanishes without a word: when the container is killed, its
	// end waits for an answer, and so does its network namespace.
	peer, err := net.Listen("tcp", must("network", "inspect", "trial", "-f", "{{(index .IPAM.Config 0).Gateway}}")+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	id := must(
		"run", "-d", "--privileged", "--restart", "always", "--network", "trial", "--name", "trial", "trial:1", "/prog", "pause",
		peer.Addr().String(),
	)
	if _, err := peer.Accept(); err != nil {
		t.Fatal(err)
	}
	drop := []string{"INPUT", "-p", "tcp", "--dport", fmt.Sprint(peer.Addr().(*net.TCPAddr).Port), "-j", "DROP"}
	packetFilter(t, append([]string{"-I"}, drop...)...)
	bridge := "br-" + network[:12]
	if n := len(ports(t, bridge)); n != 1 {
		t.Fatalf("the container's bridge has %d ports", n)
	}
	address := must("inspect", "-f", "{{.NetworkSettings.Networks.trial.IPAddress}}", id)
	lap("privileged container")

	killed := killAll(t, l)
	if killed < 3 {
		t.Fatalf("killed %d processes, expected dockerd, containerd, shim and container", killed)
	}
	lap("killed whole")
	if host, err = Start(ctx, cache, progress.Discard); err != nil {
		t.Fatal(err)
	}
	lap("recovery")
	for must("inspect", "-f", "{{.State.Running}}", id) != "true" {
		if ctx.Err() != nil {
			t.Fatal("the container does not come back")
		}
	}
	if a := must("inspect", "-f", "{{.NetworkSettings.Networks.trial.IPAddress}}", id); a != address {
		t.Errorf("the container came back with address %q, had %q", a, address)
	}
	// One port on its bridge: the namespace of the killed container, with the same address, must
	// not stand beside it.
	if p := ports(t, bridge); len(p) != 1 {
		t.Errorf("the container's bridge has the ports %v", p)
	}
	packetFilter(t, append([]string{"-D"}, drop...)...)
	lap("container back")

	if err := Stop(ctx, cache); err != nil {
		t.Fatal(err)
	}
	lap("Stop")
	ps, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if strings.Contains(strings.Join(p.args, " "), cache) {
			t.Errorf("process %d of the cache folder is left: %q", p.pid, p.args)
		}
		if p.inContainer([]string{id}) {
			t.Errorf("process %d of the container is left: %q", p.pid, p.args)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if m := mountsBelow(string(mounts), cache); len(m) > 0 {
		t.Errorf("mounts are left: %v", m)
	}
	if after := state(t, ctx); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the host's network was\n%v\nand is now\n%v", before, after)
	}
	if err := Stop(ctx, cache); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if host, err = Start(ctx, cache, progress.Discard); err != nil {
		t.Fatal(err)
	}
	must("image", "inspect", "trial:1") // the data root outlives Stop
	lap("start after Stop")
	if killAll(t, l) == 0 {
		t.Fatal("nothing to kill")
	}
	if err := Stop(ctx, cache); err != nil {
		t.Errorf("Stop of a killed engine: %v", err)
	}
	if after := state(t, ctx); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after Stop of a killed engine the host's network was\n%v\nand is now\n%v", before, after)
	}
	lap("Stop of a killed engine")
}

// state is what Stop must give back, with the network devices.
func state(t *testing.T, ctx context.Context) []any {
	t.Helper()
	s, err := hostState(ctx)
	if err != nil {
		t.Fatal(err)
	}
	links, err := netlink.LinkList() // sysfs shows those of the namespace it was mounted in
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return []any{s, names}
}

func packetFilter(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("iptables", append([]string{"--wait"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("iptables %v: %v: %s", args, err, out)
	}
}

// ports are the devices on a bridge.
func ports(t *testing.T, bridge string) (names []string) {
	t.Helper()
	b, err := netlink.LinkByName(bridge)
	if err != nil {
		t.Fatal(err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == b.Attrs().Index {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

// killAll ends every process of the engine and its containers by SIGKILL and waits until they are
// gone.
func killAll(t *testing.T, l layout) int {
	t.Helper()
	ps, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	ids, n := l.containerIDs(), 0
	var fds []int
	for _, p := range ps {
		if l.isDaemon(p) || l.isContainerd(p) || l.isShim(p) || p.inContainer(ids) {
			fd, err := unix.PidfdOpen(p.pid, 0)
			if err != nil {
				continue
			}
			fds = append(fds, fd)
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			n++
		}
	}
	for _, fd := range fds {
		if gone, err := waitGone(context.Background(), fd, 10*time.Second); !gone {
			t.Fatalf("a killed process does not end: %v", err)
		}
		unix.Close(fd)
	}
	return n
}

// image is a file system with nothing but this test's binary.
func image(t *testing.T) *bytes.Buffer {
	t.Helper()
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "prog", Mode: 0o755, Size: int64(len(b))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf
}

// A daemon binds its socket before it listens on it: whoever is quick finds no file, then is
// refused, and must ask again.
func TestAnswerWaitsForListen(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	answered := make(chan error, 1)
	go func() { answered <- answer(ctx, socket) }()
	early := func(when string) {
		t.Helper()
		select {
		case err := <-answered:
			t.Fatalf("%s: %v", when, err)
		case <-time.After(60 * time.Millisecond):
		}
	}
	early("before there is a file")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	early("bound, not listening")
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(os.NewFile(uintptr(fd), "listener"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}

	cancel()
	if err := answer(ctx, socket+".nobody"); !errors.Is(err, context.Canceled) {
		t.Fatalf("after the context's end: %v", err)
	}
}
