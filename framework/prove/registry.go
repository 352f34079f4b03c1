// Package prove is what a spec is written with: it declares which behavior a spec proves, and gives the body a world to prove it in.
//
// It is the one place that knows both the catalog and Ginkgo.
package prove

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sort"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"ambient.test/conformance/behaviors"
)

// Manner is how a spec wants to be run.
type Manner string

// Timed is the manner of a spec that claims how long something takes: it runs alone, so that it measures the mesh and not its neighbors.
const Timed Manner = "timed"

// declared is one spec as it was written down.
type declared struct {
	behavior *behaviors.Behavior
	where    string
	at       types.CodeLocation
	body     func(*Spec)
	timed    bool
}

var registry []declared

// Proves declares the spec of a behavior. Mistakes are not reported here but all together by Check.
//
// Ginkgo runs specs one after the other in one process, and ours wait most of their time for a mesh to follow. So the bodies are run by a Runner, several
// side by side, and each Ginkgo node only waits for its spec and tells what became of it.
func Proves(b *behaviors.Behavior, body func(s *Spec), manner ...Manner) bool {
	_, file, line, _ := runtime.Caller(1)
	registry = append(registry, declared{b, fmt.Sprintf("%s:%d", filepath.Base(file), line), types.NewCodeLocation(1), body, slices.Contains(manner, Timed)})
	return b != nil
}

// Ginkgo keeps only containers when it is asked for a preview of what it will run; they are entered once all chapters are loaded.
var _ = ginkgo.Describe("behaviors", func() {
	for _, c := range behaviors.Chapters {
		ginkgo.Describe(c.Name, func() {
			for _, d := range registry {
				if b := d.behavior; b != nil && b.Chapter().Prefix == c.Prefix {
					ginkgo.It(b.ID+" "+b.Promise, ginkgo.Label(b.ID, string(b.Level)), d.at, func(ginkgo.SpecContext) { tell(b) })
				}
			}
		})
	}
})

// Proven are the ids that have a spec, sorted.
func Proven() []string {
	var ids []string
	for _, d := range registry {
		if d.behavior != nil {
			ids = append(ids, d.behavior.ID)
		}
	}
	sort.Strings(ids)
	return ids
}

// Check finds authoring mistakes: a spec of no behavior, two specs of one, a spec of a behavior that the catalog does not call proven, and one it does that has no spec.
func Check() error {
	var errs []error
	where := map[string]string{}
	for _, d := range registry {
		switch {
		case d.behavior == nil:
			errs = append(errs, fmt.Errorf("%s: this spec proves no behavior", d.where))
			continue
		case where[d.behavior.ID] != "":
			errs = append(errs, fmt.Errorf("%s: %s is already proven at %s", d.where, d.behavior.ID, where[d.behavior.ID]))
		case !d.behavior.State.Automated && !d.behavior.State.Provisional:
			errs = append(errs, fmt.Errorf("%s: the catalog says that %s has no spec: set its State to Proven", d.where, d.behavior.ID))
		}
		where[d.behavior.ID] = d.where
	}
	for _, b := range behaviors.WithSpecs() {
		if where[b.ID] == "" {
			errs = append(errs, fmt.Errorf("%s: the catalog calls it proven, and no spec proves it", b.ID))
		}
	}
	return errors.Join(errs...)
}
