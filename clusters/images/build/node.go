package build

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/engine/private"
	"ambient.test/conformance/clusters/images/build/dag"
	"ambient.test/conformance/internal/command"
)

// The node image is the root file system, kind's own files, Kubernetes' programs, and a containerd
// that already holds every image.

const (
	storeNode = "store"     // containerd's root folder with all images in it
	extraNode = "nodefiles" // files.tar: all of the node image beyond the root file system and the store
)

// annotation under which containerd's import looks for an image's name.
const nameAnnotation = "io.containerd.image.name"

// store imports all images into containerd's root folder with containerd itself, so that a node
// finds what it would have written. refs are the image nodes by reference.
func store(refs map[string]string) dag.Node {
	needs := []string{"containerd"}
	inputs := map[string]string{}
	for ref, node := range refs {
		needs = append(needs, node)
		inputs[ref] = node
	}
	slices.Sort(needs)
	return dag.Node{Name: storeNode, Needs: needs, Pool: poolImage, Inputs: inputs, Build: func(ctx context.Context, t *dag.Task) error {
		t.Note("collecting")
		all := filepath.Join(t.Temp, "images")
		path, err := layout.Write(all, empty.Index)
		if err != nil {
			return err
		}
		for _, ref := range slices.Sorted(maps.Keys(refs)) {
			img, err := readLayout(t.Needs[refs[ref]])
			if err != nil {
				return err
			}
			if err := path.AppendImage(img, layout.WithAnnotations(map[string]string{nameAnnotation: ref})); err != nil {
				return err
			}
		}
		archive := filepath.Join(t.Temp, "images.tar")
		f, err := os.Create(archive)
		if err != nil {
			return err
		}
		w := newTree(f)
		if err := w.folder("", all); err != nil {
			return err
		}
		if err := w.close(f); err != nil {
			return err
		}
		t.Note("containerd imports")
		return importInto(ctx, t.Needs["containerd"], t.Out, t.Temp, archive)
	}}
}

// notForAStore are containerd's plugins that importing images does not need. Some of them do not
// start on every machine.
var notForAStore = []string{
	"io.containerd.grpc.v1.cri",
	"io.containerd.cri.v1.images",
	"io.containerd.cri.v1.runtime",
	"io.containerd.nri.v1.nri",
	"io.containerd.internal.v1.opt",
	"io.containerd.snapshotter.v1.devmapper",
	"io.containerd.snapshotter.v1.zfs",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.internal.v1.restart",
	"io.containerd.tracing.processor.v1.otlp",
}

func quoted(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = strconv.Quote(w)
	}
	return strings.Join(all, ", ")
}

// importInto starts containerd on a root folder, without the plugins that a mere store does not
// need, and lets it import the archive. Layers stay packed.
func importInto(ctx context.Context, programs, root, temp, archive string) error {
	run, err := os.MkdirTemp("", "amc-containerd-") // a socket's path may not be long
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	socket := filepath.Join(run, "s")
	config := fmt.Sprintf("version = 3\nroot = %q\nstate = %q\ndisabled_plugins = [%s]\n[grpc]\naddress = %q\n",
		root, filepath.Join(run, "state"), quoted(notForAStore), socket)
	file := filepath.Join(run, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(temp, "containerd.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	daemon := exec.CommandContext(ctx, filepath.Join(programs, "containerd"), "--config", file)
	daemon.Stdout, daemon.Stderr = logFile, logFile
	daemon.Cancel = func() error { return daemon.Process.Signal(os.Interrupt) }
	daemon.WaitDelay = 5 * time.Second
	daemon.SysProcAttr = dieWithParent()
	if err := daemon.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	said := func() string {
		b, _ := os.ReadFile(logFile.Name())
		return command.Tail(string(b), 3)
	}
	ready := time.NewTicker(20 * time.Millisecond)
	defer ready.Stop()
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		select {
		case err := <-ended:
			return fmt.Errorf("containerd ended: %w: %s", errors.Join(err, context.Cause(ctx)), said())
		case <-ready.C:
		}
	}
	out, err := exec.CommandContext(
		ctx, filepath.Join(programs, "ctr"), "--address", socket, "--namespace", "k8s.io", "images", "import", "--no-unpack",
		"--all-platforms", archive,
	).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr images import: %w: %s: containerd said: %s", command.Cause(ctx, err), command.Tail(string(out), 3), said())
	}
	cancel() // it must have closed its database before the folder is taken
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return err
		}
	}
	return nil
}

// unlimited are lines of kind's unit files that raise limits, which a container without
// CAP_SYS_RESOURCE may not do: there systemd would refuse the unit.
var unlimited = regexp.MustCompile(`(?m)^(Limit.*=infinity|OOMScoreAdjust.*)\n`)

// extra is all of the node image beyond the root file system and the images.
func extra() dag.Node {
	return dag.Node{
		Name: extraNode, Needs: []string{"k8s", "containerd", "runc", "cni-plugins", "ociwrap"}, Pool: poolImage,
		Inputs: map[string]string{"layout": "1", "kind": kindVersion(), "pause": pauseImage},
		Build: func(ctx context.Context, t *dag.Task) error {
			dir, err := LinkedDir(ctx, "sigs.k8s.io/kind")
			if err != nil {
				return err
			}
			f, err := os.Create(filepath.Join(t.Out, "files.tar"))
			if err != nil {
				return err
			}
			w := newTree(f)
			if err := nodeFiles(ctx, w, filepath.Join(dir, "images", "base", "files"), t.Needs); err != nil {
				return err
			}
			return w.close(f)
		},
	}
}

// nodeFiles writes kind's files, the programs and what kind's own image build would make of them.
func nodeFiles(ctx context.Context, w *tree, kindFiles string, needs map[string]string) error {
	for _, from := range []string{"usr/local/bin", "kind", "etc"} {
		err := filepath.WalkDir(filepath.Join(kindFiles, filepath.FromSlash(from)), func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(kindFiles, name)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			p, mode := filepath.ToSlash(rel), int64(0o644)
			if strings.HasPrefix(p, "usr/local/bin/") || strings.HasPrefix(p, "kind/bin/") {
				mode = 0o755
			}
			switch p {
			case "etc/systemd/system/containerd.service":
				b = unlimited.ReplaceAll(b, nil)
			case "etc/containerd/config.toml":
				if b, err = setSandbox(b); err != nil {
					return err
				}
			}
			return w.data(p, b, mode)
		})
		if err != nil {
			return err
		}
	}
	spec, err := baseSpec(ctx, filepath.Join(needs["containerd"], "ctr"))
	if err != nil {
		return err
	}
	storage := []byte(
		"apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: standard}\n" +
			"provisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: WaitForFirstConsumer\n",
	)
	for p, b := range map[string][]byte{
		"etc/containerd/cri-base.json":        spec,
		"kind/version":                        []byte(Kubernetes),
		"kind/manifests/default-storage.yaml": storage,
		"kind/manifests/default-cni.yaml":     storage, // kind wants the file; the network is ours
	} {
		if err := w.data(p, b, 0o644); err != nil {
			return err
		}
	}
	for p, from := range map[string]string{
		"usr/local/bin/containerd":              "containerd/containerd",
		"usr/local/bin/containerd-shim-runc-v2": "containerd/containerd-shim-runc-v2",
		"usr/local/bin/ctr":                     "containerd/ctr",
		"usr/bin/kubelet":                       "k8s/kubelet", "usr/bin/kubeadm": "k8s/kubeadm", "usr/bin/kubectl": "k8s/kubectl",
		strings.TrimPrefix(private.RealRuntimeInNode, "/"): "runc/runc", strings.TrimPrefix(private.WrapperInNode, "/"): "ociwrap/ociwrap",
		"opt/cni/bin/host-local": "cni-plugins/host-local", "opt/cni/bin/loopback": "cni-plugins/loopback",
		"opt/cni/bin/ptp": "cni-plugins/ptp", "opt/cni/bin/portmap": "cni-plugins/portmap",
	} {
		node, file, _ := strings.Cut(from, "/")
		if err := w.file(p, filepath.Join(needs[node], file), 0o755); err != nil {
			return err
		}
	}
	for _, unit := range []string{"kubelet.service", "containerd.service", "undo-mount-hacks.service"} {
		if err := w.link("etc/systemd/system/multi-user.target.wants/"+unit, "/etc/systemd/system/"+unit); err != nil {
			return err
		}
	}
	for p, target := range map[string]string{
		"etc/systemd/system/systemd-binfmt.service": "/dev/null", "usr/sbin/init": "/usr/lib/systemd/systemd",
	} {
		if err := w.link(p, target); err != nil {
			return err
		}
	}
	return w.dir("LICENSES", 0o755)
}

var sandboxLine = regexp.MustCompile(`(?m)^(\s*sandbox_image = ).*$`)

func setSandbox(config []byte) ([]byte, error) {
	if !sandboxLine.Match(config) {
		return nil, errors.New(
			"kind's containerd configuration has no sandbox_image any more: its files are of another version than this suite knows",
		)
	}
	return sandboxLine.ReplaceAll(config, []byte(`${1}"`+pauseImage+`"`)), nil
}

// baseSpec is containerd's default OCI spec as kind changes it: with its hook, and without limits,
// which a container may not be able to raise.
func baseSpec(ctx context.Context, ctr string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, ctr, "oci", "spec").Output()
	if err != nil {
		return nil, fmt.Errorf("ctr oci spec: %w", command.Cause(ctx, err))
	}
	var spec map[string]any
	if err := json.Unmarshal(out, &spec); err != nil {
		return nil, fmt.Errorf("ctr oci spec: %w", err)
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		return nil, errors.New("ctr oci spec: there is no process in it")
	}
	delete(process, "rlimits")
	spec["hooks"] = map[string]any{"createContainer": []any{map[string]any{"path": "/kind/bin/mount-product-files.sh"}}}
	return json.MarshalIndent(spec, "", "  ")
}

// dropped reports whether a path is left out of the node image: documentation, and units that do
// not belong in a container. kind's image build removes the same units.
func dropped(p string) bool {
	if slices.ContainsFunc(excluded, func(u string) bool { return strings.HasPrefix(p, u) && p != u }) {
		return true
	}
	if dir, unit, ok := cutLast(p); ok && unit != "" {
		switch dir {
		case "usr/lib/systemd/system/multi-user.target.wants",
			"lib/systemd/system/multi-user.target.wants",
			"usr/lib/systemd/system/local-fs.target.wants",
			"lib/systemd/system/local-fs.target.wants",
			"usr/lib/systemd/system/basic.target.wants",
			"lib/systemd/system/basic.target.wants":
			return true
		case "usr/lib/systemd/system/sockets.target.wants", "lib/systemd/system/sockets.target.wants":
			return strings.Contains(unit, "udev") || strings.Contains(unit, "initctl")
		case "usr/lib/systemd/system/sysinit.target.wants", "lib/systemd/system/sysinit.target.wants":
			return unit == "systemd-tmpfiles-setup.service"
		}
		return strings.HasPrefix(dir, "etc/systemd/system/") && strings.HasSuffix(dir, ".wants")
	}
	return false
}

func cutLast(p string) (dir, file string, ok bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p, false
	}
	return p[:i], p[i+1:], true
}

// stream writes the whole node image as one archive: the root file system, the files above it, and
// the store.
func stream(out io.Writer, rootfs, files, store string) error {
	over := map[string]bool{}
	err := eachEntry(filepath.Join(files, "files.tar"), func(p string, h *tar.Header, _ io.Reader) error {
		over[p] = h.Typeflag != tar.TypeDir
		return nil
	})
	if err != nil {
		return err
	}
	w := newTree(out)
	err = eachEntry(filepath.Join(rootfs, "rootfs.tar"), func(p string, h *tar.Header, r io.Reader) error {
		if over[p] || dropped(p) {
			return nil
		}
		if p == "etc/systemd/journald.conf" {
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			return w.data(p, append(b, "\nReadKMsg=no\n"...), h.Mode) // the kernel's log is the host's
		}
		return w.entry(h, r)
	})
	if err != nil {
		return err
	}
	err = eachEntry(filepath.Join(files, "files.tar"), func(_ string, h *tar.Header, r io.Reader) error { return w.entry(h, r) })
	if err != nil {
		return err
	}
	if err := w.folder("var/lib/containerd", store); err != nil {
		return err
	}
	return w.w.Close()
}

// load makes the node image in the engine.
func load(ctx context.Context, e *engine.Engine, ref, rootfs, files, store string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(stream(w, rootfs, files, store)) }()
	defer r.Close()
	_, err := e.Feed(ctx, r, "import",
		"--change", `ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]`, "--change", "ENV container=docker",
		"-", ref)
	return err
}
