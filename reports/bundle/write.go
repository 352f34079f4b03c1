package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"ambient.test/conformance/internal/wholefile"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/junit"
	"ambient.test/conformance/reports/layout"
)

// OpenDir opens the directory of a bundle for writing. A bundle may come from a stranger, so it
// refuses one that holds what no bundle holds and what a writer could fall for: dot files, and
// under the names of a bundle anything but plain files.
func OpenDir(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the bundle cannot be opened: %w", err)
	}
	killed, err := checkDir(root)
	for _, n := range killed {
		if err == nil {
			err = root.Remove(n)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nothing is written into %s: %w", dir, err), root.Close())
	}
	return root, nil
}

// checkDir refuses what [OpenDir] refuses. It names the files that a killed writer of ours left
// behind.
func checkDir(root *os.Root) (killed []string, err error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(1000)
		for _, e := range entries {
			n := e.Name()
			switch {
			case !strings.HasPrefix(n, "."):
			case wholefile.Leftover(n) && e.Type().IsRegular():
				killed = append(killed, n)
			default:
				return nil, fmt.Errorf("%.80q is no part of a bundle: choose another directory, or look at the file and remove it", n)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if err := plainOrAbsent(root, append(slices.Clone(layout.Files), layout.SumsFile, layout.SignatureFile)...); err != nil {
		return nil, err
	}
	switch st, err := root.Lstat(layout.EvidenceDir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !st.IsDir():
		return nil, fmt.Errorf("%s is not a plain folder: look at it and remove it", layout.EvidenceDir)
	}
	return killed, nil
}

// plainOrAbsent refuses links, folders, pipes and devices under the names of files.
func plainOrAbsent(root *os.Root, names ...string) error {
	for _, n := range names {
		switch st, err := root.Lstat(n); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !st.Mode().IsRegular():
			return fmt.Errorf("%s is not a plain file: look at it and remove it", n)
		}
	}
	return nil
}

// WriteFile writes a file of a bundle, whole or not at all, and through no link.
func WriteFile(root *os.Root, name string, data []byte) error {
	if err := wholefile.Write(root, name, data, 0o644); err != nil {
		return fmt.Errorf("the bundle cannot be written: %w", err)
	}
	return nil
}

func writeReport(root *os.Root, r *v1alpha2.ConformanceReport) error {
	data, err := Encode(r)
	if err != nil {
		return err
	}
	if err := WriteFile(root, layout.ReportFile, data); err != nil {
		return err
	}
	return writeWith(root, layout.JUnitFile, func(w io.Writer) error { return junit.Write(w, r) })
}

func writeWith(root *os.Root, name string, render func(io.Writer) error) error {
	var b strings.Builder
	if err := render(&b); err != nil {
		return fmt.Errorf("%s cannot be rendered: %w", name, err)
	}
	return WriteFile(root, name, []byte(b.String()))
}
