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

// parameter is the file of a kernel parameter of the network.
func parameter(name string) string { return "/proc/sys/net/" + name }

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

func hostState(ctx context.Context) (hostNetwork, error) {
	s := hostNetwork{Parameters: map[string]string{}, Rules: map[string][]string{}}
	for _, p := range parameters {
		b, err := os.ReadFile(parameter(p))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		if err == nil {
			s.Parameters[p] = strings.TrimSpace(string(b))
		}
	}
	for _, program := range filterPrograms {
		if program == "ip6tables" && !translatesIPv6(ctx) {
			continue
		}
		for _, table := range filterTables {
			out, err := exec.CommandContext(ctx, program, "--wait", "-t", table, "-S").CombinedOutput()
			if err != nil {
				return s, fmt.Errorf("%s -t %s -S: %w: %s", program, table, err, command.Tail(string(out), 1))
			}
			s.Rules[program+" "+table] = strings.Split(strings.TrimSpace(string(out)), "\n")
		}
	}
	return s, nil
}

// translatesIPv6 reports whether the kernel can translate IPv6 addresses. An engine there keeps
// networks apart for both families.
func translatesIPv6(ctx context.Context) bool {
	return exec.CommandContext(ctx, "ip6tables", "--wait", "-t", "nat", "-S").Run() == nil
}

// letNeighborsMeet keeps ip6tables out of what stays within one bridge; see [bridgedIPv6].
func letNeighborsMeet() error {
	err := os.WriteFile(parameter(bridgedIPv6), []byte("0"), 0)
	if errors.Is(err, fs.ErrNotExist) { // then ip6tables do not see it
		return nil
	}
	return err
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
	var before hostNetwork
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
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, command.Tail(string(out), 1))
		}
	}
	for name, value := range before.Parameters {
		if shared || now.Parameters[name] == value {
			continue
		}
		if err := os.WriteFile(parameter(name), []byte(value), 0); err != nil {
			return err
		}
	}
	return os.Remove(l.found())
}
