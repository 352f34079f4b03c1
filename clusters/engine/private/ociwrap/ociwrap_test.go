package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ambient.test/conformance/clusters/engine/private/capset"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]call{
		"--root /r --log /l --log-format json create --bundle /b --pid-file /p id": {command: "create", bundle: "/b", log: "/l", logJSON: true},
		"--log=/l create -b=/b id":              {command: "create", bundle: "/b", log: "/l"},
		"run id --bundle /not-the-runtimes":     {command: "run", bundle: "."},
		"exec --process /p --detach id":         {command: "exec", bundle: ".", process: "/p"},
		"exec -e A=1 --cwd / id sh -p /no":      {command: "exec", bundle: "."},
		"--systemd-cgroup exec --env create id": {command: "exec", bundle: "."},
		"kill --all id":                         {command: "kill", bundle: "."},
		"--log create":                          {bundle: ".", log: "create"},
		"":                                      {bundle: "."},
		"create --console-socket --bundle --bundle /b i": {command: "create", bundle: "/b"},
	} {
		t.Run(line, func(t *testing.T) {
			if got := parse(strings.Fields(line)); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// short is a process without CAP_SYS_RESOURCE, with an OOM score of 100 and at most 1024 open
// files.
var short = bounds{
	caps: ^capset.Set(0) &^ (1 << capset.SysResource), oomScore: 100,
	limits: func(name string) (uint64, bool) { return 1024, name == "RLIMIT_NOFILE" },
}

func TestNarrowSpec(t *testing.T) {
	const spec = `{"ociVersion": "1.0.2", "process": {
		"capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_OF_TOMORROW"], "ambient": ["CAP_SYS_RESOURCE"]},
		"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1048576},
			{"type": "RLIMIT_CORE", "hard": 18446744073709551615, "soft": 0}],
		"oomScoreAdj": -999, "args": ["x"]}, "linux": {"resources": {"devices": [{"major": 9007199254740993}]}}}`
	narrowed, err := narrowSpec([]byte(spec), short)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(narrowed, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"ociVersion": "1.0.2", "process": {
		"capabilities": {"bounding": ["CAP_CHOWN", "CAP_OF_TOMORROW"], "ambient": []},
		"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}, {"type": "RLIMIT_CORE", "hard": 18446744073709551615, "soft": 0}],
		"oomScoreAdj": 100, "args": ["x"]}, "linux": {"resources": {"devices": [{"major": 9007199254740993}]}}}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("narrowed spec (-want +got):\n%s", diff)
	}
	for _, number := range []string{"9007199254740993", "18446744073709551615"} { // larger than a float can hold
		if !strings.Contains(string(narrowed), number) {
			t.Errorf("%s was changed: %s", number, narrowed)
		}
	}
	// What the kernel would take as it is stays untouched, byte for byte.
	if again, err := narrowSpec(narrowed, short); err != nil {
		t.Errorf("a second time: %v", err)
	} else if again != nil {
		t.Errorf("a second time: got %s, want no change", again)
	}
	full := short
	full.caps = ^capset.Set(0)
	if same, err := narrowSpec([]byte(spec), full); err != nil {
		t.Errorf("with every capability: %v", err)
	} else if same != nil {
		t.Errorf("with every capability: got %s, want no change", same)
	}
	for _, s := range []string{`{}`, `{"process": null}`, `{"process": {"capabilities": null, "rlimits": null}}`} {
		t.Run(s, func(t *testing.T) {
			if got, err := narrowSpec([]byte(s), short); err != nil {
				t.Errorf("got %v, want no error", err)
			} else if got != nil {
				t.Errorf("got %s, want no change", got)
			}
		})
	}
	for _, s := range []string{
		`[`, `{"process": []}`, `{"process": {"capabilities": []}}`, `{"process": {"rlimits": [{"hard": -1}]}}`,
		`{"process": {"oomScoreAdj": "x"}}`,
	} {
		t.Run(s, func(t *testing.T) {
			if _, err := narrowSpec([]byte(s), short); err == nil {
				t.Errorf("%s was taken", s)
			}
		})
	}
}

func TestReplaceKeepsTheMode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := replace(file, []byte("new")); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(file)
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != "new" {
		t.Errorf("got %q, want %q", b, "new")
	}
	if mode := st.Mode().Perm(); mode != 0o640 {
		t.Errorf("got mode %o, want 640", mode)
	}
}

// It never becomes itself, which would go round for ever.
func TestFirstRuntime(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	self, plain, runc := file("self", 0o755), file("plain", 0o644), file("runc", 0o755)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	if got, err := firstRuntime(self, []string{filepath.Join(dir, "none"), dir, plain, self, link, runc}); err != nil {
		t.Error(err)
	} else if got != runc {
		t.Errorf("got %q, want %q", got, runc)
	}
	if _, err := firstRuntime(self, []string{link}); !strings.Contains(fmt.Sprint(err), "RUNC_REAL") {
		t.Errorf("got %v, want it to say RUNC_REAL", err)
	}
}

func TestReport(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log.json")
	report(call{log: log, logJSON: true}, errors.New(`no "runc"`))
	b, err := os.ReadFile(log)
	var line struct{ Level, Msg string }
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &line); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if diff := cmp.Diff([]string{"error", `ociwrap: no "runc"`}, []string{line.Level, line.Msg}); diff != "" {
		t.Errorf("level and message (-want +got):\n%s", diff)
	}
}
