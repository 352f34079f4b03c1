package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"ambient.test/conformance/clusters/images/build/dag"
)

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
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"iptables", "libc6", "libgcc-s1", "libip4tc2", "libxtables12", "netbase"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what iptables needs (-want +got):\n%s", diff)
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
	move(
		archive(
			t, "bin -> usr/bin", "usr/bin/jq", "etc/crictl.yaml", "etc/systemd/journald.conf", "usr/share/doc/jq/copyright",
			"usr/lib/systemd/system/multi-user.target.wants/getty.target -> ../getty.target",
			"usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service -> x",
			"etc/systemd/system/timers.target.wants/apt.timer -> y",
		),
		filepath.Join(rootfs, "rootfs.tar"),
	)
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
	for name, want := range map[string]string{
		"bin": "usr/bin", "usr/bin/jq": "of usr/bin/jq", "etc/crictl.yaml": "of etc/crictl.yaml", "usr/bin/kubelet": "of usr/bin/kubelet",
		"var/lib/containerd/blobs/b": "image", "usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service": "x"} {
		t.Run(name, func(t *testing.T) {
			if seen[name] != want {
				t.Errorf("got %q, want %q", seen[name], want)
			}
		})
	}
	if !strings.HasSuffix(seen["etc/systemd/journald.conf"], "ReadKMsg=no\n") {
		t.Errorf("journald reads the host's kernel log: %q", seen["etc/systemd/journald.conf"])
	}
	for _, gone := range []string{
		"usr/share/doc/jq/copyright", "usr/lib/systemd/system/multi-user.target.wants/getty.target",
		"etc/systemd/system/timers.target.wants/apt.timer",
	} {
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
		r := &Recipe{
			Files:      map[string]string{"usr/local/bin/server": "istio/server"},
			Entrypoint: []string{"/usr/local/bin/server"},
			User:       "1337",
		}
		err := assemble(&dag.Task{Out: out, Temp: t.TempDir(), Needs: map[string]string{"istio": parts, certsNode: certs}}, r)
		if err != nil {
			t.Fatal(err)
		}
		img, err := readLayout(out)
		if err != nil {
			t.Fatal(err)
		}
		file, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if file.Config.User != "1337" {
			t.Fatalf("got user %q, want 1337", file.Config.User)
		}
		if n := len(file.RootFS.DiffIDs); n != 2 {
			t.Fatalf("got %d layers, want 2", n)
		}
		if want := "PATH=" + defaultPath; file.Config.Env[0] != want {
			t.Fatalf("got %q, want %q", file.Config.Env[0], want)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	a, b, other := build("x"), build("x"), build("y")
	if a != b {
		t.Errorf("got %s and %s for the same parts", a, b)
	}
	if a == other {
		t.Errorf("got %s for other parts too", a)
	}
}

func TestSandboxImageIsTheOneInTheNode(t *testing.T) {
	got, err := setSandbox([]byte("[a]\n  sandbox_image = \"registry.k8s.io/pause:3.10\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("[a]\n  sandbox_image = \""+pauseImage+"\"\n", string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := setSandbox([]byte("[a]\n")); err == nil {
		t.Error("a configuration without the line is accepted")
	}
}

// What is pushed has the same content and configuration as what was built, in layers that every
// engine can read.
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
	img, err := Gzipped(built)
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
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("configuration (-built +pushed):\n%s", diff)
	}
	layers, err := back.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 1 {
		t.Fatalf("got %d layers, want 1", len(layers))
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

func TestEditReplacesOnce(t *testing.T) {
	for name, c := range map[string]struct {
		source, edited, err string
	}{
		"there once":      {source: "package a\n\nconst wait = 5\n", edited: "package a\n\nconst wait = 7\n"},
		"not there":       {source: "package a\n", err: `"wait = 5" 0 times, expected once`},
		"there two times": {source: "// wait = 5\nconst wait = 5\n", err: `"wait = 5" 2 times, expected once`},
	} {
		t.Run(name, func(t *testing.T) {
			dir, temp := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte(c.source), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(temp, "go.mod"), []byte("module m\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := edit{module: "a.test/a", file: "a.go", old: "wait = 5", new: "wait = 7"}.replace(dir, temp)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mod, err := os.ReadFile(filepath.Join(temp, "go.mod"))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff("module m\n\nreplace a.test/a => ./edited\n", string(mod)); d != "" {
				t.Errorf("go.mod: -want +got:\n%s", d)
			}
			got, err := os.ReadFile(filepath.Join(temp, "edited", "a.go"))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.edited, string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}
