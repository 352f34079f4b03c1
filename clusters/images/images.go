// Package images knows every image that the suite runs, once. An image is pulled from its own
// registry, or built where no registry can be reached; see package build.
package images

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images/build"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/progress"
)

// Modes: where images come from.
const (
	Auto  = "auto"  // pulled when a registry answers, else built
	Pull  = "pull"  // pulled from their own registries
	Build = "build" // built from package registries
)

// Sources of an image, as the fleet file and the report name them.
const (
	Pulled   = "pulled"
	Built    = "built"
	Override = "override"
)

// Options say which images are wanted, from where.
type Options struct {
	// Mode is Auto, Pull or Build; default Auto.
	Mode string
	// Istio is one of Releases; default DefaultIstio.
	Istio string
	// Overrides are references by image name, see ParseOverrides. They are pulled unless the engine
	// has them.
	Overrides map[string]string
	// CacheDir is the suite's cache folder.
	CacheDir string
	Engine   *engine.Engine
	// Progress may be nil.
	Progress progress.Reporter
}

// Set says for every image where it comes from. Making one builds and pulls nothing.
type Set struct {
	o     Options
	mode  string
	graph *build.Graph      // nil unless images are built
	refs  map[string]string // by image name
}

func (o *Options) defaults() {
	if o.Istio == "" {
		o.Istio = DefaultIstio
	}
	if o.Mode == "" {
		o.Mode = Auto
	}
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
}

// Check refuses options that can never work, without asking anybody.
func Check(o Options) error {
	o.defaults()
	r, err := releaseOf(o.Istio)
	if err != nil {
		return err
	}
	switch o.Mode {
	case Auto:
	case Pull:
		if r.Tag == "" {
			return fmt.Errorf("--istio %s has no published images that we know: use --images build", o.Istio)
		}
	case Build:
		if runtime.GOOS != "linux" {
			return fmt.Errorf("--images build needs a Linux machine, this is %s: use --images pull", runtime.GOOS)
		}
	default:
		return fmt.Errorf("--images %s: expected %s, %s or %s", o.Mode, Auto, Pull, Build)
	}
	for n, ref := range o.Overrides {
		if _, err := name.ParseReference(ref); err != nil {
			return fmt.Errorf("--image %s=%s: %w", n, ref, err)
		}
	}
	return nil
}

// Plan decides where each image comes from, without making any.
func Plan(ctx context.Context, o Options) (*Set, error) {
	if err := Check(o); err != nil {
		return nil, err
	}
	o.defaults()
	r, err := releaseOf(o.Istio)
	if err != nil {
		return nil, err
	}
	s := &Set{o: o, mode: o.Mode, refs: map[string]string{}}
	switch {
	case o.Mode == Auto:
		if s.mode, err = decide(ctx, r, o.Engine); err != nil {
			return nil, err
		}
	case o.Mode == Pull && o.Engine != nil && o.Engine.NeedsWrapper():
		return nil, errors.New(
			"--images pull: the container engine lacks CAP_SYS_RESOURCE and a pulled node image has no way around it: use --images build",
		)
	}
	recipes := map[string]*build.Recipe{}
	for _, i := range table {
		if s.built(i) && i.recipe != nil {
			recipes[i.Name] = i.recipe
		}
	}
	if len(recipes) > 0 {
		s.graph, err = build.New(
			ctx,
			build.Options{Module: r.Module, Version: r.Version, Recipes: recipes, CacheDir: o.CacheDir, Progress: o.Progress},
		)
		if err != nil {
			return nil, s.cannotBuild(Peer, err)
		}
	}
	for _, i := range table {
		switch {
		case s.built(i):
			s.refs[i.Name] = s.graph.Ref(i.Name)
		case strings.Contains(i.Pull, "%s"):
			s.refs[i.Name] = fmt.Sprintf(i.Pull, r.Tag)
		default:
			s.refs[i.Name] = i.Pull
		}
	}
	maps.Copy(s.refs, o.Overrides)
	return s, nil
}

// built says that an image is built, whether or not another one is then taken in its place. Where
// images are pulled that is one which no registry has, unless another one is given.
func (s *Set) built(i Image) bool {
	return s.mode == Build || i.Pull == "" && s.o.Overrides[i.Name] == ""
}

// decide picks the mode for Auto: Pull if the registry answers within 3 s.
func decide(ctx context.Context, r release, e *engine.Engine) (string, error) {
	if r.Tag == "" || e != nil && e.NeedsWrapper() {
		return Build, nil
	}
	ref, err := name.ParseReference(fmt.Sprintf(table[slices.IndexFunc(table, func(i Image) bool { return i.Name == Ztunnel })].Pull, r.Tag))
	if err != nil {
		return "", err
	}
	quick, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := remote.Head(ref, remote.WithContext(quick), remote.WithTransport(http.DefaultTransport)); err == nil {
		return Pull, nil
	}
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf(
			"the image registry of %s does not answer, and images can be built on Linux only: run `amc images build` there",
			ref,
		)
	}
	return Build, nil
}

// Realize makes sure that the engine has the node image, and returns every image as the fleet will
// run it.
func (s *Set) Realize(ctx context.Context) (map[string]mesh.ImageRef, error) {
	out := map[string]mesh.ImageRef{}
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	var foreign []string
	for _, i := range table {
		ref := s.refs[i.Name]
		switch _, given := s.o.Overrides[i.Name]; {
		case given:
			out[i.Name] = mesh.ImageRef{Ref: ref, Source: Override}
			foreign = append(foreign, i.Name)
		case !s.built(i):
			out[i.Name] = mesh.ImageRef{Ref: ref, Source: Pulled}
			foreign = append(foreign, i.Name)
		default:
			d, err := s.digest(ctx, i)
			if err != nil {
				return nil, err
			}
			out[i.Name] = mesh.ImageRef{Ref: ref, Digest: d, Source: Built, StandIn: i.StandIn}
		}
	}
	if err := s.pull(ctx, foreign, out); err != nil {
		return nil, err
	}
	return out, nil
}

// build makes what is built, and brings it into the engine: the node image, or where that is pulled
// the images that no registry has.
func (s *Set) build(ctx context.Context) error {
	if s.mode == Pull {
		for _, i := range table {
			if !s.built(i) {
				continue
			}
			if err := s.graph.Build(ctx, i.Name); err != nil {
				return s.cannotBuild(i.Name, err)
			}
			if err := s.graph.LoadImage(ctx, s.o.Engine, i.Name); err != nil {
				return err
			}
		}
		return nil
	}
	if s.ready(ctx) {
		return nil
	}
	if err := s.graph.Build(ctx); err != nil {
		return err
	}
	if _, given := s.o.Overrides[Node]; given {
		return nil
	}
	phase := s.o.Progress.Phase("node image", 1)
	item := phase.Item("into the container engine")
	err := s.graph.Load(ctx, s.o.Engine)
	item.Done(err)
	phase.Close(err)
	return err
}

// cannotBuild says why an image is built although others are pulled.
func (s *Set) cannotBuild(image string, err error) error {
	if s.mode == Build {
		return err
	}
	return fmt.Errorf("image %s, which no registry has: %w: or give one with --image %s=REFERENCE", image, err, image)
}

// ready reports whether everything is built already and the engine has it.
func (s *Set) ready(ctx context.Context) bool {
	for _, i := range table {
		if i.recipe != nil && !s.graph.Has(i.Name) {
			return false
		}
	}
	if _, given := s.o.Overrides[Node]; given {
		return true
	}
	_, err := s.o.Engine.Output(ctx, "image", "inspect", "-f", "{{.Id}}", s.refs[Node])
	return err == nil
}

func (s *Set) digest(ctx context.Context, i Image) (string, error) {
	if i.recipe == nil {
		return s.o.Engine.Output(ctx, "image", "inspect", "-f", "{{.Id}}", s.refs[i.Name])
	}
	img, err := s.graph.Image(i.Name)
	if err != nil {
		return "", err
	}
	d, err := img.Digest()
	return d.String(), err
}

// Row is one line of `amc images list`.
type Row struct {
	Name    string `json:"name"`
	Ref     string `json:"ref"`
	Source  string `json:"source"`
	Here    bool   `json:"here"` // in the cache; not known of what is pulled
	What    string `json:"what"`
	StandIn string `json:"standIn,omitempty"`
}

// List returns the table as it is for these options.
func (s *Set) List() []Row {
	var rows []Row
	for _, i := range table {
		r := Row{Name: i.Name, Ref: s.refs[i.Name], Source: Built, What: i.What, StandIn: i.StandIn}
		_, given := s.o.Overrides[i.Name]
		switch {
		case given:
			r.Source, r.StandIn = Override, ""
		case !s.built(i):
			r.Source, r.StandIn = Pulled, ""
		default:
			r.Here = s.graph.Has(i.Name)
		}
		rows = append(rows, r)
	}
	return rows
}

// Kubectl is the kubectl that was built for the nodes; empty when none was.
func (s *Set) Kubectl() string {
	if s.graph == nil {
		return ""
	}
	return s.graph.Kubectl()
}
