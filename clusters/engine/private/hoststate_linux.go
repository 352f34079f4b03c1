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
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ambient.test/conformance/internal/command"
)

const ipForward = "/proc/sys/net/ipv4/ip_forward"

// rememberHost saves what dockerd will change in the host's network. If an earlier start saved it
// and no Stop followed, it keeps that.
func (l layout) rememberHost(ctx context.Context) error {
	if _, err := os.Stat(l.found()); err == nil {
		return nil
	}
	s, err := hostState(ctx)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := l.found() + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, l.found())
}

func hostState(ctx context.Context) (filterState, error) {
	s := filterState{Rules: map[string][]string{}}
	b, err := os.ReadFile(ipForward)
	if err != nil {
		return s, err
	}
	s.Forwarding = strings.TrimSpace(string(b))
	for _, table := range filterTables {
		out, err := exec.CommandContext(ctx, "iptables", "--wait", "-t", table, "-S").CombinedOutput()
		if err != nil {
			return s, fmt.Errorf("iptables -t %s -S: %w: %s", table, err, command.Tail(string(out), 1))
		}
		s.Rules[table] = strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	return s, nil
}

// bridges are the devices of the engine's networks that are there.
func (l layout) bridges() ([]netlink.Link, error) {
	db, err := os.ReadFile(filepath.Join(l.dataRoot(), "network", "files", "local-kv.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []netlink.Link
	for _, name := range bridgesIn(string(db)) {
		b, err := netlink.LinkByName(name)
		var none netlink.LinkNotFoundError
		if errors.As(err, &none) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("bridge %s: %w", name, err)
		}
		all = append(all, b)
	}
	return all, nil
}

// unplug removes the ports of the engine's bridges. It is called when no container runs, so they
// belong to dead ones: unclosed TCP connections keep a network namespace alive for minutes. The
// container's successor gets the same addresses, and the old namespace would answer in its place.
func (l layout) unplug() error {
	bridges, err := l.bridges()
	if err != nil {
		return err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, x := range links {
		on := func(b netlink.Link) bool { return x.Attrs().MasterIndex == b.Attrs().Index }
		if !slices.ContainsFunc(bridges, on) {
			continue
		}
		var none netlink.LinkNotFoundError
		if err := netlink.LinkDel(x); err != nil && !errors.As(err, &none) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("%s, which a dead container left on a bridge, cannot be removed: %w", x.Attrs().Name, err)
		}
	}
	return nil
}

// restoreHost removes the bridges of the engine's networks and undoes dockerd's changes to the
// packet filter and forwarding.
func (l layout) restoreHost(ctx context.Context) error {
	if err := l.unplug(); err != nil {
		return err
	}
	links, err := l.bridges()
	if err != nil {
		return err
	}
	var bridges []string
	for _, b := range links {
		bridges = append(bridges, b.Attrs().Name)
		if err := netlink.LinkDel(b); err != nil {
			return fmt.Errorf("bridge %s cannot be removed: %w", b.Attrs().Name, err)
		}
	}
	raw, err := os.ReadFile(l.found())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var before filterState
	if err := json.Unmarshal(raw, &before); err != nil {
		return fmt.Errorf("%s is malformed: %w: remove it and run `amc down --stop-engine` again", l.found(), err)
	}
	now, err := hostState(ctx)
	if err != nil {
		return err
	}
	ps, err := processes()
	if err != nil {
		return err
	}
	_, shared := rival(ps, l)
	for _, args := range undo(before, now, bridges, shared) {
		if out, err := exec.CommandContext(ctx, "iptables", append([]string{"--wait"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, command.Tail(string(out), 1))
		}
	}
	if !shared && before.Forwarding == "0" && now.Forwarding != "0" {
		if err := os.WriteFile(ipForward, []byte("0\n"), 0o644); err != nil {
			return err
		}
	}
	return os.Remove(l.found())
}
