package layout

import (
	"strings"
	"testing"
)

func TestPlainName(t *testing.T) {
	for name, want := range map[string]bool{
		"report.yaml":                  true,
		"evidence/LB-01/calls@1,2.txt": true,
		"":                             false,
		".":                            false,
		"..":                           false,
		"../x":                         false,
		"evidence/../../x":             false,
		"evidence/../x":                false,
		"evidence//x":                  false,
		"/etc/passwd":                  false,
		`..\x`:                         false,
		"a\nb":                         false,
		"a b":                          false,
		"é":                            false,
		strings.Repeat("a", 513):       false,
	} {
		t.Run(name, func(t *testing.T) {
			if got := PlainName(name); got != want {
				t.Errorf("got %t, want %t", got, want)
			}
		})
	}
}

func TestListed(t *testing.T) {
	for name, want := range map[string]bool{
		ReportFile: true, "evidence/LB-01/x": true, SumsFile: false, SignatureFile: false, "evidence": false, "fleet.yaml": false,
	} {
		t.Run(name, func(t *testing.T) {
			if got := Listed(name); got != want {
				t.Errorf("got %t, want %t", got, want)
			}
		})
	}
}
