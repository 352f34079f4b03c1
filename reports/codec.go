// Package reports writes and reads what a run found: the bundle, a directory that is written while the run goes on and finished on any exit.
//
// It never talks to a cluster. Everything in a bundle but the evidence is made from report.yaml and can be made again.
package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// Limits of a report that is read. They bound what a hostile one can cost: a node of the document takes some 200 bytes.
const (
	maxReportBytes = 32 << 20
	maxReportNodes = 2_000_000
	maxReportDepth = 32
)

// Encode writes a report as YAML: fields in the order of the Go types, the same report always the same bytes.
func Encode(r *v1alpha2.ConformanceReport) ([]byte, error) {
	var js bytes.Buffer
	e := json.NewEncoder(&js)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("report cannot be encoded: %w", err)
	}
	d := json.NewDecoder(&js)
	d.UseNumber()
	n, err := nodeOf(d)
	if err != nil {
		return nil, fmt.Errorf("report cannot be encoded: %w", err)
	}
	var out bytes.Buffer
	y := yaml.NewEncoder(&out)
	y.SetIndent(2)
	if err := y.Encode(n); err != nil {
		return nil, fmt.Errorf("report cannot be encoded: %w", err)
	}
	return out.Bytes(), nil
}

// nodeOf builds YAML from JSON's tokens, which keeps the order that a map would lose. (Parsing the JSON as YAML fails on characters YAML forbids raw.)
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
		tag := "!!int"
		if strings.ContainsAny(string(t), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: string(t)}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t}, nil
	}
	return nil, fmt.Errorf("unexpected %v", t)
}

// Decode reads a report strictly: UTF-8, one document, no alias, no tag of its own, no key twice, no unknown field, of this version.
func Decode(data []byte) (*v1alpha2.ConformanceReport, error) {
	js, err := toJSON(data)
	if err != nil {
		return nil, err
	}
	return decodeJSON(js)
}

func decodeJSON(js []byte) (*v1alpha2.ConformanceReport, error) {
	var head struct{ APIVersion, Kind string }
	if err := json.Unmarshal(js, &head); err != nil {
		return nil, errors.New("it is not a report: the document is not a mapping with apiVersion and kind")
	}
	if head.APIVersion != v1alpha2.APIVersion || head.Kind != v1alpha2.Kind {
		return nil, fmt.Errorf("it says %.60q %.60q; this amc reads %s %s", head.APIVersion, head.Kind, v1alpha2.APIVersion, v1alpha2.Kind)
	}
	r := &v1alpha2.ConformanceReport{}
	d := json.NewDecoder(bytes.NewReader(js))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("it does not have the form of a report: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return r, nil
}

// toJSON is YAML, strictly read, as JSON. Its errors are one sentence and quote no more than a few characters of the input.
func toJSON(data []byte) ([]byte, error) {
	switch {
	case len(data) > maxReportBytes:
		return nil, fmt.Errorf("it is larger than %d MiB", maxReportBytes>>20)
	case !utf8.Valid(data) || bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) || bytes.IndexByte(data, 0) >= 0:
		return nil, errors.New("it is not plain UTF-8 text")
	}
	// Every node but the first is set off by one of these, so their number bounds the document's before it is built.
	nodes := 0
	for _, c := range data {
		switch c {
		case '\n', '\r', ',', '[', '{', ':', '?':
			nodes++
		}
	}
	if nodes > maxReportNodes {
		return nil, fmt.Errorf("it has more than %d parts", maxReportNodes)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, fmt.Errorf("it is not YAML: %s", oneLine(strings.TrimPrefix(err.Error(), "yaml: "), 120))
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
	if depth > maxReportDepth {
		return fmt.Errorf("line %d: it is nested deeper than %d", n.Line, maxReportDepth)
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
				return fmt.Errorf("line %d: the key %.40q stands twice, first in line %d", k.Line, k.Value, first)
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
			// Only what JSON reads too: no octal, no infinity, no underscores.
			if !json.Valid([]byte(n.Value)) {
				return fmt.Errorf("line %d: %.40q is not a decimal number", n.Line, n.Value)
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

// oneLine is s without line breaks and control characters, cut to n characters.
func oneLine(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
