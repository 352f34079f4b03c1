package reports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// secretForms are what a bundle must not hold. Each is told twice: as a regular expression, which says it and redacts, and as a hint with a function, which
// finds it as fast as files are hashed. A fuzz test holds them together.
var secretForms = []struct {
	name string
	form *regexp.Regexp
	hint string                       // a literal of at least three bytes that every match contains
	rare int                          // where in it three bytes begin that are rare in logs
	at   func(data []byte, i int) int // with the hint at i: -1 when a secret is there, else where to look on
}{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----`), "PRIVATE KEY-----", 3, func(d []byte, i int) int {
		const begin = "-----BEGIN "
		for k := i; k >= max(0, i-30); k-- {
			if bytes.HasSuffix(d[:k], []byte(begin)) {
				return -1
			}
			if k == 0 || !upper[d[k-1]] {
				break
			}
		}
		return i + 1
	}},
	{"a private key (base64)", regexp.MustCompile(`LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJVkFUR|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVEUg|BFTkNSWVBURUQg)[A-Za-z0-9+/=]*`), "LS0tLS1CRUdJTi", 0, func(d []byte, i int) int {
		rest := d[i+len("LS0tLS1CRUdJTi"):]
		for _, kind := range []string{"BQUklWQVRF", "BSU0EgUFJJVkFUR", "BFQyBQUklWQVRF", "BPUEVOU1NIIFBSSVZBVEUg", "BFTkNSWVBURUQg"} {
			if bytes.HasPrefix(rest, []byte(kind)) {
				return -1
			}
		}
		return i + 1
	}},
	{"a token", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`), "eyJ", 0, func(d []byte, i int) int {
		head := i + 3 + run(d[i+3:], urlBase64)
		if head-i < 11 || !bytes.HasPrefix(d[head:], []byte(".eyJ")) {
			return head // whatever begins within ends there too
		}
		body := head + 4 + run(d[head+4:], urlBase64)
		if body-head < 12 || body == len(d) || d[body] != '.' || run(d[body+1:], urlBase64) < 8 {
			return head
		}
		return -1
	}},
	{"a bearer token", regexp.MustCompile(`[Bb]earer [A-Za-z0-9._~+/-]{16,}=*`), "earer ", 3, func(d []byte, i int) int {
		if i > 0 && (d[i-1] == 'B' || d[i-1] == 'b') && run(d[i+6:], tokenChars) >= 16 {
			return -1
		}
		return i + 1
	}},
	{"a kubeconfig credential", regexp.MustCompile(`client-key-data"?\s*:\s*"?[A-Za-z0-9+/=]{16,}`), "client-key-data", 6, func(d []byte, i int) int {
		if v, ok := value(d[i+len("client-key-data"):]); ok && run(v, base64Chars) >= 16 {
			return -1
		}
		return i + 1
	}},
	{"a kubeconfig credential", regexp.MustCompile(`(?:^|[\s"{,])(?:token|id-token|refresh-token|access-token)"?\s*:\s*"?[A-Za-z0-9._~+/-]{16,}=*`), "token", 2, func(d []byte, i int) int {
		if !slices.ContainsFunc([]string{"", "id-", "refresh-", "access-"}, func(kind string) bool {
			return bytes.HasSuffix(d[:i], []byte(kind)) && begins(d, i-len(kind))
		}) {
			return i + 1
		}
		if v, ok := value(d[i+len("token"):]); ok && run(v, tokenChars) >= 16 {
			return -1
		}
		return i + 1
	}},
	{"a kubeconfig credential", regexp.MustCompile(`(?:^|[\s"{,])password"?\s*:\s*"?[^\s"]{4,}`), "password", 3, func(d []byte, i int) int {
		if !begins(d, i) {
			return i + 1
		}
		if v, ok := value(d[i+len("password"):]); ok && utf8.RuneCount(v[:run(v, passwordChars)]) >= 4 {
			return -1
		}
		return i + 1
	}},
}

// Classes of characters.
type class [256]bool

func classOf(chars string) (c class) {
	for i := range len(chars) {
		c[chars[i]] = true
	}
	return c
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

var (
	upper         = classOf("ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	urlBase64     = classOf(letters + "_-")
	base64Chars   = classOf(letters + "+/=")
	tokenChars    = classOf(letters + "._~+/-")
	blank         = classOf("\t\n\f\r ")
	passwordChars = func() class {
		c := classOf("")
		for i := range c {
			c[i] = !blank[i] && i != '"'
		}
		return c
	}()
)

// run is the length of the run of a class at the beginning of the data.
func run(d []byte, c class) int {
	for i, b := range d {
		if !c[b] {
			return i
		}
	}
	return len(d)
}

// begins says that a key begins at i: after a blank, a quote, a brace or a comma, or with the data.
func begins(d []byte, i int) bool {
	return i == 0 || blank[d[i-1]] || strings.IndexByte(`"{,`, d[i-1]) >= 0
}

// value is what follows a key: an end of quotation, a colon, a beginning of quotation.
func value(d []byte) ([]byte, bool) {
	d = bytes.TrimPrefix(d, []byte(`"`))
	d = d[run(d, blank):]
	if len(d) == 0 || d[0] != ':' {
		return nil, false
	}
	d = d[1:]
	d = d[run(d, blank):]
	return bytes.TrimPrefix(d, []byte(`"`)), true
}

// pairs says for two bytes which hints have them where: of every hint two pairs that lie one byte apart, so that a search that looks at every second byte
// meets one of them. One pass for all hints is what makes the search as fast as hashing.
var pairs = sync.OnceValue(func() *pairTable {
	t := &pairTable{places: [][]place{nil}}
	for h, s := range secretForms {
		for _, offset := range []int{s.rare, s.rare + 1} {
			pair := uint16(s.hint[offset])<<8 | uint16(s.hint[offset+1])
			if t.at[pair] == 0 {
				t.at[pair] = uint8(len(t.places))
				t.places = append(t.places, nil)
			}
			t.places[t.at[pair]] = append(t.places[t.at[pair]], place{h, offset})
		}
	}
	return t
})

type (
	pairTable struct {
		at     [1 << 16]uint8 // of each pair, in places; 0 for most. Small enough for a processor's cache
		places [][]place
	}
	place struct{ hint, offset int }
)

// find names a kind of secret that is in the data; empty when there is none. It takes time in proportion to the data, whatever it holds.
func find(d []byte) string {
	table := pairs()
	var next [16]int // of each hint: what lies before need not be looked at again
	for i := 0; i+1 < len(d); i += 2 {
		at := table.at[uint16(d[i])<<8|uint16(d[i+1])]
		if at == 0 {
			continue
		}
		for _, p := range table.places[at] {
			s := &secretForms[p.hint]
			start := i - p.offset
			if start < next[p.hint] || !bytes.HasPrefix(d[start:], []byte(s.hint)) {
				continue
			}
			if next[p.hint] = s.at(d, start); next[p.hint] < 0 {
				return s.name
			}
		}
	}
	return ""
}

// Redact takes secrets out of text that is going to be evidence. What it misses, the scan at the end finds, and the bundle is not closed.
func Redact(text []byte) []byte {
	for _, s := range secretForms {
		if bytes.Contains(text, []byte(s.hint)) {
			if s.name == "a private key" {
				text = pemBlock.ReplaceAll(text, []byte("[redacted: "+s.name+"]"))
			}
			text = s.form.ReplaceAll(text, []byte(" [redacted: "+s.name+"]"))
		}
	}
	return text
}

var pemBlock = regexp.MustCompile(`-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\n]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?`)

// SecretError names the places of secrets that keep a bundle from being closed. It never holds the secrets themselves.
type SecretError struct{ Places []string }

func (e *SecretError) Error() string {
	places := e.Places
	more := ""
	if len(places) > 5 {
		places, more = places[:5], fmt.Sprintf(" and %d more", len(e.Places)-5)
	}
	return fmt.Sprintf("the bundle is not closed because it holds secrets: %s%s: remove or redact them, then run `amc render` on it", strings.Join(places, ", "), more)
}

// scanSecrets looks through all files and returns a *SecretError when it finds any; a file that cannot be read fails it too.
func scanSecrets(root *os.Root, names []string) error {
	found := &SecretError{}
	for _, name := range names {
		f, err := root.Open(name)
		if err != nil {
			return fmt.Errorf("secret scan: %w", err)
		}
		what, err := secretIn(f)
		err = errors.Join(err, f.Close())
		if err != nil {
			return fmt.Errorf("secret scan of %s: %w", name, err)
		}
		if what != "" {
			found.Places = append(found.Places, name+" ("+what+")")
		}
	}
	if len(found.Places) > 0 {
		return found
	}
	return nil
}

// The scan reads in windows that overlap by more than any secret's recognisable beginning.
const scanWindow, scanOverlap = 1 << 20, 4 << 10

func secretIn(r io.Reader) (string, error) { return scan(r, make([]byte, scanWindow+scanOverlap)) }

// scan stops at the first secret.
func scan(r io.Reader, buf []byte) (string, error) {
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		part := buf[:kept+n]
		if secret := find(part); secret != "" {
			return secret, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		kept = copy(buf, part[len(part)-scanOverlap:])
	}
}
