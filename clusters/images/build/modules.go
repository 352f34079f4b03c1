package build

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"

	"ambient.test/conformance/clusters/images/build/dag"
	"ambient.test/conformance/internal/command"
)

// Build modules: each pins, with checksums, all that its programs are built from. The files are
// named mod.txt and sum.txt because a folder with a go.mod is another module and would not be
// embedded.
//
//go:embed modules
var modules embed.FS

func moduleFile(module, name string) ([]byte, error) {
	return modules.ReadFile(path.Join("modules", module, name))
}

// goEnv is the environment of every go command here. With -trimpath and without the version control
// stamp the same source is the same binary, wherever it is built.
func goEnv(extra ...string) []string {
	return append(append(os.Environ(), "GOFLAGS=-trimpath -buildvcs=false", "GOWORK=off", "GOOS=linux", "CGO_ENABLED=0"), extra...)
}

// goCommand runs go in a folder. Errors end with the last lines it said.
func goCommand(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir, c.Env = dir, env
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return out, fmt.Errorf("go %s: %w: %s", args[0], command.Cause(ctx, err), command.Tail(errs.String(), 5))
	}
	return out, nil
}

// programs is a node that builds the programs of a build module.
type programs struct {
	name   string // of the node
	module string
	// packages to build; the last part of the path names the program.
	packages []string
	ldflags  string
	tags     string
	cgo      bool
	edit     edit // of one source file; nothing when zero
	// before installs what the compiler needs, after adds what else comes from the modules; both
	// may be nil.
	before, after func(ctx context.Context, t *dag.Task) error
}

func (p programs) node(goVersion string) dag.Node {
	inputs := map[string]string{
		"go":       goVersion,
		"packages": strings.Join(p.packages, " "),
		"ldflags":  p.ldflags,
		"tags":     p.tags,
		"arch":     arch(),
	}
	if p.edit != (edit{}) {
		inputs["edit"] = fmt.Sprint(p.edit)
	}
	for _, f := range []string{"mod.txt", "sum.txt", "main.txt"} {
		b, err := moduleFile(p.module, f)
		if err == nil {
			inputs[f] = digest(b)
		}
	}
	return dag.Node{Name: p.name, Inputs: inputs, Pool: poolGo, Build: func(ctx context.Context, t *dag.Task) error {
		if p.before != nil {
			if err := p.before(ctx, t); err != nil {
				return err
			}
		}
		dir, err := p.unfold(t.Temp)
		if err != nil {
			return err
		}
		t.Note("modules")
		env := goEnv()
		if p.cgo {
			env = goEnv("CGO_ENABLED=1")
		}
		if _, err := goCommand(ctx, dir, env, "mod", "download"); err != nil {
			return err
		}
		if p.edit != (edit{}) {
			from, err := PinnedDir(ctx, p.module, p.edit.module)
			if err != nil {
				return err
			}
			if err := p.edit.replace(from, dir); err != nil {
				return err
			}
		}
		t.Note("go build")
		args := []string{"build", "-mod=readonly", "-ldflags", p.ldflags, "-o", t.Out + string(filepath.Separator)}
		if p.tags != "" {
			args = append(args, "-tags", p.tags)
		}
		if _, err := goCommand(ctx, dir, env, append(args, p.packages...)...); err != nil {
			return err
		}
		if p.after != nil {
			return p.after(ctx, t)
		}
		return nil
	}}
}

// edit replaces words of one source file of a module, for the time of a build.
type edit struct{ module, file, old, new string }

// replace makes the build module in dir use a copy of the module, edited. from is the module's folder.
func (e edit) replace(from, dir string) error {
	copied := filepath.Join(dir, "edited")
	if err := os.CopyFS(copied, os.DirFS(from)); err != nil {
		return err
	}
	source := filepath.Join(copied, filepath.FromSlash(e.file))
	b, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if n := bytes.Count(b, []byte(e.old)); n != 1 {
		return fmt.Errorf("%s of %s has %q %d times, expected once: it is of another version than this suite knows", e.file, e.module, e.old, n)
	}
	if err := os.WriteFile(source, bytes.Replace(b, []byte(e.old), []byte(e.new), 1), 0o600); err != nil {
		return err
	}
	file := filepath.Join(dir, "go.mod")
	mod, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, fmt.Appendf(mod, "\nreplace %s => ./edited\n", e.module), 0o644)
}

// unfold writes the build module into dir.
func (p programs) unfold(dir string) (string, error) {
	for from, to := range map[string]string{"mod.txt": "go.mod", "sum.txt": "go.sum", "main.txt": "main.go"} {
		b, err := moduleFile(p.module, from)
		if err != nil && from == "main.txt" {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// moduleDir is the folder of a Go module's sources, downloaded when missing. sum is its checksum as
// go.sum has it ("h1:..."): the module must have it.
func moduleDir(ctx context.Context, module, version, sum string) (string, error) {
	c := exec.CommandContext(ctx, "go", "mod", "download", "-json", module+"@"+version)
	c.Dir = os.TempDir() // outside of any module, whose go.mod would have a say
	c.Env = goEnv("GOFLAGS=-mod=mod")
	out, err := c.Output()
	var m struct{ Dir, Sum, Error string }
	if e := json.Unmarshal(out, &m); e != nil && err == nil {
		err = e
	}
	switch {
	case m.Error != "":
		return "", fmt.Errorf("module %s@%s: %s", module, version, m.Error)
	case err != nil:
		return "", fmt.Errorf("module %s@%s cannot be downloaded: %w", module, version, command.Cause(ctx, err))
	case m.Sum != sum:
		return "", fmt.Errorf(
			"module %s@%s has the checksum %s, expected %s: what was downloaded is not what this suite was written for", module,
			version, m.Sum, sum,
		)
	}
	return m.Dir, nil
}

// LinkedDir is the folder of a module that this program is linked with, in that very version.
func LinkedDir(ctx context.Context, module string) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", errors.New("this program was built without module information")
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return moduleDir(ctx, module, d.Version, d.Sum)
		}
	}
	return "", fmt.Errorf("this program is not linked with module %s", module)
}

// PinnedDir is the folder of a module in the version that a build module requires.
func PinnedDir(ctx context.Context, in, module string) (string, error) {
	version, sum, err := Pinned(in, module)
	if err != nil {
		return "", err
	}
	return moduleDir(ctx, module, version, sum)
}

// Pinned is the version and checksum of a module that a build module directly requires.
func Pinned(in, module string) (version, sum string, err error) {
	b, err := moduleFile(in, "mod.txt")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == module {
			version = f[1]
		}
	}
	sums, err := moduleFile(in, "sum.txt")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(sums)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == module && f[1] == version {
			return version, f[2], nil
		}
	}
	return "", "", fmt.Errorf("build module %s does not pin %s", in, module)
}
