package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ambient.test/conformance/behaviors"
)

// commandLine finds lines that run amc: in indented blocks of Markdown, in scripts of workflows, in
// help texts.
var commandLine = regexp.MustCompile(`^\s*(?:- )?(?:run: )?(?:go run \./cmd/|bin/|\./)?amc ([a-z].*)$`)

// fields splits a command line as a shell does, as far as the docs go: quotes, no more.
func fields(line string) (all []string) {
	line, _, _ = strings.Cut(line, " #")
	for _, end := range []string{" | ", " && ", " >> ", "; "} {
		line, _, _ = strings.Cut(line, end)
	}
	word, quote, in := "", rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, in = r, true
		case quote == 0 && r == ' ':
			if in {
				all, word, in = append(all, word), "", false
			}
		default:
			word, in = word+string(r), true
		}
	}
	if in {
		all = append(all, word)
	}
	return all
}

// known says why a command line is not one of amc: an unknown verb or flag. It parses the flags
// into the command.
func known(args []string) (*cobra.Command, error) {
	c, rest, err := root().Find(args)
	if err != nil {
		return c, err
	}
	c.InitDefaultHelpFlag()
	for i, a := range rest {
		if strings.Contains(a, "$CLUSTERS") { // a variable of the shell stands for a number
			rest[i] = "2"
		}
	}
	if err := c.ParseFlags(rest); !errors.Is(err, pflag.ErrHelp) {
		return c, err
	}
	return c, nil
}

// understood says why a command line would be refused before it does anything: an unknown verb or
// flag, a wrong number of arguments.
func understood(args []string) error {
	c, err := known(args)
	if err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// Every command in docs, workflows and the action is one that amc understands.
func TestCommandsInDocs(t *testing.T) {
	var files []string
	for _, glob := range []string{
		"../../README.md", "../../CONTRIBUTING.md", "../../docs/certify.md", "../../docs/write-a-spec.md",
		"../../.github/workflows/*.yaml", "../../action.yaml",
	} {
		found, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Fatalf("%s names no file: the row asserts nothing", glob)
		}
		files = append(files, found...)
	}
	seen := 0
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		s := bufio.NewScanner(f)
		for n := 1; s.Scan(); n++ {
			m := commandLine.FindStringSubmatch(s.Text())
			if m == nil {
				continue
			}
			seen++
			if err := understood(fields(m[1])); err != nil {
				t.Errorf("%s:%d: amc %s: %v", name, n, m[1], err)
			}
		}
		f.Close()
	}
	if seen < 20 {
		t.Errorf("only %d commands were found: the expression above is wrong", seen)
	}
	for _, wrong := range []string{"plan --color red", "vrify bundle", "verify", "matrix now"} {
		t.Run(wrong, func(t *testing.T) {
			if understood(fields(wrong)) == nil {
				t.Errorf("amc %s is understood", wrong)
			}
		})
	}
}

// quotedCommand finds commands that messages, help texts and comments tell the reader to type.
var quotedCommand = regexp.MustCompile("`amc ([a-z][^`]*)`")

// Every command that the program tells its user to type is one that amc understands.
func TestCommandsInMessages(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(data), "\n") {
			for _, m := range quotedCommand.FindAllStringSubmatch(line, -1) {
				seen++
				// Prose names a verb or a flag without its argument.
				var bare *pflag.ValueRequiredError
				if _, err := known(fields(m[1])); err != nil && !errors.As(err, &bare) {
					t.Errorf("%s:%d: amc %s: got %v, want a command that amc knows", name, i+1, m[1], err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("only %d commands were found: the expression above is wrong", seen)
	}
}

// The code in the docs is code of the tree.
func TestCodeInDocs(t *testing.T) {
	var source strings.Builder
	for _, name := range []string{"../../behaviors/scope.go", "../../suites/scope/scope.go"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(data)
	}
	doc, err := os.ReadFile("../../docs/write-a-spec.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of code", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(source.String(), b[1]) {
			t.Errorf("not in the tree:\n%s", b[1])
		}
	}
}

// The README says how much is proven; every new spec changes that.
func TestReadmeSaysTheCoverage(t *testing.T) {
	all, proven := map[behaviors.Level]int{}, map[behaviors.Level]int{}
	for _, b := range behaviors.All() {
		all[b.Level]++
		if b.State.Automated {
			proven[b.Level]++
		}
	}
	extended := "none"
	if n := proven[behaviors.Extended]; n > 0 {
		extended = strconv.Itoa(n)
	}
	want := fmt.Sprintf("**Coverage: %d of %d behaviors are proven: %d of %d core, %d of %d limitations, %s of %d extended",
		len(behaviors.WithSpecs()), len(behaviors.All()), proven[behaviors.Core], all[behaviors.Core], proven[behaviors.Limitation],
		all[behaviors.Limitation], extended, all[behaviors.Extended])
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), want) {
		t.Errorf("README.md does not say %q", want)
	}
}

// make page runs every behavior of the catalog that has a spec: it claims each feature of one.
func TestMakefileClaimsAll(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	claimable := map[string]bool{}
	for _, b := range behaviors.WithSpecs() {
		if b.Feature != "" && b.State.Automated {
			claimable[string(b.Feature)] = true
		}
	}
	want := "CLAIMS := " + strings.Join(slices.Sorted(maps.Keys(claimable)), ",") + "\n"
	if !strings.Contains(string(makefile), want) {
		t.Errorf("the Makefile lacks the line %q", want)
	}
}
