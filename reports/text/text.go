// Package text makes what a report says fit to print. A report may come from a stranger, so
// nothing of it reaches a terminal, a table or a review as it is.
package text

import (
	"html"
	"strings"
)

// Line is s without line breaks and control characters, cut to n characters.
func Line(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// Cut shortens a text of several lines to n bytes, at a character, and says so.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "\n… cut; the whole text is in report.yaml"
}

var escapes = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "|", `\|`,
	"#", `\#`, "!", `\!`, "~", `\~`, "@", "@\u200b")

// Markdown is s as one harmless line of Markdown: HTML in it is text, and an @ notifies nobody.
func Markdown(s string) string { return html.EscapeString(escapes.Replace(Line(s, 1000))) }
