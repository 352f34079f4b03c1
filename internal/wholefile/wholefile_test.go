package wholefile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

func TestWriteReplacesWhatIsThere(t *testing.T) {
	mine := filepath.Join(t.TempDir(), "mine")
	for name, prepare := range map[string]func(at string) error{
		"nothing":    func(string) error { return nil },
		"a file":     func(at string) error { return os.WriteFile(at, []byte("old"), 0o644) },
		"a link out": func(at string) error { return os.Symlink(mine, at) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			root, dir := open(t)
			if err := prepare(filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
			if err := Write(root, "a", []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(left) != 1 {
				t.Fatalf("got %v, want one file", left)
			}
			if !left[0].Type().IsRegular() {
				t.Errorf("got %v, want a plain file", left[0])
			}
			for file, want := range map[string]string{filepath.Join(dir, "a"): "new", mine: "mine"} {
				got, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", file, diff)
				}
			}
		})
	}
}

func TestWriteLeavesNothingWhenItFails(t *testing.T) {
	root, dir := open(t)
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for what, name := range map[string]string{"a folder": "a", "in no folder": "none/a", "outside": "../a"} {
		t.Run(what, func(t *testing.T) {
			if err := Write(root, name, []byte("new"), 0o600); err == nil {
				t.Errorf("%s was written", name)
			}
		})
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("got %v, want only the folder", left)
	}
}

func TestLeftover(t *testing.T) {
	for name, want := range map[string]bool{
		".amc-ABCDEFGHIJKLMNOPQRSTUVWXYZ.tmp": true, ".amc-x.tmp": false, ".report.yaml.tmp": false, "report.yaml": false,
	} {
		t.Run(name, func(t *testing.T) {
			if got := Leftover(name); got != want {
				t.Errorf("got %t, want %t", got, want)
			}
		})
	}
}
