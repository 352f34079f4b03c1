package text

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	for name, c := range map[string]struct{ got, want string }{
		"a line":              {Line(" a\n\tb  c ", 80), "a b c"},
		"a terminal sequence": {Line("red \x1b[31m and \u009b1m", 80), "red [31m and 1m"},
		"what turns text":     {Line("a\u202eb \u2066c\u200b\ufeffd", 80), "ab cd"},
		"separators":          {Line("a\u00a0b\u2028c\u0085d", 80), "a b c d"},
		"several lines":       {Printable("a\n\tb\x1b[2J\r\u202ec\x00"), "a\n\tb[2J c"},
		"not UTF-8":           {Line("a\xffb", 80), "a?b"},
		"a long line":         {Line("äöüß", 3), "äö…"},
		"short enough":        {Cut("ab\ncd", 5), "ab\ncd"},
		"cut in a character":  {Cut("aä"+strings.Repeat("b", 9), 2), "a\n… cut; the whole text is in report.yaml"},
		"markup":              {Markdown("a|*b* <b> @all `c`"), "a\\|\\*b\\* &lt;b&gt; @\u200ball \\`c\\`"},
		"a formula":           {Markdown("$x$ costs $1"), "&#36;x&#36; costs &#36;1"},
		"a picture":           {Markdown(":tada: host:15008"), ":\u200btada: host:15008"},
		"a picture of two":    {Markdown("a:+1::b"), "a:\u200b+1::b"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
