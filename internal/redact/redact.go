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

// form is one kind of secret: a lead, which may match nothing, a literal, and a rest. Text that holds no
// secret is full of such literals, so what follows them is looked at byte by byte before an expression
// is tried: that costs little more than to find them. Only where literal and rest match is the whole form
// tried, because a form that begins with alternatives is searched for byte by byte.
type form struct {
	name        string
	literal     []byte
	isKey       bool // a separator stands between the literal and what follows
	run         int  // how many bytes follow at least
	of          *set // which these are
	rest, whole *regexp.Regexp
}

func newForm(name, lead, literal, rest string, run int, of *set) form {
	quoted := regexp.QuoteMeta(literal)
	return form{
		name: name, literal: []byte(literal), isKey: strings.HasPrefix(rest, value), run: run, of: of,
		rest: regexp.MustCompile(quoted + rest), whole: regexp.MustCompile(lead + quoted + rest),
	}
}

// maybe says whether the form may be in the text; it is wrong only by saying so too often. The
// expression looks from the first literal on that something fit follows. Tried at each of them it would
// not be linear.
func (f *form) maybe(text []byte) bool {
	for {
		i := bytes.Index(text, f.literal)
		if i < 0 {
			return false
		}
		after := text[i+len(f.literal):]
		if f.fits(after) {
			return f.rest.Match(text[i:])
		}
		text = after
	}
}

// fits says whether what follows a literal may be the rest of the form.
func (f *form) fits(after []byte) bool {
	if f.isKey {
		after = afterKey(after)
	}
	if len(after) < f.run {
		return false
	}
	for _, b := range after[:f.run] {
		if !f.of[b] {
			return false
		}
	}
	return true
}

// set is a set of bytes.
type set [256]bool

func setOf(in func(b byte) bool) *set {
	var s set
	for b := range s {
		s[b] = in(byte(b))
	}
	return &s
}

// tokens are the bytes of tokens and keys; words those of passwords.
var (
	tokens = setOf(func(b byte) bool {
		return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || bytes.IndexByte([]byte("._~+/=-"), b) >= 0
	})
	words = setOf(func(b byte) bool { return b != '"' && !blank(b) })
)

func blank(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\f' }

// afterKey is what follows a key, a quote, a colon, blanks and a quote; it is nil where no colon does.
func afterKey(text []byte) []byte {
	text = bytes.TrimPrefix(text, []byte(`"`))
	i := notBlank(text)
	if i == len(text) || text[i] != ':' {
		return nil
	}
	text = text[i+1:]
	return bytes.TrimPrefix(text[notBlank(text):], []byte(`"`))
}

func notBlank(text []byte) int {
	i := 0
	for i < len(text) && blank(text[i]) {
		i++
	}
	return i
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
		`[A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\n]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?`, 0, tokens),
	newForm("a private key (base64)", "", `LS0tLS1CRUdJTi`,
		`(?:BQUklWQVRF|BSU0EgUFJJVkFUR|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVEUg|BFTkNSWVBURUQg)[A-Za-z0-9+/=]*`, 2, tokens),
	newForm("a token", "", `eyJ`, `[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`, 8, tokens),
	newForm("a bearer token", `[Bb]`, `earer `, `[A-Za-z0-9._~+/-]{16,}=*`, 16, tokens),
	newForm("a kubeconfig credential", "", `client-key-data`, value+`[A-Za-z0-9+/=]{16,}`, 16, tokens),
	newForm("a kubeconfig credential", key+`(?:id-|refresh-|access-)?`, `token`, value+`[A-Za-z0-9._~+/-]{16,}=*`, 16, tokens),
	newForm("a kubeconfig credential", key, `password`, value+`[^\s"]{4,}`, 4, words),
}

// Bytes replaces every secret in a text by the name of its form.
func Bytes(text []byte) []byte {
	for i := range forms {
		f := &forms[i]
		if f.maybe(text) {
			text = f.whole.ReplaceAll(text, []byte(" [redacted: "+f.name+"]"))
		}
	}
	return text
}

// find names the form of a secret in the data, or is empty. Its time is linear in the data,
// whatever they are.
func find(data []byte) string {
	for i := range forms {
		f := &forms[i]
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
