// Package manifests holds the YAML that is applied to clusters, where there is no Go type for it.
package manifests

import (
	"bytes"
	_ "embed"
	"text/template"
)

//go:embed metallb-pool.yaml
var metallbPool string

var metallbPoolTemplate = template.Must(template.New("metallb-pool").Option("missingkey=error").Parse(metallbPool))

// MetalLBPool returns the address pool of a cluster that the suite created, and its announcement by one
// of its nodes. Each range is such as 10.90.0.200-10.90.0.209.
func MetalLBPool(ranges []string, node string) []byte {
	var b bytes.Buffer
	if err := metallbPoolTemplate.Execute(&b, struct {
		Ranges []string
		Node   string
	}{ranges, node}); err != nil {
		panic(err) // the template is part of the binary and has these fields
	}
	return b.Bytes()
}
