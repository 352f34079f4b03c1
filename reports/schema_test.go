package reports

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/invopop/jsonschema"

	"ambient.test/conformance/reports/api/v1alpha2"
)

var update = flag.Bool("update", false, "write the JSON schema and generated docs anew")

// The published schema is what the Go types say, docstrings included.
func TestSchemaIsGenerated(t *testing.T) {
	r := &jsonschema.Reflector{}
	if err := r.AddGoComments("ambient.test/conformance/reports", "./api/v1alpha2"); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&v1alpha2.ConformanceReport{})
	s.ID = "https://ambient.test/schemas/conformance-report-v1alpha2.json"
	s.Title = "Conformance report of Istio ambient multicluster, " + v1alpha2.APIVersion
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	for _, name := range []string{"api/v1alpha2/schema.json", "../docs/report.schema.json"} {
		generated(t, name, want)
	}
}

// generated holds that a file is what it would be generated as.
func generated(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what it is generated from: run `go test ./reports -update` and let the difference be reviewed", name)
	}
}
