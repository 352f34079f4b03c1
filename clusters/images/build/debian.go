package build

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ambient.test/conformance/clusters/apt"
	"ambient.test/conformance/clusters/images/build/dag"
	"ambient.test/conformance/internal/command"
)

// Names of the nodes that everything stands on.
const (
	rootfsNode = "rootfs" // rootfs.tar: a small Debian with systemd, for the node image
	baseNode   = "base"   // image layout: glibc, iptables and certificates out of it
	certsNode  = "certs"  // image layout: certificates, a user table and /tmp, for static binaries
)

// debian is the distribution. Its package manager checks signatures and checksums; which versions
// came is written beside the root file system.
const debian = "bookworm"

// rootfsPackages are what a kind node needs beyond a minimal Debian.
var rootfsPackages = []string{
	"systemd",
	"systemd-sysv",
	"dbus",
	"iproute2",
	"iptables",
	"nftables",
	"conntrack",
	"ethtool",
	"socat",
	"util-linux",
	"mount",
	"ebtables",
	"kmod",
	"libseccomp2",
	"ca-certificates",
	"curl",
	"jq",
	"ipset",
	"procps",
	"hostname",
	"pigz",
}

// basePackages are what the programs of the small base need: Envoy is linked with glibc, istio-cni
// and kube-proxy run iptables and ipset.
var basePackages = []string{"libc6", "iptables", "nftables", "ipset", "conntrack"}

// excluded are folders of the root file system that no node reads. Its cache key calls them
// "useless": another word there would rebuild every image.
var excluded = []string{
	"usr/share/doc/",
	"usr/share/man/",
	"usr/share/locale/",
	"usr/share/info/",
	"usr/share/lintian/",
	"usr/share/bug/",
	"usr/share/zoneinfo/",
	"var/cache/apt/",
	"var/lib/apt/lists/",
	"usr/lib/udev/hwdb",
	"var/log/",
}

func rootfs() dag.Node {
	return dag.Node{
		Name: rootfsNode,
		Pool: poolOther,
		Inputs: map[string]string{
			"debian":   debian,
			"packages": strings.Join(rootfsPackages, " "),
			"useless":  strings.Join(excluded, " "),
			"arch":     arch(),
		},
		Build: func(ctx context.Context, t *dag.Task) error {
			if os.Geteuid() != 0 {
				return errors.New("making a root file system needs root: run as root, or use images that can be pulled (--images pull)")
			}
			if err := apt.Ensure(ctx, t.Note, apt.Tool{Program: "debootstrap", Package: "debootstrap"}); err != nil {
				return err
			}
			root := filepath.Join(t.Temp, "root")
			t.Note("debootstrap %s", debian)
			c := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+strings.Join(rootfsPackages, ","), debian, root)
			out, err := c.CombinedOutput()
			if err != nil {
				return fmt.Errorf("debootstrap: %w: %s", command.Cause(ctx, err), command.Tail(string(out), 3))
			}
			t.Note("packing")
			status, err := os.ReadFile(filepath.Join(root, statusFile))
			if err != nil {
				return err
			}
			var list strings.Builder
			for _, p := range parseStatus(status) {
				fmt.Fprintf(&list, "%s %s\n", p.name, p.version)
			}
			if err := os.WriteFile(filepath.Join(t.Out, "packages.txt"), []byte(list.String()), 0o644); err != nil {
				return err
			}
			// GNU tar keeps links, owners and devices as they are.
			pack := exec.CommandContext(
				ctx, "tar", "--numeric-owner", "--sort=name", "--mtime=@0", "-C", root, "-cf", filepath.Join(t.Out, "rootfs.tar"), ".",
			)
			if out, err := pack.CombinedOutput(); err != nil {
				return fmt.Errorf("tar: %w: %s", command.Cause(ctx, err), command.Tail(string(out), 3))
			}
			return nil
		},
	}
}

const statusFile = "var/lib/dpkg/status"

// debianPackage is what dpkg knows of an installed package.
type debianPackage struct {
	name, version string
	depends       []string // of alternatives the first
	provides      []string
}

func parseStatus(status []byte) []debianPackage {
	var all []debianPackage
	for para := range bytes.SplitSeq(status, []byte("\n\n")) {
		var p debianPackage
		sc := bufio.NewScanner(bytes.NewReader(para))
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			key, value, ok := strings.Cut(sc.Text(), ": ")
			if !ok {
				continue
			}
			switch key {
			case "Package":
				p.name = value
			case "Version":
				p.version = value
			case "Depends", "Pre-Depends":
				p.depends = append(p.depends, names(value)...)
			case "Provides":
				p.provides = append(p.provides, names(value)...)
			}
		}
		if p.name != "" {
			all = append(all, p)
		}
	}
	return all
}

// names are the packages of a relation field, without versions and architectures.
func names(field string) []string {
	var all []string
	for part := range strings.SplitSeq(field, ",") {
		first, _, _ := strings.Cut(part, "|")
		name, _, _ := strings.Cut(strings.TrimSpace(first), " ")
		name, _, _ = strings.Cut(name, ":")
		all = append(all, name)
	}
	return all
}

// closure returns the wanted packages with all that they need to run. It leaves out packages that
// only maintainer scripts need (debconf and the like), although dependencies name them.
func closure(status []byte, want []string) ([]string, error) {
	by := map[string]debianPackage{}
	for _, p := range parseStatus(status) {
		by[p.name] = p
		for _, v := range p.provides {
			if _, real := by[v]; !real {
				by[v] = p
			}
		}
	}
	scriptsOnly := []string{"debconf", "debconf-2.0", "dpkg", "perl-base", "init-system-helpers", "lsb-base"}
	var all []string
	queue := slices.Clone(want)
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if slices.Contains(scriptsOnly, name) {
			continue
		}
		p, ok := by[name]
		if !ok {
			return nil, fmt.Errorf("package %s is not in the root file system", name)
		}
		if slices.Contains(all, p.name) {
			continue
		}
		all = append(all, p.name)
		queue = append(queue, p.depends...)
	}
	slices.Sort(all)
	return all, nil
}

// required are files of every image: certificates, the tables of users and groups, a place for
// temporary files.
var required = []string{"etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/group", "etc/nsswitch.conf", "tmp/"}

func certs() dag.Node {
	return dag.Node{
		Name:   certsNode,
		Needs:  []string{rootfsNode},
		Pool:   poolImage,
		Inputs: map[string]string{"files": strings.Join(required, " ")},
		Build:  func(ctx context.Context, t *dag.Task) error { return extract(t, nil) },
	}
}

func base() dag.Node {
	return dag.Node{
		Name:   baseNode,
		Needs:  []string{rootfsNode},
		Pool:   poolImage,
		Inputs: map[string]string{"files": strings.Join(required, " "), "packages": strings.Join(basePackages, " ")},
		Build:  func(ctx context.Context, t *dag.Task) error { return extract(t, basePackages) },
	}
}

// extract makes an image of what the packages brought into the root file system.
func extract(t *dag.Task, packages []string) error {
	archive := filepath.Join(t.Needs[rootfsNode], "rootfs.tar")
	keep := func(p string) bool { return slices.Contains(required, p) }
	if packages != nil {
		wanted, err := filesOf(archive, packages)
		if err != nil {
			return err
		}
		keep = func(p string) bool {
			return wanted[strings.TrimSuffix(p, "/")] || slices.Contains(required, p) ||
				// what the packages' scripts link: iptables is a name for one of two programs, /bin
				// and /lib for folders in /usr
				strings.HasPrefix(p, "etc/alternatives/") || slices.Contains([]string{"bin", "sbin", "lib", "lib64", "lib32", "libx32"}, p) ||
				strings.HasPrefix(p, "usr/sbin/") && (strings.Contains(p, "tables")) || p == "etc/ld.so.cache"
		}
	}
	layer := filepath.Join(t.Temp, "layer.tar")
	f, err := os.Create(layer)
	if err != nil {
		return err
	}
	w := newTree(f)
	err = eachEntry(archive, func(p string, h *tar.Header, r io.Reader) error {
		if !keep(p) || slices.ContainsFunc(excluded, func(u string) bool { return strings.HasPrefix(p, u) }) {
			return nil
		}
		return w.entry(h, r)
	})
	if err != nil {
		return err
	}
	if err := w.close(f); err != nil {
		return err
	}
	return writeLayout(t.Out, newImage(), layer, v1.Config{})
}

// filesOf are the paths that the packages and what they need brought.
func filesOf(archive string, packages []string) (map[string]bool, error) {
	status, lists := []byte(nil), map[string][]byte{}
	err := eachEntry(archive, func(p string, h *tar.Header, r io.Reader) (err error) {
		const info = "var/lib/dpkg/info/"
		if p == statusFile {
			status, err = io.ReadAll(r)
			return err
		}
		if strings.HasPrefix(p, info) && strings.HasSuffix(p, ".list") {
			name, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(p, info), ".list"), ":")
			lists[name], err = io.ReadAll(r)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	need, err := closure(status, packages)
	if err != nil {
		return nil, err
	}
	files := map[string]bool{}
	for _, n := range need {
		for line := range strings.Lines(string(lists[n])) {
			p := strings.TrimPrefix(strings.TrimSpace(line), "/")
			files[p] = true
			// The lists still say /lib; since the merge of /usr these files stand in /usr/lib.
			if top, _, _ := strings.Cut(p, "/"); top == "lib" || top == "bin" || top == "sbin" || top == "lib64" {
				files["usr/"+p] = true
			}
		}
	}
	return files, nil
}

// eachEntry walks through an archive. Paths have no "./" in front, and folders end with a slash.
func eachEntry(archive string, do func(path string, h *tar.Header, r io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	tr := tar.NewReader(bufio.NewReaderSize(f, 1<<20))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p := strings.TrimPrefix(h.Name, "./")
		if p == "" {
			continue
		}
		if err := do(p, h, tr); err != nil {
			return err
		}
	}
}
