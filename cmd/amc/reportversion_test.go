package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ambient.test/conformance/reports/api"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/layout"
)

// A bundle of an older release is refused by every command that reads one, in one sentence that
// says what to do.
func TestBundleOfAnotherVersionIsRefused(t *testing.T) {
	dir, now := madeBundle(t, nil), madeBundle(t, nil)
	private, _ := keys(t)
	name := filepath.Join(dir, layout.ReportFile)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	old := api.Group + "/v1alpha1"
	if err := os.WriteFile(name, bytes.Replace(data, []byte(v1alpha2.APIVersion), []byte(old), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	for command, args := range map[string][]string{
		"verify":    {dir},
		"render":    {dir},
		"render to": {dir, "--to", t.TempDir()},
		"sign":      {dir, "--key", private},
		"diff from": {dir, now},
		"diff to":   {now, dir},
	} {
		t.Run(command, func(t *testing.T) {
			verb, _, _ := strings.Cut(command, " ")
			out, code, err := amc(t, append([]string{verb}, args...)...)
			if err == nil {
				t.Fatalf("got exit code %d and no error", code)
			}
			if code == exitConformant {
				t.Fatalf("got the exit code of success, and %v", err)
			}
			for _, want := range []string{
				"the report is of", old, "reads only " + v1alpha2.APIVersion, "run the suite again", "the release of amc that wrote",
			} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to contain %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("it is more than one line: %q", err)
			}
			if out != "" {
				t.Errorf("it prints\n%s", out)
			}
		})
	}
}
