package private

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ambient.test/conformance/clusters/apt"
	"ambient.test/conformance/clusters/engine/socket"
	"ambient.test/conformance/internal/command"
	"ambient.test/conformance/internal/filelock"
	"ambient.test/conformance/internal/progress"
)

const (
	readyWithin = 2 * time.Minute  // from start to the first answer; recovery of a fleet's containers is part of it
	stopWithin  = 60 * time.Second // dockerd itself gives its containers 15 s
)

// Start returns the DOCKER_HOST of the private engine under the cache folder. If none runs, it
// starts a dockerd on the same data root.
func Start(ctx context.Context, cacheDir string, show progress.Reporter) (host string, err error) {
	l := layoutIn(cacheDir)
	if err := os.MkdirAll(l.dir, 0o711); err != nil {
		return "", err
	}
	unlock, err := filelock.Wait(ctx, l.lock(), nil)
	if err != nil {
		return "", err
	}
	defer unlock()
	phase := show.Phase("engine", 1)
	item := phase.Item("private dockerd")
	defer func() { item.Done(err); phase.Close(err) }()

	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Minute, errors.New("no private engine within 15 minutes"))
	defer cancel()
	if err := l.ensureRunning(ctx, item); err != nil {
		return "", err
	}
	if err := letNeighborsMeet(); err != nil {
		return "", err
	}
	return "unix://" + l.socket(), nil
}

func (l layout) ensureRunning(ctx context.Context, item progress.Item) error {
	ps, err := processes()
	if err != nil {
		return err
	}
	for _, p := range ps {
		if l.isDaemon(p) {
			item.Note("waiting for dockerd (process %d)", p.pid)
			ctx, cancel := context.WithTimeout(ctx, readyWithin)
			defer cancel()
			if err := answer(ctx, l.socket()); err != nil {
				return fmt.Errorf(
					"the private dockerd (process %d) does not answer: %w: run `amc down --stop-engine` and try again; its log is %s",
					p.pid,
					err,
					l.log(),
				)
			}
			return nil
		}
	}
	if p, ok := rival(ps, l); ok {
		return fmt.Errorf(
			"another dockerd runs on this machine (process %d: %s), and two of them would delete each other's iptables rules: "+
				"use --engine docker with DOCKER_HOST set to it, or stop it",
			p.pid,
			strings.Join(p.args, " "),
		)
	}
	if err := apt.Ensure(ctx, item.Note, tools...); err != nil {
		return err
	}
	if err := apt.Ensure(ctx, item.Note, apt.Tool{Program: "docker", Package: "docker-cli"}); err != nil {
		return err
	}
	if err := l.clearStale(ctx); err != nil {
		return err
	}
	if err := l.configure(ctx, item); err != nil {
		return err
	}
	if err := l.rememberHost(ctx); err != nil {
		return err
	}
	item.Note("starting dockerd")
	return l.launch(ctx)
}

// tools are the programs that a private engine needs. docker-cli is a package of its own since
// Debian 13; before, docker.io brings it.
var tools = []apt.Tool{
	{Program: "dockerd", Package: "docker.io"}, {Program: "containerd", Package: "docker.io"}, {Program: "runc", Package: "docker.io"},
	{Program: "iptables", Package: "iptables"}, {Program: "ip", Package: "iproute2"},
}

// clearStale removes what a killed engine left and what would make a new one fail: processes, the
// socket, the files with process ids (which may be another program's by now), and the network of
// its containers.
func (l layout) clearStale(ctx context.Context) error {
	if err := l.endLeftovers(ctx); err != nil {
		return err
	}
	if err := unmount(l.netns()); err != nil {
		return err
	}
	if err := l.unplug(); err != nil {
		return err
	}
	for _, f := range []string{l.socket(), l.pidfile(), l.containerdPid()} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// configure writes dockerd's configuration. All options are in it, so that dockerd ignores the
// user's /etc/docker/daemon.json.
func (l layout) configure(ctx context.Context, item progress.Item) error {
	runtime := ""
	if short := MissingCapabilities(readFile); len(short) > 0 {
		runtime = filepath.Join(l.bin(), "ociwrap-"+WrapperKey()[:12])
		if _, err := os.Stat(runtime); err != nil {
			item.Note("building the OCI runtime wrapper (the bounding set lacks %s)", strings.Join(short, ", "))
			if err := BuildWrapper(ctx, runtime); err != nil {
				return err
			}
		}
		runc, err := exec.LookPath("runc")
		if err != nil {
			return fmt.Errorf("runc is not in PATH: run `apt-get install runc`")
		}
		real := filepath.Join(l.bin(), "runc.real")
		if err := os.Remove(real); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(runc, real); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(l.daemonConfig(runtime, translatesIPv6(ctx)), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(l.config(), append(b, '\n'), 0o600)
}

// launch starts dockerd and returns when it answers. dockerd gets a session of its own, so that it
// outlives this process and its terminal.
func (l layout) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("no answer within %s", readyWithin))
	defer cancel()
	if err := os.Rename(l.log(), l.log()+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	log, err := os.OpenFile(l.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command("dockerd", "--config-file", l.config())
	c.Stdout, c.Stderr, c.Dir = log, log, "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("dockerd does not start: %w", err)
	}
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()

	answered := make(chan error, 1)
	go func() { answered <- answer(ctx, l.socket()) }()
	select {
	case <-ended:
		err = errors.New("dockerd ended: " + failure(l.log()))
	case err = <-answered:
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%w: %s", err, failure(l.log()))
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	return fmt.Errorf("the private engine does not come up: %w: see %s", err, l.log())
}

// failure returns the lines of dockerd's log that say why it ended.
func failure(log string) string {
	b, _ := os.ReadFile(log)
	return failureIn(string(b))
}

// answer returns once the daemon answers on its socket. A bound socket gives no notice when it
// begins to listen, so answer tries again and again.
func answer(ctx context.Context, path string) error {
	for {
		_, err := socket.Get(ctx, path, "/_ping") // accepted early, answered when it is ready
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return command.Cause(ctx, err)
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Stop ends the private engine under the cache folder with its containers. It removes what they
// left on the host: processes, mounts, bridges and packet filter rules. The data root stays, so
// that the next Start finds its images. Without a private engine Stop does nothing, and it never
// touches another Docker.
func Stop(ctx context.Context, cacheDir string) error {
	l := layoutIn(cacheDir)
	if _, err := os.Stat(l.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the private engine in %s was started by root: run `amc down --stop-engine` as root", l.dir)
	}
	unlock, err := filelock.Wait(ctx, l.lock(), nil)
	if err != nil {
		return err
	}
	defer unlock()
	ps, err := processes()
	if err != nil {
		return err
	}
	for _, p := range ps {
		if l.isDaemon(p) {
			if err := end(ctx, p, syscall.SIGTERM, stopWithin); err != nil {
				return err
			}
		}
	}
	if err := l.endLeftovers(ctx); err != nil {
		return err
	}
	if err := unmount(l.dir); err != nil {
		return err
	}
	if err := l.restoreHost(ctx); err != nil {
		return err
	}
	for _, f := range []string{l.execRoot(), l.socket(), l.pidfile(), l.config()} {
		if err := os.RemoveAll(f); err != nil {
			return err
		}
	}
	return nil
}

// endLeftovers kills what outlived dockerd: its containerd, the shims and the processes of its
// containers. New ones may appear meanwhile, so it repeats until there are none.
func (l layout) endLeftovers(ctx context.Context) error {
	ids := l.containerIDs()
	for range 10 {
		ps, err := processes()
		if err != nil {
			return err
		}
		left := 0
		for _, p := range ps {
			if l.isDaemon(p) || l.isContainerd(p) || l.isShim(p) || p.inContainer(ids) {
				left++
				if err := end(ctx, p, syscall.SIGKILL, 10*time.Second); err != nil {
					return err
				}
			}
		}
		if left == 0 {
			return nil
		}
	}
	return fmt.Errorf("processes of the private engine in %s keep coming back: stop what starts them and run `amc down --stop-engine` again",
		l.dir)
}

// end signals a process and waits until it is gone. A process that is still there after the given
// time is killed.
func end(ctx context.Context, p process, sig syscall.Signal, within time.Duration) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", p.pid, err)
	}
	defer unix.Close(fd)
	if !p.same() { // the number went to another process between looking and opening
		return nil
	}
	for _, s := range []syscall.Signal{sig, syscall.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil {
			if errors.Is(err, unix.ESRCH) {
				return nil
			}
			return fmt.Errorf("process %d (%s) cannot be stopped: %w", p.pid, p.name(), err)
		}
		gone, err := waitGone(ctx, fd, within)
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("process %d (%s) does not end, not even by SIGKILL", p.pid, p.name())
}

// waitGone waits for the process behind a pidfd. It checks the context once a second, because poll
// cannot wait for it.
func waitGone(ctx context.Context, pidfd int, within time.Duration) (bool, error) {
	for deadline := time.Now().Add(within); ; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		wait := min(time.Until(deadline), time.Second)
		if wait <= 0 {
			return false, nil
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(wait.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
	}
}

// unmount removes every mount below the folder, the newest first.
func unmount(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, m := range mountsBelow(string(b), dir) {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", m, err)
		}
	}
	return nil
}
