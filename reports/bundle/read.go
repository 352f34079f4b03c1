package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/layout"
)

// missing is the error of a file that is not there. It is an [fs.ErrNotExist].
type missing struct{ name string }

func (m missing) Error() string   { return m.name + " is missing" }
func (missing) Is(err error) bool { return err == fs.ErrNotExist }

// ReadFile reads a whole file of a bundle, if it is a plain file and small enough. It waits for no
// pipe and follows no link.
func ReadFile(root *os.Root, name string, most int64) ([]byte, error) {
	st, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing{name}
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", name)
	}
	return readPlain(name, st, most, func() (*os.File, error) { return root.Open(name) })
}

func readPlain(name string, st fs.FileInfo, most int64, open func() (*os.File, error)) ([]byte, error) {
	large := fmt.Errorf("%s is larger than %d MiB", name, most>>20)
	switch {
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a plain file", name)
	case st.Size() > most:
		return nil, large
	}
	f, err := open()
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", name)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read", name)
	case int64(len(data)) > most: // it grows
		return nil, large
	}
	return data, nil
}

// ReadNamed reads a whole file that the user named, as [ReadFile] does. It follows the user's own
// links.
func ReadNamed(name string, most int64) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	return readPlain(name, st, most, func() (*os.File, error) { return os.Open(name) })
}

// Read reads the report of a bundle, or a report file without its bundle.
func Read(name string) (*v1alpha2.ConformanceReport, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("the report cannot be read: %w", err)
	}
	if !st.IsDir() {
		data, err := ReadNamed(name, MaxReportBytes)
		if err != nil {
			return nil, fmt.Errorf("the report cannot be read: %w", err)
		}
		return decodeNamed(name, data)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("the report cannot be read: %w", err)
	}
	defer root.Close()
	r, err := readReport(root)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func readReport(root *os.Root) (*v1alpha2.ConformanceReport, error) {
	data, err := ReadFile(root, layout.ReportFile, MaxReportBytes)
	if err != nil {
		return nil, fmt.Errorf("the report cannot be read: %w", err)
	}
	return decodeNamed(layout.ReportFile, data)
}

func decodeNamed(name string, data []byte) (*v1alpha2.ConformanceReport, error) {
	r, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
