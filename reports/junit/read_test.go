package junit

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

// Verdicts reads the verdicts by id. It reads a token at a time and refuses declarations and deep
// nesting, so that a hostile file costs no more than its length.
func Verdicts(data []byte) (map[string]v1alpha2.Verdict, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Strict = true
	got := map[string]v1alpha2.Verdict{}
	id, depth := "", 0
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is not XML: %s", text.Line(err.Error(), 120))
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, errors.New("declarations are not allowed")
		case xml.StartElement:
			if depth++; depth > 16 {
				return nil, errors.New("it is nested deeper than 16")
			}
			switch t.Name.Local {
			case "testcase":
				for _, a := range t.Attr {
					if a.Name.Local == "name" {
						id, _, _ = strings.Cut(a.Value, " ")
					}
				}
				if _, twice := got[id]; twice || id == "" {
					return nil, fmt.Errorf("the id %.40q stands twice or is empty", id)
				}
				got[id] = v1alpha2.Conformant
			case "failure":
				got[id] = v1alpha2.NonConformant
			case "error":
				got[id] = v1alpha2.Unknown
			case "skipped":
				got[id] = v1alpha2.Skipped
				if slices.ContainsFunc(t.Attr, func(a xml.Attr) bool { return a.Name.Local == "type" && a.Value == known }) {
					got[id] = v1alpha2.NonConformant
				}
			}
		case xml.EndElement:
			depth--
		}
	}
}
