package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images/dag"
	"ambient.test/conformance/framework/mesh"
)

// What the table says of versions must be what the build modules pin.
func TestTableAgreesWithBuildModules(t *testing.T) {
	for _, c := range []struct{ in, module, want string }{
		{"k8s", "k8s.io/kubernetes", Kubernetes},
		{"metallb", "go.universe.tf/metallb", MetalLB},
		{"coredns", "github.com/coredns/coredns", "v1.14.2"},
		{"etcd", "go.etcd.io/etcd/server/v3", "v3.6.8"},
		{releases[DefaultIstio].Module, "istio.io/istio", DefaultIstio},
	} {
		got, sum, err := pinned(c.in, c.module)
		if err != nil || got != c.want || !strings.HasPrefix(sum, "h1:") {
			t.Errorf("%s in %s: got %s %s, %v, want %s", c.module, c.in, got, sum, err, c.want)
		}
	}
	for version, r := range releases {
		if got, _, err := pinned(r.Module, "istio.io/istio"); err != nil || got != version {
			t.Errorf("%s pins %s, %v, want %s", r.Module, got, err, version)
		}
	}
	if _, _, err := pinned("k8s", "example.org/nothing"); err == nil {
		t.Error("a module that is not there is pinned")
	}
}

// Every file of every image comes from a node that the graph has, and the graph has no circle.
func TestGraphIsWhole(t *testing.T) {
	src, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	set := func(istio string) *Set {
		s := &Set{o: Options{SourceDir: src, CacheDir: t.TempDir(), Istio: istio}, mode: Build, refs: map[string]string{}}
		r, err := releaseOf(istio)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.graph(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, again, april := set(DefaultIstio), set(DefaultIstio), set("v0.0.0-20260423205519-b01690e6db7d")
	if !maps.Equal(a.refs, again.refs) {
		t.Error("the same plan has other references")
	}
	for name, changes := range map[string]bool{Pilot: true, App: true, Node: true, Ztunnel: false, MetalLBSpeaker: false} {
		if (a.refs[name] != april.refs[name]) != changes {
			t.Errorf("another Istio: image %s: %s and %s, expected to differ: %v", name, a.refs[name], april.refs[name], changes)
		}
	}
	if len(a.refs) != len(Names()) {
		t.Errorf("%d references for %d images", len(a.refs), len(Names()))
	}
	for _, row := range a.List() {
		if row.Here || row.Source != Built || row.Ref == "" {
			t.Errorf("nothing is built, yet %+v", row)
		}
	}
}

func TestOverrides(t *testing.T) {
	got, err := ParseOverrides([]string{"ztunnel=example.org/z:1", "app=a/b@sha256:0"})
	if err != nil || got["ztunnel"] != "example.org/z:1" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = ParseOverrides([]string{"ztunel=x/y", "pilot", "app=", "app=a/b", "app=c/d"})
	if err == nil {
		t.Fatal("nonsense is accepted")
	}
	for _, want := range []string{`no image "ztunel"`, `"pilot" is not NAME=REFERENCE`, `"app" is given twice`, "ztunnel, proxyv2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestCheckRefusesBeforeAnythingIsMade(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Mode: "beg"}, "expected auto, pull or build"},
		{Options{Istio: "1.99"}, "known are v0.0.0-20260827"},
		{Options{Mode: Pull, Istio: "v0.0.0-20260423205519-b01690e6db7d"}, "use --images build"},
		{Options{Overrides: map[string]string{"app": "Not A Reference"}}, "--image app=Not A Reference"},
	} {
		if err := Check(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.o, err, c.want)
		}
	}
	if err := Check(Options{}); err != nil {
		t.Error(err)
	}
}

const status = `Package: iptables
Version: 1.8.9-2
Depends: libc6 (>= 2.34), libxtables12 (= 1.8.9-2), netbase | nothing
Pre-Depends: libip4tc2:any

Package: libc6
Version: 2.36
Depends: libgcc-s1

Package: libgcc-s1
Version: 12
Provides: libgcc1 (= 1:12)

Package: libxtables12
Version: 1.8.9-2
Depends: libc6, debconf (>= 0.5) | debconf-2.0

Package: libip4tc2
Version: 1.8.9-2

Package: netbase
Version: 6

Package: unrelated
Version: 1
`

func TestClosureOfPackages(t *testing.T) {
	got, err := closure([]byte(status), []string{"iptables"})
	if want := []string{"iptables", "libc6", "libgcc-s1", "libip4tc2", "libxtables12", "netbase"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := closure([]byte(status), []string{"ipset"}); err == nil {
		t.Error("a package that is not installed is found")
	}
}

// archive writes a tar of files ("folder/" for a folder, "a -> b" for a link).
func archive(t *testing.T, files ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := newTree(f)
	for _, n := range files {
		name, target, link := strings.Cut(n, " -> ")
		switch {
		case link:
			err = w.link(name, target)
		case strings.HasSuffix(n, "/"):
			err = w.dir(strings.TrimSuffix(n, "/"), 0o755)
		default:
			err = w.data(n, []byte("of "+n), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.close(f); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNodeImageIsRootFilesPlusOursPlusStore(t *testing.T) {
	rootfs, files, store := t.TempDir(), t.TempDir(), t.TempDir()
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(archive(t, "bin -> usr/bin", "usr/bin/jq", "etc/crictl.yaml", "etc/systemd/journald.conf", "usr/share/doc/jq/copyright", "usr/lib/systemd/system/multi-user.target.wants/getty.target -> ../getty.target",
		"usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service -> x", "etc/systemd/system/timers.target.wants/apt.timer -> y"), filepath.Join(rootfs, "rootfs.tar"))
	move(archive(t, "etc/crictl.yaml", "usr/bin/kubelet"), filepath.Join(files, "files.tar"))
	if err := os.MkdirAll(filepath.Join(store, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store, "blobs", "b"), []byte("image"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := stream(&out, rootfs, files, store); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for tr := tar.NewReader(&out); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := seen[h.Name]; twice {
			t.Errorf("%s stands twice in the archive", h.Name)
		}
		b, _ := io.ReadAll(tr)
		seen[h.Name] = string(b) + h.Linkname
	}
	for name, want := range map[string]string{"bin": "usr/bin", "usr/bin/jq": "of usr/bin/jq", "etc/crictl.yaml": "of etc/crictl.yaml", "usr/bin/kubelet": "of usr/bin/kubelet",
		"var/lib/containerd/blobs/b": "image", "usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service": "x"} {
		if seen[name] != want {
			t.Errorf("%s: got %q, want %q", name, seen[name], want)
		}
	}
	if !strings.HasSuffix(seen["etc/systemd/journald.conf"], "ReadKMsg=no\n") {
		t.Errorf("journald reads the host's kernel log: %q", seen["etc/systemd/journald.conf"])
	}
	for _, gone := range []string{"usr/share/doc/jq/copyright", "usr/lib/systemd/system/multi-user.target.wants/getty.target", "etc/systemd/system/timers.target.wants/apt.timer"} {
		if _, ok := seen[gone]; ok {
			t.Errorf("%s is in the node image", gone)
		}
	}
}

// The same parts are the same image, byte for byte, whenever they are put together.
func TestImageDependsOnItsPartsOnly(t *testing.T) {
	build := func(content string) string {
		parts, certs, out := t.TempDir(), t.TempDir(), t.TempDir()
		if err := os.WriteFile(filepath.Join(parts, "server"), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeLayout(certs, newImage(), archive(t, "tmp/", "etc/passwd"), v1.Config{}); err != nil {
			t.Fatal(err)
		}
		r := &recipe{Files: map[string]string{"usr/local/bin/server": "istio/server"}, Entrypoint: []string{"/usr/local/bin/server"}, User: "1337"}
		err := assemble(&dag.Task{Out: out, Temp: t.TempDir(), Needs: map[string]string{"istio": parts, certsNode: certs}}, r)
		if err != nil {
			t.Fatal(err)
		}
		img, err := readLayout(out)
		if err != nil {
			t.Fatal(err)
		}
		file, err := img.ConfigFile()
		if err != nil || file.Config.User != "1337" || len(file.RootFS.DiffIDs) != 2 || file.Config.Env[0] != "PATH="+defaultPath {
			t.Fatalf("got %+v, %v", file, err)
		}
		d, err := digestOf(out)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, b, other := build("x"), build("x"), build("y")
	if a != b || a == other {
		t.Errorf("got %s, %s for the same and %s for other parts", a, b, other)
	}
}

func TestSandboxImageIsTheOneInTheNode(t *testing.T) {
	got, err := setSandbox([]byte("[a]\n  sandbox_image = \"registry.k8s.io/pause:3.10\"\n"))
	if err != nil || string(got) != "[a]\n  sandbox_image = \""+pauseImage+"\"\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := setSandbox([]byte("[a]\n")); err == nil {
		t.Error("a configuration without the line is accepted")
	}
}

// An image that the nodes were not built with goes from the engine into each of them whole; what fails on either side is told.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	fake := func(script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	load := func() error {
		return Load(t.Context(), &engine.Engine{Host: "unix:///nowhere"}, map[string]mesh.ImageRef{
			Ztunnel: {Ref: "a/ztunnel:1", Source: Override}, App: {Ref: "a/app:1", Source: Built}}, []string{"node1", "node2"})
	}
	fake(`case "$1" in save) shift; echo "archive of $*";; exec) cat > "` + dir + `/$3";; esac`)
	if err := load(); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"node1", "node2"} {
		if b, err := os.ReadFile(filepath.Join(dir, node)); err != nil || string(b) != "archive of a/ztunnel:1\n" {
			t.Errorf("%s got %q, %v", node, b, err)
		}
	}
	fake(`case "$1" in save) echo "no such image" >&2; exit 1;; exec) cat >/dev/null;; esac`)
	if err := load(); err == nil || !strings.Contains(err.Error(), "no such image") {
		t.Errorf("a failed save: %v", err)
	}
	fake(`case "$1" in save) yes | head -c 1000000;; exec) echo "no room" >&2; exit 1;; esac`)
	if err := load(); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a failed import: %v", err)
	}
}

// What is pushed has the same content and configuration as what was built, in layers that every engine can read.
func TestPushedImagesAreGzipped(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "layer.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	w := newTree(f)
	if err := errors.Join(w.data("usr/bin/x", []byte("program"), 0o755), w.close(f)); err != nil {
		t.Fatal(err)
	}
	if err := writeLayout(filepath.Join(dir, "image"), newImage(), archive, v1.Config{Entrypoint: []string{"/usr/bin/x"}}); err != nil {
		t.Fatal(err)
	}
	built, err := readLayout(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := gzipped(built)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/amc/x:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	back, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	one, err := built.ConfigFile()
	two, err2 := back.ConfigFile()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(one, two) {
		t.Errorf("built %+v, pushed %+v", one, two)
	}
	layers, err := back.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	raw, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	z, err := gzip.NewReader(raw)
	if err != nil {
		t.Fatalf("it is not gzip: %v", err)
	}
	a := tar.NewReader(z)
	for {
		h, err := a.Next()
		if err != nil {
			t.Fatalf("the program is not in it: %v", err)
		}
		if h.Name == "usr/bin/x" {
			break
		}
	}
}

// What the estimates know is in the graph.
func TestUsualNamesNodes(t *testing.T) {
	s := &Set{o: Options{SourceDir: "../..", CacheDir: t.TempDir()}, refs: map[string]string{}}
	if err := s.graph(t.Context(), releases[DefaultIstio]); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, n := range s.nodes {
		known[n.Name] = true
		if n.Usual != usual[n.Name] {
			t.Errorf("%s: %s", n.Name, n.Usual)
		}
	}
	for name := range usual {
		if !known[name] {
			t.Errorf("%s is not in the graph", name)
		}
	}
}
