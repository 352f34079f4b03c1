// Package text makes what a report says fit to print. A report may come from a stranger, so
// nothing of it reaches a terminal, a table or a review as it is.
package text

import (
	"html"
	"regexp"
	"strings"
	"unicode"
)

// Printable is s without what a terminal obeys or hides: of what is not printable it keeps line
// breaks and tabs, and drops the rest, such as escapes, invisible characters and those that turn
// the direction of text.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r), r == '\n', r == '\t':
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return -1
	}, strings.ToValidUTF8(s, "?"))
}

// Line is what is printable of s in one line, cut to n characters.
func Line(s string, n int) string {
	s = strings.Join(strings.Fields(Printable(s)), " ")
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

// pictures are what forges draw as emoji.
var pictures = regexp.MustCompile(`:([\w+-]+:)`)

// Markdown is s as one harmless line of Markdown: HTML in it is text, an @ notifies nobody, and
// nothing in it is a formula or a picture.
func Markdown(s string) string {
	s = html.EscapeString(escapes.Replace(Line(s, 1000)))
	return pictures.ReplaceAllString(strings.ReplaceAll(s, "$", "&#36;"), ":\u200b$1")
}
