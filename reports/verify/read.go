package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sync"

	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// Limits of a bundle, beside those that closing it keeps.
const (
	maxFiles      = bundle.MaxFiles
	maxFileBytes  = bundle.MaxFileBytes
	maxTotalBytes = bundle.MaxTotalBytes
	maxSumsBytes  = 16 << 20
	maxDepth      = 8
)

// file is the result of reading a file.
type file struct {
	sum    string
	size   int64
	secret string
	err    error
}

// inspection is a bundle that has been read, once. Nothing in a bundle makes it read outside the
// bundle, block, or use more memory than the limits allow.
type inspection struct {
	ctx  context.Context
	root *os.Root
	opts Options

	sums      map[string]string
	sumsOrder []string
	sumsWrong []string
	sumsRaw   []byte

	names     []string // of the bundle's files that SHA256SUMS lists, sorted
	beside    []string // of those that it cannot list: the attestation
	foreign   []string // files in the directory that do not belong to the bundle
	treeWrong []string
	files     map[string]file

	yamlErr   error
	schemaErr error
	reportRaw []byte
	report    *v1alpha2.ConformanceReport
}

func (in *inspection) readSums() {
	raw, err := bundle.ReadFile(in.root, layout.SumsFile, maxSumsBytes)
	if err != nil {
		in.sumsWrong = []string{err.Error() + ": the run was not finished, or the bundle was changed"}
		return
	}
	in.sumsRaw = raw
	in.sums, in.sumsOrder, in.sumsWrong = parseSums(raw)
}

// walk lists the files of the bundle. It follows no links, opens no devices and lists no more than
// maxFiles.
func (in *inspection) walk() {
	wrong := func(format string, args ...any) {
		if len(in.treeWrong) < 4 {
			in.treeWrong = append(in.treeWrong, fmt.Sprintf(format, args...))
		}
	}
	seen := 0
	var dir func(name string, depth int)
	dir = func(name string, depth int) {
		if depth > maxDepth {
			wrong("%.80q is nested deeper than %d", name, maxDepth)
			return
		}
		f, err := in.root.Open(name)
		if err != nil {
			wrong("%.80q cannot be read", name)
			return
		}
		defer f.Close()
		for {
			entries, err := f.ReadDir(1000)
			for _, e := range entries {
				if seen++; seen > maxFiles {
					if seen == maxFiles+1 {
						wrong("it holds more than %d files", maxFiles)
					}
					return
				}
				full := path.Join(name, e.Name())
				top := name == "."
				switch {
				case top && !layout.TopLevel(e.Name()):
					in.foreign = append(in.foreign, full)
				case !layout.PlainName(full):
					wrong("%.80q is not a plain name", full)
				case e.IsDir() && (!top || e.Name() == layout.EvidenceDir):
					dir(full, depth+1)
				case !e.Type().IsRegular():
					wrong("%.80q is not a plain file", full)
				case full == layout.SignatureFile:
					if st, err := e.Info(); err == nil && st.Size() <= maxEnvelope { // attested says what is larger
						in.beside = append(in.beside, full)
					}
				case full != layout.SumsFile:
					in.names = append(in.names, full)
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					wrong("%.80q cannot be read", name)
				}
				return
			}
		}
	}
	dir(".", 0)
	slices.Sort(in.names)
	var total int64
	for _, n := range in.names {
		st, err := in.root.Lstat(n)
		if err != nil {
			wrong("%.80q cannot be read", n)
			continue
		}
		if st.Size() > maxFileBytes {
			wrong("%.80q is larger than %d MiB", n, maxFileBytes>>20)
		}
		total += st.Size()
	}
	if total > maxTotalBytes {
		wrong("its files are larger than %d MiB together", maxTotalBytes>>20)
	}
}

// scanned are the files in which nothing secret may be.
func (in *inspection) scanned() []string { return slices.Concat(in.names, in.beside) }

// readFiles reads every file once, two at a time, for its sum and for secrets. It reads nothing of
// a bundle that exceeds a limit.
func (in *inspection) readFiles() {
	if len(in.treeWrong) > 0 {
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan string)
	for range 2 {
		wg.Go(func() {
			for name := range work {
				f := in.readFile(name)
				mu.Lock()
				in.files[name] = f
				mu.Unlock()
			}
		})
	}
	for _, n := range in.scanned() {
		if in.ctx.Err() != nil {
			break
		}
		work <- n
	}
	close(work)
	wg.Wait()
}

func (in *inspection) readFile(name string) file {
	f, err := in.root.Open(name)
	if err != nil {
		return file{err: err}
	}
	defer f.Close()
	h := sha256.New()
	counted := &counter{w: h}
	secret, err := redact.Scan(io.TeeReader(io.LimitReader(f, maxFileBytes+1), counted))
	if err == nil && secret != "" { // the scan stops at the first secret, the sum is over all
		_, err = io.Copy(counted, io.LimitReader(f, maxFileBytes+1))
	}
	return file{sum: hex.EncodeToString(h.Sum(nil)), size: counted.n, secret: secret, err: err}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

// readReport reads the report once, and keeps its bytes: what is checked is what was hashed.
func (in *inspection) readReport() {
	data, err := bundle.ReadFile(in.root, layout.ReportFile, bundle.MaxReportBytes)
	if err != nil {
		in.yamlErr = err
		return
	}
	in.reportRaw = data
	js, err := bundle.ToJSON(data)
	if err != nil {
		in.yamlErr = fmt.Errorf("%s: %w", layout.ReportFile, err)
		return
	}
	in.report, in.schemaErr = bundle.DecodeJSON(js)
}
