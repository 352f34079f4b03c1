package v1alpha2

import (
	_ "embed"
	"slices"

	"ambient.test/conformance/reports/api"
)

// SchemaID is the identifier of the JSON schema of [ConformanceReport].
const SchemaID = "https://" + api.Group + "/schemas/conformance-report-v1alpha2.json"

//go:embed schema.json
var schema []byte

// Schema is the JSON schema of [ConformanceReport].
func Schema() []byte { return slices.Clone(schema) }
