package build

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"ambient.test/conformance/clusters/images/build/dag"
)

// An image node's result is an OCI image layout with one image. go-containerregistry writes
// manifests and layers. Only the tar archive of a layer is our own (see tree), because its bytes
// must depend on the files alone, whenever and wherever they are packed.
//
// Layers are zstd: a node unpacks them about as fast as it could copy them, and each node's copy of
// the node image is a third of the size.

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// assembled is the node that puts an image together.
func assembled(name string, r *Recipe) dag.Node {
	var needs []string
	add := func(n string) {
		if !slices.Contains(needs, n) {
			needs = append(needs, n)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(r.Files)) {
		from, _, _ := strings.Cut(r.Files[p], "/")
		add(from)
	}
	if r.Base {
		add(baseNode)
	} else {
		add(certsNode)
	}
	return dag.Node{Name: name, Needs: needs, Pool: poolImage, Inputs: map[string]string{"recipe": fmt.Sprintf("%+v", *r), "arch": arch()},
		Build: func(_ context.Context, t *dag.Task) error { return assemble(t, r) }}
}

// assemble writes the image layout.
func assemble(t *dag.Task, r *Recipe) error {
	parent := t.Needs[certsNode]
	if r.Base {
		parent = t.Needs[baseNode]
	}
	img, err := readLayout(parent)
	if err != nil {
		return err
	}
	archive := filepath.Join(t.Temp, "layer.tar")
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	w := newTree(f)
	for _, p := range slices.Sorted(maps.Keys(r.Files)) {
		from, file, _ := strings.Cut(r.Files[p], "/")
		mode := int64(0o755)
		if strings.HasSuffix(p, ".json") {
			mode = 0o644
		}
		if err := w.file(p, filepath.Join(t.Needs[from], file), mode); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(r.Links)) {
		if err := w.link(p, r.Links[p]); err != nil {
			return err
		}
	}
	if err := w.close(f); err != nil {
		return err
	}
	return writeLayout(t.Out, img, archive, v1.Config{Entrypoint: r.Entrypoint, Cmd: r.Command, User: r.User, WorkingDir: r.WorkDir,
		Env: []string{"PATH=" + cmp.Or(r.Path, defaultPath)}})
}

// writeLayout adds a layer to an image and writes the result to dir. Nothing in it depends on when
// or where.
func writeLayout(dir string, parent v1.Image, archive string, config v1.Config) error {
	layer, err := tarball.LayerFromFile(
		archive, tarball.WithCompression(compression.ZStd), tarball.WithCompressionLevel(1),
		tarball.WithMediaType(types.OCILayerZStd),
	)
	if err != nil {
		return err
	}
	img, err := mutate.Append(parent, mutate.Addendum{Layer: layer, MediaType: types.OCILayerZStd})
	if err != nil {
		return err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = arch(), "linux", config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendImage(img)
}

// newImage is an OCI image without layers.
func newImage() v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// readLayout is the one image of a layout.
func readLayout(dir string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("image layout %s holds %d images, expected 1: delete the folder and build again", dir, len(m.Manifests))
	}
	return index.Image(m.Manifests[0].Digest)
}

// Gzipped is an image with its layers compressed by gzip instead of zstd, which a Docker before 23
// cannot read.
func Gzipped(img v1.Image) (v1.Image, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	out := newImage()
	for _, l := range layers {
		again, err := tarball.LayerFromOpener(l.Uncompressed, tarball.WithCompression(compression.GZip), tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		if out, err = mutate.Append(out, mutate.Addendum{Layer: again, MediaType: types.OCILayer}); err != nil {
			return nil, err
		}
	}
	return mutate.ConfigFile(out, config)
}

// tree writes a reproducible tar archive: every entry belongs to root and has no time, and every
// folder comes before its content.
type tree struct {
	w    *tar.Writer
	dirs map[string]bool
}

func newTree(w io.Writer) *tree { return &tree{tar.NewWriter(w), map[string]bool{}} }

// parents writes the folders above p that were not written yet.
func (t *tree) parents(p string) error {
	dir := path.Dir(p)
	if dir == "." || dir == "/" || t.dirs[dir] {
		return nil
	}
	return t.dir(dir, 0o755)
}

func (t *tree) dir(p string, mode int64) error {
	if t.dirs[p] {
		return nil
	}
	if err := t.parents(p); err != nil {
		return err
	}
	t.dirs[p] = true
	return t.w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: p + "/", Mode: mode})
}

func (t *tree) data(p string, b []byte, mode int64) error {
	if err := t.parents(p); err != nil {
		return err
	}
	if err := t.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p, Size: int64(len(b)), Mode: mode}); err != nil {
		return err
	}
	_, err := io.Copy(t.w, bytes.NewReader(b))
	return err
}

// file copies a file of this machine.
func (t *tree) file(p, from string, mode int64) error {
	if err := t.parents(p); err != nil {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p, Size: st.Size(), Mode: mode}); err != nil {
		return err
	}
	_, err = io.Copy(t.w, f)
	return err
}

func (t *tree) link(p, target string) error {
	if err := t.parents(p); err != nil {
		return err
	}
	return t.w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: p, Linkname: target, Mode: 0o777})
}

// folder copies a folder of this machine, with its files' permissions.
func (t *tree) folder(p, from string) error {
	return filepath.WalkDir(from, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		to := path.Join(p, filepath.ToSlash(rel))
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := int64(info.Mode().Perm())
		switch {
		case d.IsDir():
			return t.dir(to, mode)
		case info.Mode().IsRegular():
			return t.file(to, name, mode)
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return t.link(to, target)
		}
		return nil // sockets and the like
	})
}

// entry copies an entry of another archive as it is, without its times.
func (t *tree) entry(h *tar.Header, r io.Reader) error {
	p := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
	if h.Typeflag == tar.TypeDir {
		if t.dirs[p] {
			return nil
		}
		t.dirs[p] = true
	} else if err := t.parents(p); err != nil {
		return err
	}
	c := *h
	c.Name = p
	if h.Typeflag == tar.TypeDir {
		c.Name += "/"
	}
	c.Linkname = strings.TrimPrefix(h.Linkname, "./")
	if h.Typeflag == tar.TypeSymlink {
		c.Linkname = h.Linkname
	}
	c.PAXRecords, c.Uname, c.Gname = h.PAXRecords, "", ""
	if err := t.w.WriteHeader(&c); err != nil {
		return err
	}
	_, err := io.Copy(t.w, r)
	return err
}

func (t *tree) close(f io.Closer) error {
	if err := t.w.Close(); err != nil {
		return err
	}
	return f.Close()
}
