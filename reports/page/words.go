package page

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/summary"
)

// round keeps two digits, and NaN and infinities out of the page.
func round(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Round(x*100) / 100
}

// secs is a duration for people.
func secs(s float64) string {
	switch {
	case s == 0:
		return "0 s"
	case s < 0.0995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 9.95:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", s), "0"), ".") + " s"
	case s < 90:
		return fmt.Sprintf("%.0f s", s)
	case s < 5400:
		return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
	}
	return fmt.Sprintf("%d h %02d min", int(s)/3600, int(s)/60%60)
}

// istioName says to which release a development build leads.
func istioName(s string) string {
	if v, err := behaviors.ParseVersion(s); err == nil && strings.HasPrefix(s, "v0.0.0-") {
		return fmt.Sprintf("%d.%d in development (%s)", v.Major, v.Minor, s)
	}
	return summary.OrUnknown(s)
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// words are a piece of a sentence. What stands between backquotes is code: a command to type.
type words struct {
	Text string
	Code bool
}

// prose tells code from words. A hostile text has no more pieces than an honest one, and its rest
// is words.
func prose(s string) (all []words) {
	const most = 20
	for range most {
		before, rest, opened := strings.Cut(s, "`")
		code, rest, closed := strings.Cut(rest, "`")
		if !opened || !closed {
			break
		}
		all = append(all, words{before, false}, words{code, true})
		s = rest
	}
	return append(all, words{s, false})
}
