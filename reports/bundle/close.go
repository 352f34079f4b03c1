package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/junit"
	"ambient.test/conformance/reports/layout"
	"ambient.test/conformance/reports/page"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
)

// Close finishes the bundle: it lists the evidence, renders the other files, scans for secrets and
// writes SHA256SUMS. When it finds a secret it returns a *[SecretError] and writes no SHA256SUMS,
// so that nobody takes the bundle for finished. A second call does nothing.
func (b *Bundle) Close(ctx context.Context) (v1alpha2.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.report.Result, nil
	}
	b.closed = true
	b.report.Finished = true
	if b.report.Failure != "" {
		for i := range b.report.Behaviors {
			if x := &b.report.Behaviors[i]; x.Message == summary.NeverRan {
				x.Message = summary.NeverRan + ": " + text.Line(b.report.Failure, 400)
			}
		}
	}
	b.report.WallSeconds = milli(time.Since(b.begin).Seconds())
	return b.report.Result, finish(ctx, b.dir, b.report)
}

// Finish renders everything in a bundle but its evidence from report.yaml and closes it: after a
// run that was killed, or after evidence was redacted.
func Finish(ctx context.Context, dir string) (*v1alpha2.ConformanceReport, error) {
	r, err := Read(dir)
	if err != nil {
		return nil, err
	}
	return r, finish(ctx, dir, r)
}

// Render writes the files that need nothing but a report into a directory, which it creates when it
// is missing. It closes no bundle.
func Render(dir string, r *v1alpha2.ConformanceReport) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the directory cannot be created: %w", err)
	}
	for _, f := range rendered {
		if err := writeWith(dir, f.name, r, f.render); err != nil {
			return err
		}
	}
	return nil
}

// rendered are the files that are rendered from the report.
var rendered = []struct {
	name   string
	render func(io.Writer, *v1alpha2.ConformanceReport) error
}{{layout.JUnitFile, junit.Write}, {layout.HTMLFile, page.Write}, {layout.MarkdownFile, summary.Markdown}}

func finish(ctx context.Context, dir string, r *v1alpha2.ConformanceReport) error {
	for _, n := range []string{layout.SumsFile, layout.SignatureFile} { // they are about the bundle as it was
		if err := os.Remove(filepath.Join(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s of the old bundle cannot be removed: %w", n, err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the bundle cannot be opened: %w", err)
	}
	defer root.Close()
	evidence, err := listEvidence(root)
	if err != nil {
		return err
	}
	for i := range r.Behaviors {
		x := &r.Behaviors[i]
		x.Evidence = nil
		for _, name := range evidence {
			if strings.HasPrefix(name, layout.EvidenceOf(x.ID)+"/") {
				x.Evidence = append(x.Evidence, name)
			}
		}
	}
	summary.Fill(r)
	if err := writeReport(dir, r); err != nil {
		return err
	}
	if err := Render(dir, r); err != nil {
		return err
	}
	names := slices.Clone(evidence)
	for _, n := range layout.Files {
		if st, err := root.Lstat(n); err == nil && st.Mode().IsRegular() {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	if err := scanSecrets(root, names); err != nil {
		return err
	}
	return seal(ctx, root, dir, names)
}

// seal writes SHA256SUMS over the named files.
func seal(ctx context.Context, root *os.Root, dir string, names []string) error {
	var sums strings.Builder
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("the bundle is not closed: %w", err)
		}
		sum, err := hashFile(root, n)
		if err != nil {
			return fmt.Errorf("the bundle is not closed: %w", err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, n)
	}
	return WriteFile(dir, layout.SumsFile, []byte(sums.String()))
}

// listEvidence names all files of evidence, sorted. It refuses what is not a plain file under a
// plain name.
func listEvidence(root *os.Root) ([]string, error) {
	if _, err := root.Lstat(layout.EvidenceDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	err := fs.WalkDir(root.FS(), layout.EvidenceDir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a plain file: evidence holds no links, sockets or devices", name)
		case !layout.PlainName(name):
			return fmt.Errorf("%q is not a plain name: use letters, digits and ._-+=@,: only", name)
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("the evidence cannot be listed: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// hashFile is the sha256 of a plain file.
func hashFile(root *os.Root, name string) (string, error) {
	st, err := root.Lstat(name)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a plain file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// SecretError names the files whose secrets keep a bundle from being closed. It never holds the
// secrets.
type SecretError struct{ Places []string }

func (e *SecretError) Error() string {
	places := e.Places
	more := ""
	if len(places) > 5 {
		places, more = places[:5], fmt.Sprintf(" and %d more", len(e.Places)-5)
	}
	return fmt.Sprintf("the bundle is not closed because it holds secrets: %s%s: remove or redact them, then run `amc render` on it",
		strings.Join(places, ", "), more)
}

// scanSecrets returns a *[SecretError] when one of the files holds a secret.
func scanSecrets(root *os.Root, names []string) error {
	found := &SecretError{}
	for _, name := range names {
		f, err := root.Open(name)
		if err != nil {
			return fmt.Errorf("secret scan: %w", err)
		}
		what, err := redact.Scan(f)
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
