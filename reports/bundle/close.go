package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
	return b.report.Result, finish(ctx, b.root, b.report)
}

// Finish renders everything in a bundle but its evidence from report.yaml and closes it: after a
// run that was killed, or after evidence was redacted.
func Finish(ctx context.Context, root *os.Root) (*v1alpha2.ConformanceReport, error) {
	r, err := readReport(root)
	if err != nil {
		return nil, err
	}
	return r, finish(ctx, root, r)
}

// Render writes the files that need nothing but a report into a directory, which it creates when it
// is missing. It closes no bundle. It believes nothing of a report that follows from the rest of
// it. The page says what changed since an earlier report, unless that is nil.
func Render(dir string, r, since *v1alpha2.ConformanceReport) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the directory cannot be created: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the directory cannot be opened: %w", err)
	}
	defer root.Close()
	for _, f := range Renderings {
		if err := plainOrAbsent(root, f.Name); err != nil {
			return fmt.Errorf("nothing is written into %s: %w", dir, err)
		}
	}
	filled := summary.Filled(r)
	sum, err := ReportSum(filled)
	if err != nil {
		return err
	}
	return render(root, filled, page.Beside{ReportSum: sum, Since: since})
}

func render(root *os.Root, r *v1alpha2.ConformanceReport, beside page.Beside) error {
	for _, f := range Renderings {
		if err := writeWith(root, f.Name, func(w io.Writer) error { return f.Write(w, r, beside) }); err != nil {
			return err
		}
	}
	return nil
}

// ReportSum is the sha256 of the report.yaml that this release writes.
func ReportSum(r *v1alpha2.ConformanceReport) (string, error) {
	data, err := Encode(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Rendering is a file of a bundle that follows from the report.
type Rendering struct {
	Name  string
	Write func(io.Writer, *v1alpha2.ConformanceReport, page.Beside) error
}

// Renderings are all of them. The same report is always the same bytes.
var Renderings = []Rendering{
	{layout.JUnitFile, alone(junit.Write)}, {layout.HTMLFile, page.Write}, {layout.MarkdownFile, alone(summary.Markdown)},
}

// alone is a rendering that says nothing but what its report does.
func alone(
	write func(io.Writer, *v1alpha2.ConformanceReport) error,
) func(io.Writer, *v1alpha2.ConformanceReport, page.Beside) error {
	return func(w io.Writer, r *v1alpha2.ConformanceReport, _ page.Beside) error { return write(w, r) }
}

func finish(ctx context.Context, root *os.Root, r *v1alpha2.ConformanceReport) error {
	evidence, err := listEvidence(root)
	if err != nil {
		return err
	}
	of := map[string][]string{}
	for _, name := range evidence {
		id, _, _ := strings.Cut(strings.TrimPrefix(name, layout.EvidenceDir+"/"), "/")
		of[id] = append(of[id], name)
	}
	for i := range r.Behaviors {
		r.Behaviors[i].Evidence = of[r.Behaviors[i].ID]
	}
	summary.Fill(r)
	// A report of a stranger may be larger as this release writes it: then nobody reads it, so the one
	// that is there must stay.
	data, err := Encode(r)
	if err == nil {
		_, err = decodeNamed(layout.ReportFile, data)
	}
	if err != nil {
		return fmt.Errorf("the bundle is not closed: %w", err)
	}
	for _, n := range []string{layout.SumsFile, layout.SignatureFile} { // they are about the bundle as it was
		if err := root.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s of the old bundle cannot be removed: %w", n, err)
		}
	}
	if err := writeReport(root, r); err != nil {
		return err
	}
	// What was written is rendered, not what is in memory: so it is what anybody renders from it.
	written, err := readReport(root)
	if err != nil {
		return fmt.Errorf("the bundle is not closed: %w", err)
	}
	sum, err := hashFile(root, layout.ReportFile)
	if err != nil {
		return fmt.Errorf("the bundle is not closed: %w", err)
	}
	if err := render(root, written, page.Beside{ReportSum: sum}); err != nil {
		return err
	}
	names := slices.Clone(evidence)
	for _, n := range layout.Files {
		switch st, err := root.Lstat(n); {
		case err == nil && st.Mode().IsRegular() && st.Size() > MaxFileBytes:
			return fmt.Errorf("the bundle is not closed: %s is larger than %d MiB", n, MaxFileBytes>>20)
		case err == nil && st.Mode().IsRegular():
			names = append(names, n)
		case err == nil || slices.Contains(layout.Required, n):
			return fmt.Errorf("the bundle is not closed: %s is not a plain file any more: run `amc render` on it again", n)
		}
	}
	slices.Sort(names)
	if err := scanSecrets(root, names); err != nil {
		return err
	}
	if err := seal(ctx, root, names); err != nil {
		return errors.Join(err, root.RemoveAll(layout.SumsFile))
	}
	return nil
}

// seal writes SHA256SUMS over the named files, and reads all of them once more: what changes while
// a bundle is closed must not pass for closed.
func seal(ctx context.Context, root *os.Root, names []string) error {
	sums, err := sumsOf(ctx, root, names)
	if err != nil {
		return fmt.Errorf("the bundle is not closed: %w", err)
	}
	if err := WriteFile(root, layout.SumsFile, sums); err != nil {
		return err
	}
	there, err := ReadFile(root, layout.SumsFile, int64(len(sums)))
	if err != nil {
		return fmt.Errorf("the bundle is not closed: %w", err)
	}
	again, err := sumsOf(ctx, root, names)
	if err != nil {
		return fmt.Errorf("the bundle is not closed: %w", err)
	}
	if !bytes.Equal(there, sums) || !bytes.Equal(again, sums) {
		return errors.New("the bundle is not closed: somebody changed its files meanwhile: run `amc render` on it again")
	}
	return nil
}

// sumsOf is the content of SHA256SUMS.
func sumsOf(ctx context.Context, root *os.Root, names []string) ([]byte, error) {
	var sums bytes.Buffer
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sum, err := hashFile(root, n)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, n)
	}
	return sums.Bytes(), nil
}

// MaxFiles, MaxFileBytes and MaxTotalBytes are the limits of a bundle. They are wide for honest
// bundles and bound the cost of hostile ones.
const (
	MaxFiles      = 50_000
	MaxFileBytes  = 256 << 20
	MaxTotalBytes = 2 << 30
)

// listEvidence names all files of evidence, sorted. It refuses what is not a plain file under a
// plain name, and what exceeds the limits.
func listEvidence(root *os.Root) ([]string, error) {
	if _, err := root.Lstat(layout.EvidenceDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	var total int64
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
		st, err := d.Info()
		if err != nil {
			return err
		}
		names, total = append(names, name), total+st.Size()
		switch {
		case st.Size() > MaxFileBytes:
			return fmt.Errorf("%s is larger than %d MiB", name, MaxFileBytes>>20)
		case total > MaxTotalBytes:
			return fmt.Errorf("it is larger than %d MiB", MaxTotalBytes>>20)
		case len(names) > MaxFiles:
			return fmt.Errorf("it has more than %d files", MaxFiles)
		}
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
		if what := redact.In([]byte(name)); what != "" { // the name itself must not be said
			found.Places = append(found.Places, "a name in the evidence ("+what+")")
		}
	}
	if len(found.Places) > 0 {
		return found
	}
	return nil
}
