package redact

import (
	"bytes"
	"regexp"
)

// nextManifest finds the values of the first Secret in a text, in YAML, JSON and JSON within JSON.
// The names of a Secret's keys tell nothing about its values, so all of them go.
func nextManifest(text []byte) (start, end int) {
	if !bytes.Contains(text, []byte("Secret")) {
		return 0, 0
	}
	if start, end = nextInJSON(text); end == 0 {
		start, end = nextInYAML(text)
	}
	return start, end
}

// object is an object around the place that is read.
type object struct {
	column int // where its fields stand, in YAML
	secret bool
	values *span // its field data or stringData, unless that is empty
}

// span is a part of a text. Its end is 0 until that is known.
type span struct {
	start, end int
	flow       bool // in YAML: the values stand in braces
}

// close ends an object and its values, if they have not ended. It says whether they are a Secret's.
func (o *object) close(end int) bool {
	if o.values != nil && o.values.end == 0 {
		o.values.end = end
	}
	return o.secret && o.values != nil
}

var (
	jsonSecret = regexp.MustCompile(`kind\\*"\s*:\s*\\*"Secret\\*"`)
	jsonToken  = regexp.MustCompile(`[{}]|\\*"(?:kind\\*"\s*:\s*\\*"Secret\\*"|(?:stringD|d)ata\\*"\s*:\s*\{)`)
)

// nextInJSON reads the braces. One within a string can only widen or narrow what is taken.
func nextInJSON(text []byte) (start, end int) {
	if !jsonSecret.Match(text) {
		return 0, 0
	}
	around := []object{{}} // the text may begin within an object
	for _, m := range jsonToken.FindAllIndex(text, -1) {
		o := &around[len(around)-1]
		switch token := text[m[0]:m[1]]; {
		case token[0] == '}' && len(around) > 1:
			around = around[:len(around)-1]
			if o.close(m[0]) {
				return o.values.start, o.values.end
			}
			if p := &around[len(around)-1]; p.values != nil && p.values.end == 0 {
				p.values.end = m[1]
			}
		case token[0] == '}':
		case token[len(token)-1] == '{':
			if i := skip(text, m[1], blank); len(token) > 1 && o.values == nil && i < len(text) && text[i] != '}' {
				o.values = &span{start: m[0]}
			}
			around = append(around, object{})
		default:
			o.secret = true
		}
	}
	for i := range around { // what is open is cut at the end of the text
		if o := &around[i]; o.close(len(text)) {
			return o.values.start, o.values.end
		}
	}
	return 0, 0
}

var (
	yamlSecret = regexp.MustCompile(`kind:[ \t]+["']?Secret["']?[ \t\r]*(?:[ \t]#[^\n]*)?(?:\n|$)`)
	yamlKind   = regexp.MustCompile(`^kind:[ \t]+["']?Secret["']?(?:[ \t]+#.*)?$`)
	yamlData   = regexp.MustCompile(`^(?:stringD|d)ata:(?:[ \t]+#.*)?$`)
	yamlFlow   = regexp.MustCompile(`^(?:stringD|d)ata:[ \t]*\{[ \t]*(?:[^ \t}]|$)`)
)

// nextInYAML reads the indentation: the fields of an object stand in one column, its values to the
// right of it.
func nextInYAML(text []byte) (start, end int) {
	if !yamlSecret.Match(text) {
		return 0, 0
	}
	var around []object
	filled := 0 // where the last line with text ends
	// leave closes the objects to the right of a column, and those that a new one follows there.
	leave := func(column int, begins bool) *span {
		for n := len(around); n > 0 && (around[n-1].column > column || around[n-1].column == column && begins); n-- {
			if around[n-1].close(filled) {
				return around[n-1].values
			}
			around = around[:n-1]
		}
		return nil
	}
	var next int
	for at := 0; at < len(text); at = next {
		next = len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		l := lineOf(text[at:next])
		if len(l.field) == 0 {
			continue
		}
		if values := leave(l.column, l.begins); values != nil {
			return values.start, values.end
		}
		if n := len(around); n == 0 || around[n-1].column < l.column {
			around = append(around, object{column: l.column})
		}
		o := &around[len(around)-1]
		if o.values != nil && o.values.end == 0 {
			o.values.end = filled
		}
		if o.values != nil && !o.values.flow && bytes.IndexByte(text[o.values.start:o.values.end], '\n') < 0 {
			o.values = nil // the field was empty
		}
		switch {
		case yamlKind.Match(l.field):
			o.secret = true
		case o.values == nil && yamlData.Match(l.field):
			o.values = &span{start: at + l.column}
		case o.values == nil && yamlFlow.Match(l.field):
			o.values = &span{start: at + l.column, end: closing(text, at+l.column), flow: true}
		}
		filled = at + l.size
	}
	if values := leave(0, true); values != nil {
		return values.start, values.end
	}
	return 0, 0
}

// closing is where the braces end that begin after i.
func closing(text []byte, i int) int {
	for open := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// line is a line of YAML.
type line struct {
	column, size int
	begins       bool // an object: it is an item of a list, or stands between two documents
	field        []byte
}

func lineOf(text []byte) line {
	text = bytes.TrimRight(text, " \t\r\n")
	l := line{size: len(text), begins: bytes.Equal(text, []byte("---"))}
	for l.column < len(text) && (text[l.column] == ' ' || bytes.HasPrefix(text[l.column:], []byte("- "))) {
		l.begins = l.begins || text[l.column] == '-'
		l.column++
	}
	l.field = text[l.column:]
	return l
}
