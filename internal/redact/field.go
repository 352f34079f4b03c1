package redact

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// A field is a name, a separator and a value, as YAML, JSON, JSON within JSON, HTTP headers, flags,
// environment variables and queries have them. nextField finds the first whose name is that of a
// secret and whose value may be one.
//
// It goes from separator to separator and looks back: that costs the same for one name as for many.
func nextField(text []byte) (start, end int) {
	for i, b := range text {
		if b != ':' && b != '=' {
			continue
		}
		n := nameBefore(text, i)
		k := kindOf(text[n.start:n.end])
		if k == nil {
			continue
		}
		v := valueAfter(text, i+1, k.of)
		value := text[v.start:v.end]
		if len(value) < k.atLeast || masked(value) || (v.loose || n.inProse) && !isRandom(value[:min(len(value), 256)]) {
			continue
		}
		if k.secret == nil {
			return n.start, v.end
		}
		if size := k.secret(value); size > 0 {
			return n.start, v.start + size
		}
	}
	return 0, 0
}

// name is where the name before a separator stands.
type name struct {
	start, end int
	inProse    bool // words stand before it on its line, as in "the password: none was given"
}

const maxName = 64

func nameBefore(text []byte, separator int) name {
	end := separator
	for end > 0 && (text[end-1] == ' ' || text[end-1] == '\t') && separator-end < 8 {
		end--
	}
	quoted := false
	for end > 0 && quote[text[end-1]] && separator-end < 16 {
		end, quoted = end-1, true
	}
	if end < 2 || !endings[text[end-1]][text[end-2]] {
		return name{start: end, end: end}
	}
	start := end
	for start > 0 && inName[text[start-1]] && end-start < maxName {
		start--
	}
	if start > 0 && text[start-1] == '\\' && !quoted { // the n of \n is no part of the name
		start++
	}
	before := start
	for before > 0 && (text[before-1] == ' ' || text[before-1] == '\t' || text[before-1] == '-') && start-before < 64 {
		before--
	}
	return name{start, end, text[separator] == ':' && !quoted && before > 0 && !beforeName[text[before-1]]}
}

// kind says what the value of a secret field is made of.
type kind struct {
	words   []string // that end its name, in lower case and without separators
	of      *set
	atLeast int
	secret  func(value []byte) int // how much of the value is the secret, 0 when it is none; nil: all of it
}

var kinds = []kind{
	{words: []string{"token", "tokensecret", "clientkeydata", "clientsecret", "secretaccesskey"}, of: tokens, atLeast: 16},
	{words: []string{"password", "passwd", "passphrase"}, of: passwords, atLeast: 4},
	{words: []string{"authorization"}, of: headers, atLeast: 12, secret: header},
	{words: []string{"auth"}, of: tokens, atLeast: 8, secret: userAndPassword},
}

// kindOf is the kind of the field of this name. A name ends with a word of the kind, and something
// sets the word off: a separator or a capital, as in access_token and refreshToken, not in xtoken.
func kindOf(name []byte) *kind {
	if len(name) < 4 {
		return nil
	}
	plain := make([]byte, 0, maxName)
	var at [maxName + 1]int // where in the name each byte of plain stands
	for i, b := range name {
		if b != '_' && b != '-' && b != '.' {
			at[len(plain)] = i
			plain = append(plain, b)
		}
	}
	for i := range kinds {
		for _, w := range kinds[i].words {
			if len(plain) < len(w) || !bytes.EqualFold(plain[len(plain)-len(w):], []byte(w)) {
				continue
			}
			b := at[len(plain)-len(w)]
			if b == 0 || !inWord[name[b-1]] || upper(name[b]) && !upper(name[b-1]) {
				return &kinds[i]
			}
		}
	}
	return nil
}

// value is where the value of a field stands.
type value struct {
	start, end int
	loose      bool // it stands unquoted on another line, where the next field may stand as well
}

func valueAfter(text []byte, from int, of *set) value {
	i := skip(text, from, blank)
	if i < len(text) && (text[i] == '>' || text[i] == '|') { // a folded or literal block
		if j := skip(text, i+1, blockSign); j < len(text) && (text[j] == '\n' || text[j] == '\r') {
			i = skip(text, j, blank)
			return value{start: i, end: run(text, i, of)}
		}
	}
	v := value{start: skip(text, i, escape)}
	quoted := v.start < len(text) && (text[v.start] == '"' || text[v.start] == '\'')
	if quoted {
		v.start++
	}
	v.end = run(text, v.start, of)
	if quoted {
		if j := bytes.IndexAny(text[v.start:v.end], "\"'\\"); j >= 0 {
			v.end = v.start + j
		}
	}
	v.loose = !quoted && bytes.IndexByte(text[from:i], '\n') >= 0
	return v
}

// skip passes over bytes of a set, not very many.
func skip(text []byte, i int, of *set) int {
	for limit := i + 256; i < len(text) && i < limit && of[text[i]]; i++ {
	}
	return i
}

// run is the end of the bytes of a set, as far as it matters.
func run(text []byte, i int, of *set) int {
	for limit := i + overlap/2; i < len(text) && i < limit && of[text[i]]; i++ {
	}
	return i
}

// masked says whether there is no value, or none any more.
func masked(value []byte) bool {
	for _, mask := range []string{"[redacted", "<", "***", "xxxxx"} {
		if bytes.HasPrefix(value, []byte(mask)) {
			return true
		}
	}
	return string(value) == "null"
}

// header is the size of the scheme and the credentials of an Authorization header.
func header(value []byte) int {
	i := run(value, 0, inWord)
	switch strings.ToLower(string(value[:i])) {
	case "bearer", "basic", "token":
	default:
		return 0
	}
	from := skip(value, i, blank)
	if end := run(value, from, tokens); from > i && end-from >= 8 {
		return end
	}
	return 0
}

// userAndPassword is the size of what Docker keeps of an account, in base64.
func userAndPassword(value []byte) int {
	plain, err := base64.StdEncoding.DecodeString(string(value))
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	if err != nil || bytes.IndexByte(plain, ':') <= 0 || bytes.IndexFunc(plain, unprintable) >= 0 {
		return 0
	}
	return len(value)
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

func of(chars string) *set {
	return setOf(func(b byte) bool { return strings.IndexByte(chars, b) >= 0 })
}

func upper(b byte) bool { return b >= 'A' && b <= 'Z' }
func alnum(b byte) bool { return upper(b) || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' }

var (
	inWord     = setOf(alnum)
	inName     = setOf(func(b byte) bool { return alnum(b) || b == '_' || b == '-' || b == '.' })
	beforeName = of("\n\r{[(,;?&|\"'`\\") // where a field begins
	quote      = of(`"'\`)
	escape     = of(`[\`)
	blank      = of(" \t\r\n\f")
	blockSign  = of("+-0123456789 \t")

	tokens    = setOf(func(b byte) bool { return alnum(b) || strings.IndexByte("._~+/=-", b) >= 0 })
	passwords = setOf(func(b byte) bool { return b != '"' && !blank[b] })
	headers   = setOf(func(b byte) bool { return tokens[b] || b == ' ' || b == '\t' })
)

// endings are, by the last letter of a word of a kind, what may stand before it: a letter or a
// separator. Most names are told by them.
var endings = func() (all [256]set) {
	for _, k := range kinds {
		for _, w := range k.words {
			before, last := w[len(w)-2], w[len(w)-1]
			for _, l := range []byte{last, last - 'a' + 'A'} {
				for _, b := range []byte{before, before - 'a' + 'A', '_', '-', '.'} {
					all[l][b] = true
				}
			}
		}
	}
	return all
}()
