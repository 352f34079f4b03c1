package build

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ambient.test/conformance/clusters/images/build/dag"
	"ambient.test/conformance/internal/module"
)

// The stand-ins are a module of their own, whose sources cannot be embedded here. Their digests
// can: amc knows by them which stand-ins it was made with, finds their images in the cache from any
// folder, and looks for the sources only when one must be built.
//
//go:embed standins.sum
var standinSumFile string

// standinSums are the digests of the stand-ins' sources, by name.
var standinSums = parseSums(standinSumFile)

// updateSums is the command that writes standins.sum anew; a test fails when it is out of date.
const updateSums = "go test ./clusters/images/build -run TestStandinSums -update"

func parseSums(text string) map[string]string {
	sums := map[string]string{}
	for line := range strings.Lines(text) {
		if name, sum, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			sums[name] = sum
		}
	}
	return sums
}

// mutantTag is the build tag that compiles faults into a stand-in.
const mutantTag = "mutant"

// Mutant names the build node of a stand-in with the faults that it can have.
func Mutant(standin string) string { return standin + "-" + mutantTag }

// standin builds one program of the stand-ins' module, with a build tag if there is one.
func standin(name, tag, goVersion string) dag.Node {
	inputs := map[string]string{"go": goVersion, "arch": arch(), "source": standinSums[name]}
	node := name
	if tag != "" {
		node, inputs["tags"] = Mutant(name), tag
	}
	return dag.Node{Name: node, Pool: poolGo, Inputs: inputs, Build: func(ctx context.Context, t *dag.Task) error {
		dir, err := standinSources(name)
		if err != nil {
			return err
		}
		t.Note("go build")
		_, err = goCommand(ctx, dir, goEnv(), "build", "-tags", tag, "-ldflags", "-s -w", "-o", t.Out+string(filepath.Separator), "./"+name)
		return err
	}}
}

// standinSources finds the module of the stand-ins in a checkout around the working directory or
// around amc itself. The sources must be those that amc was made with: others would be kept under a
// wrong key.
func standinSources(name string) (dir string, err error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if dir = above(here); dir == "" {
		if self, err := os.Executable(); err == nil {
			dir = above(filepath.Dir(self))
		}
	}
	if dir == "" {
		return "", fmt.Errorf(
			"stand-in %s is not in the cache and is built from this suite's sources, but neither %s nor amc itself is in a checkout of it: "+
				"run `amc images build` in a checkout once",
			name,
			here,
		)
	}
	sum, err := sourceSum(dir, name)
	if err != nil {
		return "", err
	}
	if sum != standinSums[name] {
		return "", fmt.Errorf(
			"the sources of stand-in %s in %s are not those that this amc was made with: run `make amc` there (if you changed them, first `%s`)",
			name,
			dir,
			updateSums,
		)
	}
	return dir, nil
}

// above is the folder of the stand-ins' module in the checkout that holds dir; empty when none
// does.
func above(dir string) string {
	for ; ; dir = filepath.Dir(dir) {
		standins := filepath.Join(dir, "standins")
		b, err := os.ReadFile(filepath.Join(standins, "go.mod"))
		switch {
		case err == nil && strings.HasPrefix(string(b), "module "+module.Standins+"\n"):
			return standins
		case filepath.Dir(dir) == dir:
			return ""
		}
	}
}

// sourceSum is a digest of all that a stand-in is built from: its sources without tests, and go.mod
// and go.sum for everybody else's.
func sourceSum(standins, name string) (string, error) {
	files := []string{"go.mod", "go.sum"}
	err := filepath.WalkDir(filepath.Join(standins, name), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(standins, p)
		files = append(files, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("sources of stand-in %s: %w", name, err)
	}
	slices.Sort(files)
	h := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(standins, filepath.FromSlash(f)))
		if err != nil {
			return "", fmt.Errorf("sources of stand-in %s: %w", name, err)
		}
		fmt.Fprintf(h, "%s %d\n%s", f, len(b), b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
