package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ambient.test/conformance/framework/mesh"
)

func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// kubeconfig leads to a server, with a token that must never be shown.
func kubeconfig(t *testing.T, server string) string {
	return write(t, filepath.Join(t.TempDir(), "config"), `apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: "`+server+`"}}]
users: [{name: u, user: {token: very-secret}}]
contexts: [{name: east, context: {cluster: k, user: u}}]
current-context: east
`, 0o600)
}

func TestFleetInitRefusesBadInput(t *testing.T) {
	dir := t.TempDir()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer refusing.Close()
	good := kubeconfig(t, refusing.URL)
	taken := t.TempDir()
	write(t, filepath.Join(taken, "fleet.yaml"), "x", 0o600)
	for what, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no context":      {[]string{"--kubeconfig", good}, exitUsage, "has: east"},
		"unknown context": {[]string{"--kubeconfig", good, "--contexts", "west"}, exitUsage, "it has: east"},
		"the same twice":  {[]string{"--kubeconfig", good, "--contexts", "east,east"}, exitUsage, "once"},
		"a blank between": {[]string{"--kubeconfig", good, "--contexts", "east, east"}, exitUsage, "once"},
		"no kubeconfig":   {[]string{"--kubeconfig", filepath.Join(dir, "none"), "--contexts", "east"}, exitUsage, "--kubeconfig"},
		"no context at all": {
			[]string{"--kubeconfig", write(t, filepath.Join(dir, "empty"), "apiVersion: v1\nkind: Config\n", 0o600), "--contexts", "east"},
			exitUsage, "there is no kubeconfig with a context in " + filepath.Join(dir, "empty"),
		},
		"malformed kubeconfig": {
			[]string{"--kubeconfig", write(t, filepath.Join(dir, "bad"), "}{", 0o600), "--contexts", "east"},
			exitUsage, "--kubeconfig",
		},
		"a fleet file is there": {[]string{"--kubeconfig", good, "--contexts", "east", "--artifacts", taken}, exitUsage, "exists already"},
		"not let in":            {[]string{"--kubeconfig", good, "--contexts", "east"}, exitUnknown, "--context east version"},
		"an argument":           {[]string{"east"}, exitUsage, "east"},
	} {
		t.Run(what, func(t *testing.T) {
			out := filepath.Join(dir, "out")
			args := append([]string{"fleet", "init", "--artifacts", out}, c.args...)
			printed, code, err := amc(t, args...)
			if code != c.code {
				t.Errorf("%s: got exit code %d, want %d", what, code, c.code)
			}
			if !strings.Contains(fmt.Sprint(err), c.want) {
				t.Fatalf("%s: got %v, want an error with %q", what, err, c.want)
			}
			if strings.Contains(printed+err.Error(), "very-secret") {
				t.Errorf("%s: a token is shown: %v", what, err)
			}
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: something was written", what)
			}
		})
	}
	refused(t, exitUsage, "amc fleet init", "fleet")
	if out := ok(t, "__complete", "fleet", "init", "--kubeconfig", good, "--contexts", ""); !strings.HasPrefix(out, "east\n") {
		t.Errorf("the shell completes %q, want the context of the kubeconfig", out)
	}
}

func TestRunRefusesBadFleetFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		return write(t, filepath.Join(dir, name), content, mode)
	}
	head := "apiVersion: " + mesh.FleetVersion + "\nrunID: r\nprovider: existing\nistio: 1.31.0\n"
	for what, c := range map[string]struct{ path, want string }{
		"none":          {filepath.Join(dir, "none.yaml"), "amc up"},
		"a folder":      {dir, "fleet file " + dir},
		"empty":         {file("empty", "", 0o600), "is empty"},
		"malformed":     {file("malformed", "clusters: [", 0o600), "malformed"},
		"for all":       {file("public", head, 0o644), "chmod 600"},
		"newer":         {file("newer", "apiVersion: amc.ambient.test/v9\n", 0o600), "newer version"},
		"unknown field": {file("unknown", head+"color: red\n", 0o600), "color"},
		"no cluster":    {file("no-cluster", head, 0o600), "no cluster"},
	} {
		t.Run(what, func(t *testing.T) {
			for _, verb := range []string{"run", "plan"} {
				args := []string{verb, "--fleet", c.path}
				if verb == "run" {
					args = append(args, "--artifacts", filepath.Join(dir, "out"))
				}
				refused(t, exitUsage, c.want, args...)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was written")
	}
}

func TestRunNamesTheClusterThatIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	k := kubeconfig(t, "https://"+nobody)
	fleet := write(t, filepath.Join(dir, "fleet.yaml"), "apiVersion: "+mesh.FleetVersion+"\nrunID: r\nprovider: existing\n"+
		"istio: 1.31.0\nclusters:\n- {name: c-east, network: n, kubeconfig: "+k+"}\n- {name: c-west, network: m, kubeconfig: "+k+"}\n", 0o600)
	_, code, err := amc(t, "run", "--fleet", fleet, "--artifacts", filepath.Join(dir, "out"))
	if code != exitUnknown {
		t.Errorf("got exit code %d, want %d", code, exitUnknown)
	}
	for _, want := range []string{"c-east", nobody} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want an error that names %q", err, want)
		}
	}
	if secret := "very-secret"; strings.Contains(fmt.Sprint(err), secret) {
		t.Errorf("got %v, want no token (%s) in it", err, secret)
	}
}

func TestRBACPrintsReasons(t *testing.T) {
	out := ok(t, "rbac")
	for _, want := range []string{"kind: ServiceAccount", "name: amc-mesh", "name: amc-plain", "\n# "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(out, "namespace: gateways") {
		t.Error("a namespace that nobody named is in it")
	}
	contains(t, ok(t, "rbac", "--gateway-namespace", "gateways"), "namespace: gateways")
	if out == ok(t, "rbac", "--allow-mesh-changes") {
		t.Error("--allow-mesh-changes makes no difference")
	}
}
