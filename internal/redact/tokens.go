package redact

import "bytes"

// nextJWT finds the first JSON Web Token: three parts, of which two are objects of JSON in base64.
func nextJWT(text []byte) (start, end int) {
	const object = "eyJ"
	find := finder(object)
	part := func(i int) (end int, ok bool) {
		end = run(text, i, parts)
		return end, end-i >= 8
	}
	for from := 0; ; {
		i := find(text[from:])
		if i < 0 {
			return 0, 0
		}
		start := from + i
		header, ok := part(start + len(object))
		from = header // what begins further on in the same part ends there as well
		if !ok || !bytes.HasPrefix(text[header:], []byte("."+object)) {
			continue
		}
		claims, ok := part(header + 1 + len(object))
		if !ok || claims == len(text) || text[claims] != '.' {
			continue
		}
		if signature, ok := part(claims + 1); ok {
			return start, signature
		}
	}
}

// bearer is the form of what follows a word of HTTP headers.
func bearer(word string) form {
	find := finder(word)
	return form{"a bearer token", func(text []byte) (int, int) {
		for from := 0; ; {
			i := find(text[from:])
			if i < 0 {
				return 0, 0
			}
			start := from + i
			from = start + len(word)
			if begins := run(text, from, spaces); begins > from {
				if end := run(text, begins, credentials); end-begins >= 16 && isRandom(text[begins:end]) {
					return start, run(text, end, padding)
				}
			}
		}
	}}
}

// nextFlag finds the first value of a flag for a secret, as in `--token VALUE`; `--token=VALUE` is a
// field.
func nextFlag(text []byte) (start, end int) {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte("--"))
		if i < 0 {
			return 0, 0
		}
		start := from + i
		names := run(text, start+2, flags)
		from = max(start+1, names-1) // a further flag may begin with the last dash
		if !isSecretFlag(text[start+2 : names]) {
			continue
		}
		begins := run(text, names, spaces)
		if begins == names {
			continue
		}
		if begins < len(text) && (text[begins] == '"' || text[begins] == '\'') {
			begins++
		}
		if end := run(text, begins, tokens); end-begins >= 8 && isRandom(text[begins:end]) {
			return start, end
		}
	}
}

func isSecretFlag(name []byte) bool {
	for _, word := range []string{"token", "password", "secret"} {
		if before, ok := bytes.CutSuffix(name, []byte(word)); ok && (len(before) == 0 || before[len(before)-1] == '-') {
			return true
		}
	}
	return false
}

// nextURL finds the first user and password in a URL. It tells them from the tag and the digest of an
// image, and from a password that somebody has masked.
func nextURL(text []byte) (start, end int) {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte("://"))
		if i < 0 {
			return 0, 0
		}
		start := from + i
		user := run(text, start+3, userinfo)
		from = user
		if user == len(text) || text[user] != ':' {
			continue
		}
		password := run(text, user+1, userinfo)
		from = password
		if password == user+1 || password == len(text) || text[password] != '@' {
			continue
		}
		host := run(text, password+1, authority)
		if !masked(text[user+1:password]) && !bytes.HasPrefix(text[password+1:host], []byte("sha256:")) {
			return start, host
		}
		from = host
	}
}

// nextGitHub finds the first token of GitHub by the underscore in it.
func nextGitHub(text []byte) (start, end int) {
	for i := 0; i < len(text); i++ {
		j := bytes.IndexByte(text[i:], '_')
		if j < 0 {
			return 0, 0
		}
		i += j
		if i >= 3 && text[i-3] == 'g' && text[i-2] == 'h' && bytes.IndexByte([]byte("pousr"), text[i-1]) >= 0 {
			if end := run(text, i+1, inWord); end-i > 36 {
				return i - 3, end
			}
		}
		if before, ok := bytes.CutSuffix(text[:i], []byte("github_pat")); ok {
			if end := run(text, i+1, words); end-i > 22 {
				return len(before), end
			}
		}
	}
	return 0, 0
}

var (
	spaces   = of(" \t")
	padding  = of("=")
	words    = setOf(func(b byte) bool { return alnum(b) || b == '_' })
	parts    = setOf(func(b byte) bool { return words[b] || b == '-' })
	capitals = setOf(func(b byte) bool { return upper(b) || b >= '0' && b <= '9' })
	inBase64 = setOf(func(b byte) bool { return parts[b] || b == '+' || b == '/' })
	hexKey   = setOf(func(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || of("\"'=: \t")[b] })

	words6and16 = setOf(func(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b == '.' || spaces[b] })

	flags = setOf(func(b byte) bool { return b >= 'a' && b <= 'z' || b == '-' })

	credentials = setOf(func(b byte) bool { return tokens[b] && b != '=' })
	// authority ends where an URL goes on or ends, userinfo also where a part of it does.
	authority = setOf(func(b byte) bool { return !blank[b] && !of("/\"'<>\\")[b] })
	userinfo  = setOf(func(b byte) bool { return authority[b] && b != ':' && b != '@' })
)
