package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
)

// layout is where the parts of a private engine are.
type layout struct{ dir string }

func layoutIn(cacheDir string) layout {
	if abs, err := filepath.Abs(cacheDir); err == nil {
		cacheDir = abs
	}
	return layout{filepath.Join(cacheDir, "engine")}
}

func (l layout) socket() string   { return filepath.Join(l.dir, "docker.sock") }
func (l layout) pidfile() string  { return filepath.Join(l.dir, "dockerd.pid") }
func (l layout) config() string   { return filepath.Join(l.dir, "daemon.json") }
func (l layout) log() string      { return filepath.Join(l.dir, "dockerd.log") }
func (l layout) dataRoot() string { return filepath.Join(l.dir, "data") }
func (l layout) execRoot() string { return filepath.Join(l.dir, "run") }
func (l layout) netns() string    { return filepath.Join(l.execRoot(), "netns") }
func (l layout) bin() string      { return filepath.Join(l.dir, "bin") }
func (l layout) lock() string     { return filepath.Join(l.dir, "lock") }

// found is what the host's packet filter and forwarding were before the first start; Stop gives them back.
func (l layout) found() string { return filepath.Join(l.dir, "host.json") }

func (l layout) containerdSocket() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.sock")
}
func (l layout) containerdConfig() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.toml")
}
func (l layout) containerdPid() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.pid")
}

// longestSocket is the longest of the sockets that dockerd and its containerd make below the folder.
func (l layout) longestSocket() string {
	return filepath.Join(l.execRoot(), "containerd", "containerd.sock.ttrpc")
}

// maxSocketPath is the size of sun_path less its closing zero, unix(7).
const maxSocketPath = 107

func (l layout) fits() error {
	if n := len(l.longestSocket()); n > maxSocketPath {
		return fmt.Errorf("the cache folder's path is too long by %d: the socket %s would have %d characters, the kernel takes %d: choose a shorter cache folder",
			n-maxSocketPath, l.longestSocket(), n, maxSocketPath)
	}
	return nil
}

// socketGet asks a Unix socket for a page and returns at most 64 KiB of it. It waits until ctx ends: a daemon that is still starting accepts at once and answers later.
func socketGet(ctx context.Context, socket, page string) (string, error) {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+page, nil)
	if err != nil {
		return "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", unwrapURL(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", page, res.Status)
	}
	return string(b), err
}

// unwrapURL takes away the invented URL, which would only confuse.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
