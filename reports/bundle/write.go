package bundle

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/junit"
	"ambient.test/conformance/reports/layout"
)

// WriteFile writes a file of a bundle, whole or not at all.
func WriteFile(dir, name string, data []byte) error {
	tmp := filepath.Join(dir, "."+name+".tmp")
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("the bundle cannot be written: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("the bundle cannot be written: %w", err)
	}
	return nil
}

func writeReport(dir string, r *v1alpha2.ConformanceReport) error {
	data, err := Encode(r)
	if err != nil {
		return err
	}
	if err := WriteFile(dir, layout.ReportFile, data); err != nil {
		return err
	}
	return writeWith(dir, layout.JUnitFile, r, junit.Write)
}

func writeWith(dir, name string, r *v1alpha2.ConformanceReport,
	render func(io.Writer, *v1alpha2.ConformanceReport) error,
) error {
	var b strings.Builder
	if err := render(&b, r); err != nil {
		return fmt.Errorf("%s cannot be rendered: %w", name, err)
	}
	return WriteFile(dir, name, []byte(b.String()))
}
