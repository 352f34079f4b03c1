// Package redact finds secrets in text and removes them: private keys, tokens and kubeconfig
// credentials. Evidence is redacted before it is written, and a bundle is scanned before it is
// closed and whenever it is verified.
package redact

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
)

// form is one kind of secret: a lead, which may match nothing, a literal, and a rest. Package regexp
// jumps from one occurrence of such a literal to the next, so searching for literal and rest costs
// little in text that holds no secret. Only where they match is the whole form tried, because a form
// that begins with alternatives is searched for byte by byte.
type form struct {
	name        string
	key         []byte // what a separator must follow; empty when the form is none of a key
	rest, whole *regexp.Regexp
}

func newForm(name, lead, literal, rest string) form {
	quoted := regexp.QuoteMeta(literal)
	f := form{name: name, rest: regexp.MustCompile(quoted + rest), whole: regexp.MustCompile(lead + quoted + rest)}
	if strings.HasPrefix(rest, value) {
		f.key = []byte(literal)
	}
	return f
}

// maybe says whether the form may be in the text; it is wrong only by saying so too often. Logs are
// full of words that are keys elsewhere: only from the first on that a separator follows does the
// expression look. Tried at each of them it would not be linear.
func (f form) maybe(text []byte) bool {
	if len(f.key) == 0 {
		return f.rest.Match(text)
	}
	for {
		i := bytes.Index(text, f.key)
		if i < 0 {
			return false
		}
		if separated(text[i+len(f.key):]) {
			return f.rest.Match(text[i:])
		}
		text = text[i+len(f.key):]
	}
}

// separated says whether a text goes on with a quote, blanks and a colon, as after a key.
func separated(text []byte) bool {
	for i, b := range text {
		switch b {
		case ':':
			return true
		case '"':
			if i > 0 {
				return false
			}
		case ' ', '\t', '\n', '\r', '\f':
		default:
			return false
		}
	}
	return false
}

// key is what precedes a key of YAML or JSON, value what stands between a key and its value.
const (
	key   = `(?:^|[\s"{,])`
	value = `"?\s*:\s*"?`
)

// forms are the secrets that a bundle must not hold. The form of a private key reaches to its end,
// so that redacting it leaves nothing of it behind.
var forms = []form{
	newForm("a private key", "", `-----BEGIN `,
		`[A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\n]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?`),
	newForm("a private key (base64)", "", `LS0tLS1CRUdJTi`,
		`(?:BQUklWQVRF|BSU0EgUFJJVkFUR|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVEUg|BFTkNSWVBURUQg)[A-Za-z0-9+/=]*`),
	newForm("a token", "", `eyJ`, `[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`),
	newForm("a bearer token", `[Bb]`, `earer `, `[A-Za-z0-9._~+/-]{16,}=*`),
	newForm("a kubeconfig credential", "", `client-key-data`, value+`[A-Za-z0-9+/=]{16,}`),
	newForm("a kubeconfig credential", key+`(?:id-|refresh-|access-)?`, `token`, value+`[A-Za-z0-9._~+/-]{16,}=*`),
	newForm("a kubeconfig credential", key, `password`, value+`[^\s"]{4,}`),
}

// Bytes replaces every secret in a text by the name of its form.
func Bytes(text []byte) []byte {
	for _, f := range forms {
		if f.maybe(text) {
			text = f.whole.ReplaceAll(text, []byte(" [redacted: "+f.name+"]"))
		}
	}
	return text
}

// find names the form of a secret in the data, or is empty. Its time is linear in the data,
// whatever they are.
func find(data []byte) string {
	for _, f := range forms {
		if f.maybe(data) && f.whole.Match(data) {
			return f.name
		}
	}
	return ""
}

// Scan reads in windows. They overlap by more than what identifies a secret.
const window, overlap = 64 << 10, 4 << 10

var buffers = sync.Pool{New: func() any { return new([overlap + window]byte) }}

// Scan names the form of the first secret that it finds, or is empty. It stops reading there.
func Scan(r io.Reader) (string, error) {
	buf := buffers.Get().(*[overlap + window]byte)
	defer buffers.Put(buf)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		part := buf[:kept+n]
		if name := find(part); name != "" {
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
