// The codec is ours, not a YAML library's. Fields keep the order of the Go types, and what is read
// may be hostile: alias bombs, huge documents, keys that stand twice.

package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"ambient.test/conformance/reports/api"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/text"
)

// MaxReportBytes, maxNodes and maxDepth bound what reading a hostile report costs. A node of the
// document takes some 200 bytes. The report of an honest run has 100 KiB.
const (
	MaxReportBytes = 8 << 20
	maxNodes       = 320_000
	maxDepth       = 32
)

// number is a number as it is read: no exponent, which makes a few characters cost the reader
// millions of digits, and no more digits than a float64 can have.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

const maxDigits = 400

// lineBreaks end a line for some readers of YAML and not for others, which then read another
// report.
const lineBreaks = "\u0085\u2028\u2029"

// Encode writes a report as YAML. The same report is always the same bytes.
func Encode(r *v1alpha2.ConformanceReport) ([]byte, error) {
	var js bytes.Buffer
	e := json.NewEncoder(&js)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("the report cannot be encoded: %w", err)
	}
	d := json.NewDecoder(&js)
	d.UseNumber()
	n, err := nodeOf(d)
	if err != nil {
		return nil, fmt.Errorf("the report cannot be encoded: %w", err)
	}
	var out bytes.Buffer
	y := yaml.NewEncoder(&out)
	y.SetIndent(2)
	if err := y.Encode(n); err != nil {
		return nil, fmt.Errorf("the report cannot be encoded: %w", err)
	}
	return out.Bytes(), nil
}

// nodeOf builds YAML from JSON's tokens, which keeps the order of fields. (Parsing the JSON as YAML
// would fail on characters that YAML forbids unescaped.)
func nodeOf(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if t == '[' {
			n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		}
		for d.More() {
			c, err := nodeOf(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
		}
		_, err := d.Token()
		return n, err
	case json.Number:
		tag, digits := "!!int", string(t)
		if strings.ContainsAny(digits, "eE") {
			f, err := t.Float64()
			if err != nil {
				return nil, err
			}
			digits = strconv.FormatFloat(f, 'f', -1, 64)
		}
		if strings.ContainsAny(string(t), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: digits}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t}
		if strings.ContainsAny(t, lineBreaks) {
			n.Style = yaml.DoubleQuotedStyle // escaped
		}
		return n, nil
	}
	return nil, fmt.Errorf("unexpected %v", t)
}

// Decode reads a report strictly: UTF-8, one document, no alias, no custom tag, no key twice, no
// unknown field, and of this version.
func Decode(data []byte) (*v1alpha2.ConformanceReport, error) {
	js, err := ToJSON(data)
	if err != nil {
		return nil, err
	}
	return DecodeJSON(js)
}

// VersionError says that a report is of another version of the API.
type VersionError struct{ APIVersion string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the report is of %.60q, and this release of amc reads only %s: "+
		"run the suite again with this release, or use the release of amc that wrote the report", e.APIVersion, v1alpha2.APIVersion)
}

// checkVersion refuses what is not a report of this version. It returns a *[VersionError] for a
// report of another version.
func checkVersion(js []byte) error {
	var head struct{ APIVersion, Kind string }
	if err := json.Unmarshal(js, &head); err != nil {
		return errors.New("it is not a report: the document is not a mapping with apiVersion and kind")
	}
	switch {
	case head.APIVersion == v1alpha2.APIVersion && head.Kind == v1alpha2.Kind:
		return nil
	case strings.HasPrefix(head.APIVersion, api.Group+"/") && head.Kind == v1alpha2.Kind:
		return &VersionError{text.Line(head.APIVersion, 60)}
	}
	return fmt.Errorf("it is a %.60q of %.60q, not a %s of %s", head.Kind, head.APIVersion, v1alpha2.Kind, v1alpha2.APIVersion)
}

// DecodeJSON reads a report from what [ToJSON] returned. It wants what the schema wants: what is
// rendered or compared costs no more than the schema's bounds allow.
func DecodeJSON(js []byte) (*v1alpha2.ConformanceReport, error) {
	if err := checkVersion(js); err != nil {
		return nil, err
	}
	if err := validate(js); err != nil {
		return nil, err
	}
	r := &v1alpha2.ConformanceReport{}
	d := json.NewDecoder(bytes.NewReader(js))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("it does not have the form of a report: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return r, nil
}

// ToJSON reads YAML strictly and returns it as JSON. Its errors are one sentence and quote no more
// than a few characters of the input.
func ToJSON(data []byte) ([]byte, error) {
	switch {
	case len(data) > MaxReportBytes:
		return nil, fmt.Errorf("it is larger than %d MiB", MaxReportBytes>>20)
	case !utf8.Valid(data) || bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) || bytes.IndexByte(data, 0) >= 0:
		return nil, errors.New("it is not plain UTF-8 text")
	case bytes.ContainsAny(data, lineBreaks):
		return nil, errors.New("it holds U+0085, U+2028 or U+2029, which not every reader of YAML takes for the same: they must be escaped")
	}
	// One of these stands before every node but the first. Their number bounds the size of the
	// document before it is built.
	nodes := 0
	for i, c := range data {
		switch c {
		case '\n', '\r', ',', '[', '{', ':', '?':
			nodes++
		case '-': // lists in lists: "- - - a"
			if i+1 == len(data) || strings.IndexByte(" \t\r\n", data[i+1]) >= 0 {
				nodes++
			}
		}
	}
	if nodes > maxNodes {
		return nil, fmt.Errorf("it has more than %d parts", maxNodes)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, fmt.Errorf("it is not YAML: %s", text.Line(strings.TrimPrefix(err.Error(), "yaml: "), 120))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document")
	}
	var out bytes.Buffer
	out.Grow(len(data) + len(data)/2)
	if err := jsonOf(&out, doc.Content[0], 0); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func jsonOf(out *bytes.Buffer, n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("line %d: it is nested deeper than %d", n.Line, maxDepth)
	}
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		return fmt.Errorf("line %d: anchors and aliases are not allowed", n.Line)
	}
	quote := func(s string) {
		b, _ := json.Marshal(s) // a string always encodes
		out.Write(b)
	}
	switch n.Kind {
	case yaml.MappingNode:
		if n.ShortTag() != "!!map" {
			return fmt.Errorf("line %d: tag %.40q is not allowed", n.Line, n.Tag)
		}
		seen := make(map[string]int, len(n.Content)/2)
		out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" || k.Anchor != "" {
				return fmt.Errorf("line %d: a key is not plain text", k.Line)
			}
			if first, twice := seen[k.Value]; twice {
				return fmt.Errorf("line %d: the key %.40q appears twice, first in line %d", k.Line, k.Value, first)
			}
			seen[k.Value] = k.Line
			if i > 0 {
				out.WriteByte(',')
			}
			quote(k.Value)
			out.WriteByte(':')
			if err := jsonOf(out, n.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		if n.ShortTag() != "!!seq" {
			return fmt.Errorf("line %d: tag %.40q is not allowed", n.Line, n.Tag)
		}
		out.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := jsonOf(out, c, depth+1); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!str", "!!timestamp":
			quote(n.Value)
		case "!!null":
			out.WriteString("null")
		case "!!bool":
			var b bool
			if err := n.Decode(&b); err != nil {
				return fmt.Errorf("line %d: %.40q is not true or false", n.Line, n.Value)
			}
			fmt.Fprint(out, b)
		case "!!int", "!!float":
			// No octal, no infinity, no underscores, no exponent.
			if len(n.Value) > maxDigits || !number.MatchString(n.Value) {
				return fmt.Errorf("line %d: %.40q is not a decimal number without an exponent", n.Line, n.Value)
			}
			out.WriteString(n.Value)
		default:
			return fmt.Errorf("line %d: tag %.40q is not allowed", n.Line, n.Tag)
		}
	default:
		return fmt.Errorf("line %d: it cannot be read", n.Line)
	}
	return nil
}
