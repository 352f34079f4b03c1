package v1alpha2_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"ambient.test/conformance/reports/api/v1alpha2"
)

var update = flag.Bool("update", false, "write the JSON schema")

// The published schema is what the Go types say, their comments included.
func TestSchemaIsGenerated(t *testing.T) {
	r := &jsonschema.Reflector{}
	if err := r.AddGoComments("ambient.test/conformance/reports/api/v1alpha2", "./"); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&v1alpha2.ConformanceReport{})
	s.ID = v1alpha2.SchemaID
	s.Title = "Conformance report of Istio ambient multicluster, " + v1alpha2.APIVersion
	version, ok := s.Definitions["ConformanceReport"].Properties.Get("apiVersion")
	if !ok {
		t.Fatal("the report has no apiVersion")
	}
	version.Enum = []any{v1alpha2.APIVersion} // a struct tag cannot hold the constant
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(bytes.ReplaceAll(want, []byte(`\n`), []byte(" ")), '\n') // comments are wrapped, descriptions are not
	for _, name := range []string{"schema.json", "../../../docs/report.schema.json"} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what it is generated from: run `go test ./reports/api/v1alpha2 -update` and have the difference reviewed "+
				"(-want +got):\n%s", name, diff)
		}
	}
}
