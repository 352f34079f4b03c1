package engine

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
)

const ipForward = "/proc/sys/net/ipv4/ip_forward"

// rememberHost writes down what dockerd is going to change in the host's network, unless an earlier start did and no Stop came since.
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
			return s, fmt.Errorf("iptables -t %s -S: %w: %s", table, err, lastLines(string(out), 1))
		}
		s.Rules[table] = strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	return s, nil
}

// giveBackHost removes the bridges of the engine's networks and undoes what dockerd changed in packet filter and forwarding.
func (l layout) giveBackHost(ctx context.Context) error {
	db, err := os.ReadFile(filepath.Join(l.dataRoot(), "network", "files", "local-kv.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var bridges []string
	for _, b := range bridgesIn(string(db)) {
		if _, err := os.Stat(filepath.Join("/sys/class/net", b, "bridge")); err != nil {
			continue
		}
		bridges = append(bridges, b)
		if out, err := exec.CommandContext(ctx, "ip", "link", "delete", b).CombinedOutput(); err != nil {
			return fmt.Errorf("bridge %s cannot be removed: %w: %s", b, err, lastLines(string(out), 1))
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
		return fmt.Errorf("%s is malformed: %w: remove it and run `amc down --engine` again", l.found(), err)
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
			return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, lastLines(string(out), 1))
		}
	}
	if !shared && before.Forwarding == "0" && now.Forwarding != "0" {
		if err := os.WriteFile(ipForward, []byte("0\n"), 0o644); err != nil {
			return err
		}
	}
	return os.Remove(l.found())
}
