package verify

import (
	"bytes"
	"fmt"

	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

func (in *inspection) sumsForm() []string   { return in.sumsWrong }
func (in *inspection) plainFiles() []string { return in.treeWrong }

func (in *inspection) complete() (wrong []string) {
	there := map[string]bool{}
	for _, n := range in.names {
		there[n] = true
		if in.sums[n] == "" && len(in.sums) > 0 {
			wrong = append(wrong, n+" is not listed")
		}
	}
	for _, n := range in.sumsOrder {
		if !there[n] {
			wrong = append(wrong, n+" is listed and missing")
		}
	}
	for _, n := range layout.Required {
		if !there[n] && in.sums[n] == "" {
			wrong = append(wrong, n+" is missing")
		}
	}
	if in.certified() {
		for _, n := range in.foreign {
			wrong = append(wrong, n+" does not belong in a certified bundle")
		}
	}
	return wrong
}

func (in *inspection) sumsMatch() (wrong []string) {
	for _, n := range in.names {
		f, read := in.files[n]
		switch want := in.sums[n]; {
		case !read || want == "":
		case f.err != nil:
			wrong = append(wrong, n+" cannot be read")
		case f.sum != want:
			wrong = append(wrong, n+" was changed after the bundle was closed")
		case n == layout.ReportFile && in.reportRaw != nil && f.sum != sumOf(in.reportRaw):
			wrong = append(wrong, n+" was changed while it was read")
		}
	}
	return wrong
}

func (in *inspection) noSecrets() (wrong []string) {
	for _, n := range in.scanned() {
		if s := in.files[n].secret; s != "" {
			wrong = append(wrong, n+" holds "+s)
		}
		if s := redact.In([]byte(n)); s != "" {
			wrong = append(wrong, "a name in the evidence holds "+s)
		}
	}
	return wrong
}

func one(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

func (in *inspection) strictYAML() []string { return one(in.yamlErr) }
func (in *inspection) schema() []string     { return one(in.schemaErr) }

// canonical writes the report again and compares. A report of another catalog is of another
// release, which may write it in another way.
func (in *inspection) canonical() []string {
	again, err := bundle.Encode(in.report)
	if err != nil {
		return one(err)
	}
	if at := firstDifference(in.reportRaw, again); at > 0 {
		return []string{fmt.Sprintf("line %d of %s is not written as this release writes it", at, layout.ReportFile)}
	}
	return nil
}

// firstDifference is the number of the first line that differs, 0 when none does.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return 1 + bytes.Count(a[:n], []byte("\n"))
}
