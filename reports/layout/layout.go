// Package layout names the files of a bundle.
package layout

import (
	"path"
	"slices"
	"strings"
)

// A bundle may share its directory with other files, such as a fleet's state. Only these belong to
// it.
const (
	ReportFile    = "report.yaml"
	JUnitFile     = "junit.xml"
	HTMLFile      = "report.html"
	MarkdownFile  = "summary.md"
	GinkgoFile    = "ginkgo.json"
	PreflightFile = "preflight.json"
	EvidenceDir   = "evidence" // one folder per behavior id
	SumsFile      = "SHA256SUMS"
	SignatureFile = "attestation.dsse.json" // written by `amc sign`; not in SHA256SUMS, which it signs
)

// Files are the top-level files that SHA256SUMS lists; a bundle holds all those of Required.
var Files = []string{ReportFile, JUnitFile, HTMLFile, MarkdownFile, GinkgoFile, PreflightFile}

// Required are the files without which a bundle is not whole.
var Required = []string{ReportFile, JUnitFile, HTMLFile, MarkdownFile}

// Listed reports whether a name is one that SHA256SUMS may list.
func Listed(name string) bool {
	return slices.Contains(Files, name) || strings.HasPrefix(name, EvidenceDir+"/")
}

// TopLevel reports whether a name at the top of the directory belongs to a bundle.
func TopLevel(name string) bool {
	return name == EvidenceDir || name == SumsFile || name == SignatureFile || slices.Contains(Files, name)
}

// EvidenceOf is the folder of one behavior's evidence.
func EvidenceOf(id string) string { return EvidenceDir + "/" + id }

// PlainName reports whether a path is fit for SHA256SUMS and for links: relative, clean and of
// harmless characters.
func PlainName(name string) bool {
	if name == "" || len(name) > 512 || path.IsAbs(name) || path.Clean(name) != name || name == "." || name == ".." ||
		strings.HasPrefix(name, "../") {
		return false
	}
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-+=@,:/", c):
		default:
			return false
		}
	}
	return true
}
