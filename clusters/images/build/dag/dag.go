// Package dag builds a graph of nodes, each into a folder that is named by the hash of everything
// that goes into it.
//
// It is our own because it must run on a machine without images, where BuildKit and similar tools
// cannot start, and because content keys, one rename and pools are all that the images need.
//
// A node whose folder exists is not built again. A folder appears by one rename when its node is
// finished, so that an interrupted build leaves nothing half done.
package dag

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ambient.test/conformance/internal/filelock"
	"ambient.test/conformance/internal/progress"
)

// Node is one thing to build.
type Node struct {
	Name string
	// Needs are the names of the nodes whose results this one reads.
	Needs []string
	// Inputs is what the result depends on besides Needs: versions, flags, hashes of sources. It
	// must hold all of it, and nothing that differs between two machines for no reason.
	Inputs map[string]string
	// Pool names what the node competes for with others; see Store.Pools.
	Pool string
	// Build fills t.Out.
	Build func(ctx context.Context, t *Task) error
}

// Task is what a node's Build works with.
type Task struct {
	// Out is an empty folder; it becomes the node's result when Build returns nil.
	Out string
	// Temp is a scratch folder on the same file system, removed afterwards.
	Temp string
	// Keys and Needs hold the key and the result folder of every node in Node.Needs.
	Keys, Needs map[string]string
	// Key is the node's own.
	Key string
	// Note says what the build is doing.
	Note func(format string, args ...any)
}

// Result is a node that is built.
type Result struct {
	Dir    string
	Key    string
	Cached bool // it was there before
	Took   time.Duration
}

// schema is part of every key: raise it when the meaning of the folders changes.
const schema = "1"

// Keys are the content keys of all nodes: 64 hex digits over name, inputs and the keys of what is
// needed. A missing or circular need is an error.
func Keys(nodes []Node) (map[string]string, error) {
	byName := map[string]Node{}
	for _, n := range nodes {
		if _, twice := byName[n.Name]; twice {
			return nil, fmt.Errorf("build graph: two nodes are named %q", n.Name)
		}
		byName[n.Name] = n
	}
	keys := map[string]string{}
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		if keys[name] != "" {
			return nil
		}
		if slices.Contains(path, name) {
			return fmt.Errorf("build graph: a circle: %s", strings.Join(append(path, name), " -> "))
		}
		n, ok := byName[name]
		if !ok {
			return fmt.Errorf("build graph: %q needs %q, which is no node", path[len(path)-1], name)
		}
		for _, d := range n.Needs {
			if err := visit(d, append(path, name)); err != nil {
				return err
			}
		}
		h := sha256.New()
		field := func(s string) { fmt.Fprintf(h, "%d:%s\n", len(s), s) } // lengths keep "a"+"bc" apart from "ab"+"c"
		field(schema)
		field(n.Name)
		for _, k := range slices.Sorted(maps.Keys(n.Inputs)) {
			field(k)
			field(n.Inputs[k])
		}
		for _, d := range slices.Sorted(slices.Values(n.Needs)) {
			field(d)
			field(keys[d])
		}
		keys[name] = hex.EncodeToString(h.Sum(nil))
		return nil
	}
	for _, n := range nodes {
		if err := visit(n.Name, nil); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// Store is the folder of results.
type Store struct {
	// Dir holds NODE/KEY folders, and what is under way in .tmp.
	Dir string
	// Pools says how many nodes of a pool may be built at once. A pool that is not named here has
	// no limit.
	Pools map[string]int
	// Keep is how many results of a node are kept; older ones, by last use, are removed. 0 keeps
	// all.
	Keep int
	// Phase names the work in the progress display.
	Phase    string
	Progress progress.Reporter
}

// Path is where the result of a node is, whether it has been built or not.
func (s *Store) Path(node, key string) string { return filepath.Join(s.Dir, node, key[:32]) }

// Has says whether the result is there.
func (s *Store) Has(node, key string) bool {
	_, err := os.Stat(s.Path(node, key))
	return err == nil
}

// Run makes sure that the wanted nodes are there and returns their results. Only what is missing is
// built, with what it needs, side by side as far as the pools allow. After the first failure
// nothing new is started, what runs is canceled, and that failure is returned.
//
// Two processes do not build in one store at once: the second waits.
func (s *Store) Run(ctx context.Context, nodes []Node, want ...string) (map[string]Result, error) {
	keys, err := Keys(nodes)
	if err != nil {
		return nil, err
	}
	for _, w := range want {
		if keys[w] == "" {
			return nil, fmt.Errorf("build graph: %q is wanted, but no node", w)
		}
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeAll(s.tmp()); err != nil { // what an interrupted build left; nobody else can be at work, we hold the lock
		return nil, fmt.Errorf("the rest of an interrupted build cannot be removed: %w: remove %s by hand", err, s.tmp())
	}
	todo := s.missing(nodes, keys, want)
	took, err := s.build(ctx, todo, keys)
	if err != nil {
		return nil, err
	}
	res := map[string]Result{}
	now := time.Now()
	for _, w := range want {
		d, built := took[w]
		res[w] = Result{Dir: s.Path(w, keys[w]), Key: keys[w], Cached: !built, Took: d}
	}
	for _, n := range nodes { // the time of last use, for prune
		_ = os.Chtimes(s.Path(n.Name, keys[n.Name]), now, now)
	}
	return res, s.prune(nodes, keys)
}

// Missing are the nodes that Run would build now for the wanted ones.
func (s *Store) Missing(nodes []Node, want ...string) ([]Node, error) {
	keys, err := Keys(nodes)
	if err != nil {
		return nil, err
	}
	return s.missing(nodes, keys, want), nil
}

// missing are the nodes to build, in the order given: the wanted ones that are not there, and what
// they need and is not there.
func (s *Store) missing(nodes []Node, keys map[string]string, want []string) []Node {
	byName := map[string]Node{}
	for _, n := range nodes {
		byName[n.Name] = n
	}
	need := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if need[name] || s.Has(name, keys[name]) {
			return
		}
		need[name] = true
		for _, d := range byName[name].Needs {
			visit(d)
		}
	}
	for _, w := range want {
		visit(w)
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return !need[n.Name] })
}

type finished struct {
	node Node
	took time.Duration
	err  error
}

// build builds todo; a node that stands earlier in it goes first where both could start.
func (s *Store) build(ctx context.Context, todo []Node, keys map[string]string) (took map[string]time.Duration, err error) {
	took = map[string]time.Duration{}
	if len(todo) == 0 {
		return took, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reporter := s.Progress
	if reporter == nil {
		reporter = progress.Discard
	}
	phase := reporter.Phase(s.Phase, len(todo))
	defer func() { phase.Close(err) }()
	waiting := map[string]bool{} // not finished
	for _, n := range todo {
		waiting[n.Name] = true
	}
	queue, busy, running := slices.Clone(todo), map[string]int{}, 0
	done := make(chan finished)
	for len(queue) > 0 || running > 0 {
		if err == nil && ctx.Err() == nil {
			queue = slices.DeleteFunc(queue, func(n Node) bool {
				limit, limited := s.Pools[n.Pool]
				if slices.ContainsFunc(n.Needs, func(d string) bool { return waiting[d] }) || limited && busy[n.Pool] >= limit {
					return false
				}
				busy[n.Pool]++
				running++
				go func() {
					start := time.Now()
					err := s.one(ctx, n, keys, phase)
					done <- finished{n, time.Since(start), err}
				}()
				return true
			})
		}
		if running == 0 {
			break
		}
		f := <-done
		running--
		busy[f.node.Pool]--
		delete(waiting, f.node.Name)
		switch {
		case f.err == nil:
			took[f.node.Name] = f.took
		case err == nil:
			err = fmt.Errorf("%s: %w", f.node.Name, f.err)
			cancel()
		}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return took, err
}

// one builds a node into a temporary folder and renames it.
func (s *Store) one(ctx context.Context, n Node, keys map[string]string, phase progress.Phase) (err error) {
	item := phase.Item(n.Name)
	defer func() { item.Done(err) }()
	tmp := filepath.Join(s.tmp(), n.Name)
	defer func() { err = errors.Join(err, removeAll(tmp)) }()
	t := &Task{
		Out: filepath.Join(tmp, "out"), Temp: filepath.Join(tmp, "temp"),
		Key: keys[n.Name], Keys: map[string]string{}, Needs: map[string]string{}, Note: item.Note,
	}
	for _, d := range n.Needs {
		t.Keys[d], t.Needs[d] = keys[d], s.Path(d, keys[d])
	}
	for _, d := range []string{t.Out, t.Temp} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := n.Build(ctx, t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dst := s.Path(n.Name, t.Key)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	about, err := json.MarshalIndent(
		map[string]any{"inputs": n.Inputs, "needs": t.Keys}, "", "  ",
	) // for a person who asks why something was built again
	if err != nil {
		return err
	}
	if err := os.WriteFile(dst+".json", append(about, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(t.Out, dst)
}

func (s *Store) tmp() string { return filepath.Join(s.Dir, ".tmp") }

// prune removes results that have not been used for longest.
func (s *Store) prune(nodes []Node, keys map[string]string) error {
	if s.Keep == 0 {
		return nil
	}
	for _, n := range nodes {
		dir := filepath.Join(s.Dir, n.Name)
		entries, _ := os.ReadDir(dir) // a node that was never built has none
		type result struct {
			path string
			used time.Time
		}
		var rs []result
		for _, e := range entries {
			if i, err := e.Info(); err == nil && e.IsDir() {
				rs = append(rs, result{filepath.Join(dir, e.Name()), i.ModTime()})
			}
		}
		slices.SortFunc(rs, func(a, b result) int { return b.used.Compare(a.used) })
		for i, r := range rs {
			if i < s.Keep || r.path == s.Path(n.Name, keys[n.Name]) {
				continue
			}
			if err := errors.Join(removeAll(r.path), os.RemoveAll(r.path+".json")); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeAll is os.RemoveAll that also removes what stands in folders without write permission, as
// the Go module cache makes them.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil || os.IsNotExist(err) {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o755)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// lock keeps another amc from building in the store meanwhile.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	waited := func() {}
	unlock, err = filelock.Wait(ctx, filepath.Join(s.Dir, ".lock"), func(holder string) {
		if s.Progress == nil {
			return
		}
		phase := s.Progress.Phase(s.Phase+" lock", 1)
		item := phase.Item("waiting")
		item.Note("another amc (pid %s) is at work in %s; waiting for it", holder, s.Dir)
		waited = func() { item.Done(nil); phase.Close(nil) }
	})
	waited()
	return unlock, err
}
