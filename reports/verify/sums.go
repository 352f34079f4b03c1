package verify

import (
	"encoding/hex"
	"fmt"
	"strings"

	"ambient.test/conformance/reports/layout"
)

// parseSums reads SHA256SUMS: the sums by name, the names in order, and what is wrong. It reads
// only what closing a bundle writes, byte for byte; sha256sum reads more forms, of which no bundle
// has any.
func parseSums(raw []byte) (sums map[string]string, order, wrong []string) {
	sums = map[string]string{}
	n := 0
	say := func(format string, args ...any) {
		if len(wrong) < 4 {
			wrong = append(wrong, fmt.Sprintf("%s line %d: %s", layout.SumsFile, n, fmt.Sprintf(format, args...)))
		}
	}
	last := ""
	for line := range strings.Lines(string(raw)) {
		n++
		line, ended := strings.CutSuffix(line, "\n")
		sum, name, ok := strings.Cut(line, "  ")
		switch _, err := hex.DecodeString(sum); {
		case !ok || len(sum) != 64 || err != nil || sum != strings.ToLower(sum):
			say("it is not a sha256 sum, two spaces and a name")
			continue
		case !layout.PlainName(name):
			say("%.80q is not a plain relative name", name)
			continue
		case !ended:
			say("it has no end")
			continue
		case sums[name] != "":
			say("%.80q appears twice", name)
			continue
		case name < last:
			say("%.80q is out of order", name)
		case !layout.Listed(name):
			say("%.80q is not a file of a bundle", name)
			continue
		}
		last = name
		sums[name] = sum
		order = append(order, name)
		if n > maxFiles {
			say("more than %d files", maxFiles)
			return sums, order, wrong
		}
	}
	if n == 0 {
		say("it is empty")
	}
	return sums, order, wrong
}
