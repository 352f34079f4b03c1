// Command envoyrelay stands where Istio's Envoy stands in a proxy image (/usr/local/bin/envoy), in
// front of an upstream Envoy that lacks Istio's extensions.
//
// The real pilot-agent starts it as it would start Envoy. It starts the real Envoy (ENVOY_REAL,
// default /usr/local/bin/envoy.real) with the same arguments and a bootstrap whose xDS goes through
// it, and passes signals and the exit status on. Without -c it is the real Envoy.
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"ambient.test/conformance/standins/envoyrelay/internal/bootstrap"
	"ambient.test/conformance/standins/envoyrelay/internal/relay"
)

func main() {
	log.SetPrefix("envoyrelay: ")
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	code, err := run(os.Args[1:])
	if err != nil {
		log.Print(err)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	envoy := os.Getenv("ENVOY_REAL")
	if envoy == "" {
		envoy = "/usr/local/bin/envoy.real"
	}
	if i := slices.Index(args, "-c"); i >= 0 && i+1 < len(args) {
		changed, err := serve(args[i+1])
		if err != nil {
			return 1, err
		}
		args = slices.Clone(args)
		args[i+1] = changed
	}
	c := exec.Command(envoy, args...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = dieWithParent()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1)
	if err := c.Start(); err != nil {
		return 1, fmt.Errorf("the real Envoy does not start: %w: set ENVOY_REAL", err)
	}
	go func() {
		for s := range signals {
			_ = c.Process.Signal(s)
		}
	}()
	err := c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return 128 + int(st.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// serve starts the relay for a bootstrap file and writes the changed bootstrap beside it; it
// returns that file's path.
func serve(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	const suffix = "-relay"
	// The agent's socket decides where ours goes: its folder is the one that is writable.
	_, agent, err := bootstrap.Rewrite(b, "")
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	changed, _, err := bootstrap.Rewrite(b, agent+suffix)
	if err != nil {
		return "", err
	}
	if err := os.Remove(agent + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	l, err := net.Listen("unix", agent+suffix)
	if err != nil {
		return "", err
	}
	g, _, err := relay.New(agent, log.Printf)
	if err != nil {
		return "", err
	}
	go func() { log.Fatal(g.Serve(l)) }()
	out := filepath.Join(filepath.Dir(path), "envoyrelay.json")
	return out, os.WriteFile(out, changed, 0o600)
}
