// Command ociwrap stands in front of an OCI runtime (runc) where the capability bounding set is
// short, usually by CAP_SYS_RESOURCE. There runc fails on every privileged container with "unable
// to apply caps". The wrapper removes from the container's spec only what the kernel would refuse
// anyway. Then it becomes the real runtime: RUNC_REAL, else runc.real beside itself, else the
// system's runc.
//
// It uses the standard library only and is built static, because it also runs inside node images.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ambient.test/conformance/clusters/engine/private/capset"
)

func main() {
	call := parse(os.Args[1:])
	err := narrowFile(call)
	var runtime string
	if err == nil {
		runtime, err = realRuntime()
	}
	if err == nil {
		err = fmt.Errorf(
			"cannot start the real runtime %s: %w", runtime,
			syscall.Exec(runtime, append([]string{runtime}, os.Args[1:]...), os.Environ()),
		)
	}
	report(call, err)
	os.Exit(1)
}

// narrowFile rewrites the spec that the call will read, if it reads one and anything must be
// removed.
func narrowFile(c call) error {
	var narrow func([]byte, bounds) ([]byte, error)
	var file string
	switch {
	case c.command == "create" || c.command == "run" || c.command == "restore":
		file, narrow = filepath.Join(c.bundle, "config.json"), narrowSpec
	case c.command == "exec" && c.process != "":
		file, narrow = c.process, narrowProcess
	default:
		return nil
	}
	b, err := ownBounds()
	if err != nil {
		return err
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: the container's spec cannot be read: %w", c.command, err)
	}
	narrowed, err := narrow(old, b)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", c.command, file, err)
	}
	if narrowed == nil {
		return nil
	}
	return replace(file, narrowed)
}

// replace overwrites the file atomically and keeps its mode.
func replace(file string, content []byte) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	tmp := file + ".narrowed"
	if err := os.WriteFile(tmp, content, st.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// ownBounds reads what this process, and so the container that it starts, may have at most.
func ownBounds() (bounds, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return bounds{}, err
	}
	b := bounds{limits: hardLimits}
	if b.caps, err = capset.Bounding(string(status)); err != nil {
		return bounds{}, err
	}
	if score, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		b.oomScore, _ = strconv.Atoi(strings.TrimSpace(string(score)))
	}
	return b, nil
}

// realRuntime finds the runtime to become, never this program itself.
func realRuntime() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	candidates := []string{os.Getenv("RUNC_REAL")}
	if candidates[0] == "" {
		candidates = []string{filepath.Join(filepath.Dir(self), "runc.real"), "/usr/sbin/runc", "/usr/bin/runc"}
	}
	return firstRuntime(self, candidates)
}

func firstRuntime(self string, candidates []string) (string, error) {
	me, err := os.Stat(self)
	if err != nil {
		return "", err
	}
	for _, p := range candidates {
		st, err := os.Stat(p)
		if err == nil && !st.IsDir() && st.Mode()&0o111 != 0 && !os.SameFile(me, st) {
			return p, nil
		}
	}
	return "", fmt.Errorf("no real OCI runtime at %s: set RUNC_REAL to the path of runc", strings.Join(candidates, ", "))
}

// report writes the error where containerd looks for it: to the runtime's log file and to standard
// error.
func report(c call, err error) {
	fmt.Fprintf(os.Stderr, "ociwrap: %v\n", err)
	if c.log == "" {
		return
	}
	f, openErr := os.OpenFile(c.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if openErr != nil {
		return
	}
	defer f.Close()
	line := fmt.Sprintf("time=%q level=error msg=%q", time.Now().Format(time.RFC3339), "ociwrap: "+err.Error())
	if c.logJSON {
		b, _ := json.Marshal(map[string]string{"level": "error", "msg": "ociwrap: " + err.Error(), "time": time.Now().Format(time.RFC3339)})
		line = string(b)
	}
	fmt.Fprintln(f, line)
}
