package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/clusters/images/build"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/command"
)

// pull makes sure that the engine has the named images, and notes their digests.
func (s *Set) pull(ctx context.Context, names []string, out map[string]mesh.ImageRef) (err error) {
	if len(names) == 0 {
		return nil
	}
	phase := s.o.Progress.Phase("pull", len(names))
	defer func() { phase.Close(err) }()
	digests := make([]string, len(names))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(3)
	for i, n := range names {
		all.Go(func() (err error) {
			item := phase.Item(n)
			defer func() { item.Done(err) }()
			ref := out[n].Ref
			if digests[i], err = inspect(ctx, s.o.Engine, ref); err == nil {
				return nil
			}
			item.Note("%s", ref)
			if err := s.o.Engine.Run(ctx, "pull", "--quiet", ref); err != nil {
				return fmt.Errorf("image %s: %w: give one with --image %s=REFERENCE", n, err, n)
			}
			digests[i], err = inspect(ctx, s.o.Engine, ref)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for i, n := range names {
		r := out[n]
		r.Digest = digests[i]
		out[n] = r
	}
	return nil
}

// inspect is the digest under which a registry has the image, else the id it has in the engine.
func inspect(ctx context.Context, e *engine.Engine, ref string) (string, error) {
	said, err := e.Output(ctx, "image", "inspect", "-f", "{{.Id}}{{range .RepoDigests}} {{.}}{{end}}", ref)
	if err != nil {
		return "", err
	}
	words := strings.Fields(said)
	for _, w := range words[1:] {
		if _, d, ok := strings.Cut(w, "@"); ok {
			return d, nil
		}
	}
	return words[0], nil
}

// Load copies images from the engine into the containerd of nodes. It skips those that are already
// part of the node image: what is built is, unless others are pulled.
func Load(ctx context.Context, e *engine.Engine, images map[string]mesh.ImageRef, nodes []string) error {
	pulled := slices.ContainsFunc(slices.Collect(maps.Values(images)), func(i mesh.ImageRef) bool { return i.Source == Pulled })
	var refs []string
	for _, n := range Names() {
		if i := images[n]; n != Node && i.Ref != "" && (pulled || i.Source != Built) {
			refs = append(refs, i.Ref)
		}
	}
	return load(ctx, e, refs, nodes)
}

// load copies images by their references.
func load(ctx context.Context, e *engine.Engine, refs, nodes []string) error {
	if len(refs) == 0 {
		return nil
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, node := range nodes {
		all.Go(func() error {
			save := e.Docker(ctx, append([]string{"save"}, refs...)...)
			r, w := io.Pipe()
			var errs strings.Builder
			save.Stdout, save.Stderr = w, &errs
			if err := save.Start(); err != nil {
				return err
			}
			saved := make(chan error, 1)
			var imported atomic.Bool
			go func() {
				err := save.Wait()
				if imported.Load() {
					err = nil // it could not write any more: the import's own error says why
				}
				if err != nil {
					err = fmt.Errorf("docker save: %w: %s", err, command.Tail(errs.String(), 2))
				}
				_ = w.CloseWithError(err) // nil ends the stream
				saved <- err
			}()
			_, err := e.Feed(
				ctx, r, "exec", "--interactive", node, "ctr", "--namespace", "k8s.io", "images", "import", "--no-unpack", "--digests",
				"-",
			)
			imported.Store(true)
			_ = r.Close()
			if failed := <-saved; failed != nil {
				return failed
			}
			return err
		})
	}
	return all.Wait()
}

// Push copies the built images of the mesh to a registry, below a prefix such as
// registry.example/amc, under the tags they have here, so that clusters elsewhere can run them.
func (s *Set) Push(ctx context.Context, prefix string) (refs []string, err error) {
	if s.mode != Build {
		return nil, errors.New("only built images are pushed; these are pulled from their own registries")
	}
	var built []Image
	for _, i := range table {
		if i.recipe != nil {
			built = append(built, i)
		}
	}
	phase := s.o.Progress.Phase("push", len(built))
	defer func() { phase.Close(err) }()
	for _, i := range built {
		item := phase.Item(i.Name)
		ref, err := s.push(ctx, i, strings.TrimSuffix(prefix, "/"))
		item.Done(err)
		if err != nil {
			return refs, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

func (s *Set) push(ctx context.Context, i Image, prefix string) (string, error) {
	if !s.graph.Has(i.Name) {
		return "", fmt.Errorf("image %s is not built: run `amc images build` first", i.Name)
	}
	img, err := s.graph.Image(i.Name)
	if err != nil {
		return "", err
	}
	if img, err = build.Gzipped(img); err != nil {
		return "", fmt.Errorf("image %s: %w", i.Name, err)
	}
	to := prefix + "/" + i.Name + ":" + s.graph.Tag(i.Name)
	ref, err := name.ParseReference(to)
	if err != nil {
		return "", fmt.Errorf("--to %s: %w", prefix, err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("push %s: %w", to, err)
	}
	return to, nil
}
