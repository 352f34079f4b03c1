package reports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// secretForms are what a bundle must not hold. hint is a literal every match contains: looking for it first keeps the scan near reading speed.
var secretForms = []struct {
	name string
	hint string
	form *regexp.Regexp
}{
	{"a private key", "PRIVATE KEY-----", regexp.MustCompile(`-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----`)},
	{"a private key (base64)", "LS0tLS1CRUdJTi", regexp.MustCompile(`LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJVkFUR|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVEUg|BFTkNSWVBURUQg)[A-Za-z0-9+/=]*`)},
	{"a token", "eyJ", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`)},
	{"a bearer token", "earer ", regexp.MustCompile(`[Bb]earer [A-Za-z0-9._~+/-]{16,}=*`)},
	{"a kubeconfig credential", "client-key-data", regexp.MustCompile(`client-key-data"?\s*:\s*"?[A-Za-z0-9+/=]{16,}`)},
	{"a kubeconfig credential", "token", regexp.MustCompile(`(?:^|[\s"{,])(?:token|id-token|refresh-token|access-token)"?\s*:\s*"?[A-Za-z0-9._~+/-]{16,}=*`)},
	{"a kubeconfig credential", "password", regexp.MustCompile(`(?:^|[\s"{,])password"?\s*:\s*"?[^\s"]{4,}`)},
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
		for _, s := range secretForms {
			if bytes.Contains(part, []byte(s.hint)) && s.form.Match(part) {
				return s.name, nil
			}
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
