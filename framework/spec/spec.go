// Package spec is what a spec is written with. [Proves] declares which behavior a spec proves; its
// body gets a [T] with the fleet's clusters, verbs to change the mesh, and verbs to judge it:
//
//	var GlobalLabelJoinsClusters = spec.Proves(behaviors.GlobalLabelJoinsClusters, func(t *spec.T) {
//		echo := t.Service("echo")
//		t.EachCluster(func(c *spec.Cluster) { t.Control(c.Client.HTTP(echo), AnsweredBy(c)) })
//
//		echo.SetGlobal(t.Clusters...)
//
//		t.EachCluster(func(c *spec.Cluster) { t.Expect(c.Client.HTTP(echo), AnsweredBy(t.Clusters...)) })
//	})
//
// [T.Expect] states the promise, [T.Control] what must be seen beside it so that the promise could
// fail, [T.Given] what must be so before either means anything. What is judged is a [Subject].
//
// The package knows neither Ginkgo nor reports; package runner runs what is declared here.
package spec

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"

	"ambient.test/conformance/behaviors"
)

// Spec is one declared spec.
type Spec struct {
	Behavior *behaviors.Behavior
	// File and Line say where it was declared.
	File string
	Line int
	// Serial specs run with no other spec beside them.
	Serial bool

	body func(*T)
}

// Option changes how a spec is scheduled.
type Option func(*Spec)

// Serial is for specs that measure what their neighbors would change: time, or counters of all
// pods. Specs of behaviors that need MeshAdmin or Disruptive are serial anyway.
func Serial(s *Spec) { s.Serial = true }

var registry []*Spec

// Proves declares the spec of a behavior. Authoring mistakes are not reported here but all together
// by [Check].
func Proves(b *behaviors.Behavior, body func(t *T), options ...Option) *Spec {
	_, file, line, _ := runtime.Caller(1)
	s := &Spec{Behavior: b, File: file, Line: line, body: body}
	if b != nil {
		s.Serial = slices.Contains(b.Needs, behaviors.MeshAdmin) || slices.Contains(b.Needs, behaviors.Disruptive)
	}
	for _, o := range options {
		o(s)
	}
	registry = append(registry, s)
	return s
}

// All returns the declared specs in the order of the catalog's chapters and ids.
func All() []*Spec {
	all := slices.DeleteFunc(slices.Clone(registry), func(s *Spec) bool { return s.Behavior == nil })
	slices.SortStableFunc(all, func(a, b *Spec) int { return behaviors.CompareIDs(a.Behavior.ID, b.Behavior.ID) })
	return all
}

// Check finds authoring mistakes: a spec of no behavior, two specs of one, and specs and catalog
// that disagree about what is proven.
func Check() error {
	var errs []error
	where := map[string]string{}
	for _, s := range registry {
		here := fmt.Sprintf("%s:%d", filepath.Base(s.File), s.Line)
		switch {
		case s.Behavior == nil:
			errs = append(errs, fmt.Errorf("%s: this spec proves no behavior", here))
			continue
		case where[s.Behavior.ID] != "":
			errs = append(errs, fmt.Errorf("%s: %s is already proven at %s", here, s.Behavior.ID, where[s.Behavior.ID]))
		case !s.Behavior.State.Automated && !s.Behavior.State.Provisional:
			errs = append(errs, fmt.Errorf("%s: the catalog says that %s has no spec: set its State to Proven", here, s.Behavior.ID))
		}
		where[s.Behavior.ID] = here
	}
	for _, b := range behaviors.WithSpecs() {
		if where[b.ID] == "" {
			errs = append(errs, fmt.Errorf("%s: the catalog calls it proven, and no spec proves it", b.ID))
		}
	}
	return errors.Join(errs...)
}
