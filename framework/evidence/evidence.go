// Package evidence saves what the clusters looked like when a spec was not conformant, before
// anything is cleaned up.
//
// Everything comes through the API servers. It is bounded in size and time, because the cluster
// that broke a spec may not answer. What could not be read is named in missing.txt, and the run
// goes on. Secrets are never read, and what looks like one in a log is redacted.
package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/redact"
	"ambient.test/conformance/internal/wholefile"
)

// Patience is how long saving the evidence of one spec may take.
const Patience = 8 * time.Second

// Limits of what is kept, in bytes.
const (
	maxFile = 1 << 20
	maxCase = 16 << 20 // of all files of one spec
)

// sideBySide is how many requests go to a cluster at once.
const sideBySide = 6

// MissingFile names what could not be read, and why.
const MissingFile = "missing.txt"

// Case is the spec that evidence is saved for.
type Case struct {
	Since      time.Time // when the spec began: older log lines are left out
	Namespaces []string  // that specs work in
	Summary    string    // verdict, message and observations, for the reader
	Calls      []string  // what was called and what became of it
	Events     []string  // the calls that ran while something happened, one by one
}

// Save writes the evidence into dir, which must exist: finding.txt, calls.txt, events.txt where
// something happened while calls ran, a folder for each cluster, and missing.txt when something
// could not be read. It returns after [Patience] at the latest. Only a failed write is an error; a
// cluster that does not answer is not.
func Save(ctx context.Context, dir string, f *mesh.Fleet, c Case) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	readers := map[string]func(context.Context, ask){}
	for _, cluster := range f.Clusters {
		readers[cluster.Name] = func(ctx context.Context, a ask) { read(ctx, cluster, c, a) }
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	s := sink{root: root}
	s.put("finding.txt", []byte(c.Summary+"\n"))
	s.put("calls.txt", []byte(strings.Join(c.Calls, "\n")+"\n"))
	if len(c.Events) > 0 {
		s.put("events.txt", []byte(strings.Join(c.Events, "\n")+"\n"))
	}
	missing := gather(ctx, readers, s.put)
	if len(missing) > 0 {
		s.put(MissingFile, []byte(strings.Join(missing, "\n")+"\n"))
	}
	return errors.Join(s.errs...)
}

// ask requests one file: its name below the evidence folder, and how to read its content.
type ask func(file string, take func(context.Context) ([]byte, error))

// gather lets each reader ask for files, reads them in parallel, and writes those that arrive
// before ctx ends. It returns the others, sorted.
func gather(ctx context.Context, readers map[string]func(context.Context, ask), put func(file string, data []byte)) []string {
	type answer struct {
		file string
		data []byte
		err  error
	}
	answers := make(chan answer)
	var mu sync.Mutex
	waiting := map[string]bool{}
	var all sync.WaitGroup
	mu.Lock()
	for name, read := range readers {
		slots := make(chan struct{}, sideBySide)
		ask := func(file string, take func(context.Context) ([]byte, error)) {
			mu.Lock()
			waiting[file] = true
			mu.Unlock()
			all.Go(func() {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				defer func() { <-slots }()
				data, err := take(ctx)
				select {
				case answers <- answer{file, data, err}:
				case <-ctx.Done():
				}
			})
		}
		rest := name + ": what was not even asked for"
		waiting[rest] = true
		all.Go(func() {
			read(ctx, ask)
			mu.Lock()
			delete(waiting, rest)
			mu.Unlock()
		})
	}
	mu.Unlock()
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	var missing []string
	for {
		select {
		case a := <-answers:
			mu.Lock()
			delete(waiting, a.file)
			mu.Unlock()
			if a.err != nil {
				missing = append(missing, fmt.Sprintf("%s: %v", a.file, a.err))
			}
			if len(a.data) > 0 {
				put(a.file, a.data)
			}
			continue
		case <-done:
		case <-ctx.Done(): // readers that still wait for a cluster are abandoned
		}
		break
	}
	mu.Lock()
	defer mu.Unlock()
	for file := range waiting {
		missing = append(missing, file+": did not come in time")
	}
	slices.Sort(missing)
	return missing
}

// sink writes files, redacted and bounded.
type sink struct {
	root *os.Root
	used int
	errs []error
}

func (s *sink) put(file string, data []byte) {
	data = bound(redact.Bytes(data), min(maxFile, max(maxCase-s.used, 1<<10)), strings.HasSuffix(file, ".log"))
	s.used += len(data)
	if err := s.root.MkdirAll(path.Dir(file), 0o755); err != nil {
		s.errs = append(s.errs, err)
		return
	}
	if err := wholefile.Write(s.root, file, data, 0o644); err != nil {
		s.errs = append(s.errs, err)
	}
}

// bound cuts at a line and says so: a log loses its beginning, anything else its end.
func bound(data []byte, limit int, log bool) []byte {
	if len(data) <= limit {
		return data
	}
	note := fmt.Appendf(nil, "[cut: %d bytes, %d are kept]\n", len(data), limit)
	if log {
		data = data[len(data)-limit:]
		if i := bytes.IndexByte(data, '\n'); i >= 0 && i+1 < len(data) {
			data = data[i+1:]
		}
		return append(note, data...)
	}
	data = data[:limit]
	if i := bytes.LastIndexByte(data, '\n'); i > 0 {
		data = data[:i+1]
	}
	return append(slices.Clip(data), note...)
}
