package reports

import (
	"fmt"
	"html/template"
	"io"

	"ambient.test/conformance/reports/api/v1alpha1"
)

// HTML renders the report as one self-contained page.
func HTML(w io.Writer, r *v1alpha1.ConformanceReport) error {
	_, err := fmt.Fprintf(w, "<!doctype html><title>%s</title><h1>%[1]s</h1>\n", template.HTMLEscapeString(sentence(r)))
	return err
}
