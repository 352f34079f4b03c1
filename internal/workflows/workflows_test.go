// Package workflows holds the test of what GitHub runs: the workflows and the action are checked
// here, before they are pushed.
package workflows

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v3"

	"ambient.test/conformance/reports/layout"
)

const root = "../.."

func linter(t *testing.T) *actionlint.Linter {
	t.Helper()
	l, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func report(t *testing.T, found []*actionlint.Error) {
	t.Helper()
	for _, e := range found {
		t.Errorf("%s:%d:%d: %s [%s]", e.Filepath, e.Line, e.Column, e.Message, e.Kind)
	}
}

func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(root + "/.github/workflows/*.y*ml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatalf("got %v, want at least two", files)
	}
	project, err := actionlint.NewProject(root)
	if err != nil {
		t.Fatal(err)
	}
	found, err := linter(t).LintFiles(files, project)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
}

// actionlint reads no action's steps: they are checked as the steps of a workflow with the action's
// inputs.
func TestAction(t *testing.T) {
	data, err := os.ReadFile(root + "/action.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var action struct {
		Inputs map[string]struct {
			Description string
			Default     *string
			Required    bool
		}
		Outputs map[string]struct{ Value string }
		Runs    struct {
			Using string
			Steps []yaml.Node
		}
	}
	if err := yaml.Unmarshal(data, &action); err != nil {
		t.Fatal(err)
	}
	if action.Runs.Using != "composite" {
		t.Fatalf("the action uses %q, want composite", action.Runs.Using)
	}
	if len(action.Runs.Steps) == 0 {
		t.Fatal("the action has no steps")
	}
	inputs := map[string]any{}
	for name, in := range action.Inputs {
		if in.Description == "" {
			t.Errorf("input %s wants a description", name)
		}
		if in.Required == (in.Default != nil) {
			t.Errorf("input %s wants a default exactly when it is not required", name)
		}
		inputs[name] = map[string]any{"type": "string", "required": in.Required}
	}
	for i := range action.Runs.Steps {
		// A step of an action names its shell; one that interpolates what a caller passes into a
		// script runs it.
		var step struct{ Run, Shell, Uses string }
		if err := action.Runs.Steps[i].Decode(&step); err != nil {
			t.Fatal(err)
		}
		if (step.Run != "") != (step.Shell != "") {
			t.Errorf("step %d runs a script without naming its shell", i+1)
		}
		if strings.Contains(step.Run, "${{") {
			t.Errorf("step %d interpolates into a script: pass it by env", i+1)
		}
	}
	workflow, err := yaml.Marshal(map[string]any{
		"name": "action", "on": map[string]any{"workflow_call": map[string]any{"inputs": inputs}},
		"jobs": map[string]any{"action": map[string]any{"runs-on": "ubuntu-24.04", "steps": action.Runs.Steps}},
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := linter(t).Lint("action.yaml", workflow, nil)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
	// A caller's workflow that uses the action as documented is checked against its inputs.
	caller := "on: push\njobs:\n  mesh:\n    runs-on: ubuntu-24.04\n" +
		"    steps:\n      - uses: actions/checkout@v4\n      - uses: ./\n        with: {%s}\n"
	project, err := actionlint.NewProject(root)
	if err != nil {
		t.Fatal(err)
	}
	for with, mistakes := range map[string]int{
		`contexts: "east,west"`: 0, `contexts: "east,west", profile: smoke`: 0,
		`profile: smoke`: 1, `contexts: "east,west", color: red`: 1,
	} {
		t.Run(with, func(t *testing.T) {
			found, err := linter(t).Lint(filepath.Join(root, ".github/workflows/caller.yaml"), fmt.Appendf(nil, caller, with), project)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != mistakes {
				t.Errorf("with %s: %v, want %d mistakes", with, found, mistakes)
			}
		})
	}
}

// What is uploaded is the bundle and nothing else: the folder it lies in also holds the fleet's
// credentials.
func TestUploads(t *testing.T) {
	want := []string{
		layout.ReportFile, layout.JUnitFile, layout.HTMLFile, layout.MarkdownFile, layout.GinkgoFile, layout.PreflightFile,
		layout.EvidenceDir, layout.SumsFile,
	}
	slices.Sort(want)
	files, _ := filepath.Glob(root + "/.github/workflows/*.yaml")
	uploads := 0
	for _, name := range append(files, root+"/action.yaml") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		upload := regexp.MustCompile(`(?s)upload-artifact@.*?path: \|\n(.*?)(\n\S|\n {2,6}\S|\z)`)
		for _, m := range upload.FindAllStringSubmatch(string(data), -1) {
			uploads++
			var got []string
			for line := range strings.Lines(m[1]) {
				line = strings.TrimSpace(line)
				got = append(got, line[strings.LastIndex(line, "/")+1:])
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("uploads of %s (-want +got):\n%s", name, diff)
			}
		}
	}
	if uploads != 4 {
		t.Errorf("%d uploads, want one each of ci and action, and two of nightly", uploads)
	}
}
