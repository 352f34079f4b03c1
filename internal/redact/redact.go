// Package redact finds secrets in text and removes them: private keys, tokens, passwords and the
// values of Secrets. Evidence is redacted before it is written, and a bundle is scanned before it
// is closed and whenever it is verified.
package redact

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// form is one kind of secret. Its next finds the first one in a text: the text from start to end
// goes when it is redacted. Without one, end is 0.
type form struct {
	name string
	next func(text []byte) (start, end int)
}

// shape is a form that a literal and an expression tell: text without the literal is passed over at
// the speed at which a literal is found, and the expression reads no further from there than bytes
// of a set go; nil: to the end of the text. Where is is given, it says whether what the expression's
// group found is a secret.
func shape(name, literal string, reach *set, expression string, is func(group []byte) bool) form {
	e, find := regexp.MustCompile(literal+expression), finder(literal)
	return form{name, func(text []byte) (int, int) {
		for from := 0; ; {
			i := find(text[from:])
			if i < 0 {
				return 0, 0
			}
			from += i
			end := len(text)
			if reach != nil {
				for end = from + len(literal); end < len(text) && reach[text[end]]; end++ {
				}
			}
			m := e.FindSubmatchIndex(text[from:end])
			switch {
			case m == nil: // none begins before, but the literal may
				from = max(from+1, end-len(literal)+1)
			case is == nil || is(text[from+m[2]:from+m[3]]):
				return from + m[0], from + m[1]
			default:
				from += m[1]
			}
		}
	}}
}

// bordered is a form of a fixed length whose like stands by chance in long random texts: it counts
// only where nothing of such a text is before or behind it.
func bordered(f form) form {
	return form{f.name, func(text []byte) (int, int) {
		for from := 0; ; {
			start, end := f.next(text[from:])
			if end == 0 {
				return 0, 0
			}
			start, end = from+start, from+end
			if (start == 0 || !inBase64[text[start-1]]) && (end == len(text) || !inBase64[text[end]]) {
				return start, end
			}
			from = end
		}
	}}
}

// rareness orders letters by how seldom logs and manifests have them, the rarest first.
const rareness = "JQXZKVYWGUHFBPDMLCRNATOSIEjqxz_kvbywgpfhudmlcrsnatoie"

// finder finds a literal by the rarest of its letters.
func finder(literal string) func(text []byte) int {
	rarest := strings.IndexByte(literal, rareness[slices.Min(ranks(literal))])
	return func(text []byte) int {
		for i := rarest; i < len(text); i++ {
			j := bytes.IndexByte(text[i:], literal[rarest])
			if j < 0 {
				return -1
			}
			i += j
			if start := i - rarest; len(text)-start >= len(literal) && string(text[start:start+len(literal)]) == literal {
				return start
			}
		}
		return -1
	}
}

func ranks(literal string) (all []int) {
	for _, b := range []byte(literal) {
		if r := strings.IndexByte(rareness, b); r >= 0 {
			all = append(all, r)
		}
	}
	return all
}

// forms are the secrets that a bundle must not hold. The form of a private key reaches to its end,
// so that redacting it leaves nothing of it behind. The forms that are told by more than their own
// shape come first, so that a field goes together with its name.
var forms = []form{
	{"values of a Secret", nextManifest},
	shape("a private key", `-----BEGIN `, nil, `[A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\n]*`+
		`(?:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?`, nil),
	shape("a private key (base64)",
		`LS0tLS1CRUdJTi`, nil, `(?:BQUklWQVRF|BSU0EgUFJJVkFUR|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVEUg|BFTkNSWVBURUQg)[A-Za-z0-9+/=]*`, nil),
	{"a token", nextJWT},
	{"a credential", nextField},
	bearer("Bearer"),
	bearer("bearer"),
	bearer("BEARER"),
	{"a credential", nextFlag},
	{"a password in a URL", nextURL},
	shape("a credential", `token`, words6and16, `[ \t]+([a-z0-9]{6}\.[a-z0-9]{16})`, isRandom), // of kubeadm
	shape("a credential", `certificate-key`, hexKey, `["']?[=: \t]{1,4}["']?[0-9a-f]{64}`, nil),
	shape("a credential", `certificateKey`, hexKey, `["']?[=: \t]{1,4}["']?[0-9a-f]{64}`, nil),
	bordered(shape("a token of AWS", `AKIA`, capitals, `[0-9A-Z]{16}`, nil)),
	bordered(shape("a token of AWS", `ASIA`, capitals, `[0-9A-Z]{16}`, nil)),
	{"a token of GitHub", nextGitHub},
	shape("a token of GitLab", `glpat-`, parts, `[A-Za-z0-9_-]{20,}`, nil),
	shape("a token of Slack", `xox`, parts, `[abeoprs]-([A-Za-z0-9-]{10,})`, isRandom),
	bordered(shape("a key of Google", `AIza`, parts, `[A-Za-z0-9_-]{35}`, nil)),
}

// maxRounds bounds how often a text is redacted again: what is left of two secrets that overlap may
// be one. Two rounds are enough for all that was ever seen.
const maxRounds = 8

// Bytes replaces every secret in a text by the name of its form.
func Bytes(text []byte) []byte {
	for range maxRounds {
		changed := false
		for i := range forms {
			text, changed = forms[i].remove(text, changed)
		}
		if !changed {
			break
		}
	}
	return text
}

func (f *form) remove(text []byte, changed bool) ([]byte, bool) {
	var out []byte
	rest := text
	for {
		start, end := f.next(rest)
		if end == 0 {
			break
		}
		out = append(append(out, rest[:start]...), " [redacted: "+f.name+"]"...)
		rest, changed = rest[end:], true
	}
	if out == nil {
		return text, changed
	}
	return append(out, rest...), changed
}

// In names the form of a secret in the data, or is empty. Its time is linear in the data, whatever
// they are.
func In(data []byte) string {
	for i := range forms {
		if _, end := forms[i].next(data); end > 0 {
			return forms[i].name
		}
	}
	return ""
}

// Scan reads in windows. They overlap by more than what identifies a secret.
const window, overlap = 256 << 10, 32 << 10

var buffers = sync.Pool{New: func() any { return new([overlap + window]byte) }}

// Scan names the form of the first secret that it finds, or is empty. It stops reading there.
func Scan(r io.Reader) (string, error) {
	buf := buffers.Get().(*[overlap + window]byte)
	defer buffers.Put(buf)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		part := buf[:kept+n]
		if name := In(part); name != "" {
			return name, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		kept = copy(buf[:], part[len(part)-overlap:])
	}
}

// isRandom tells what is random from prose: it has a digit, or more letters in a row than a word
// has.
func isRandom(text []byte) bool {
	const longest = 20
	row := 0
	for _, b := range text {
		row++
		switch {
		case b >= '0' && b <= '9':
			return true
		case !inWord[b]:
			row = 0
		case row > longest:
			return true
		}
	}
	return false
}
