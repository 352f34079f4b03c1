package build

import "strings"

// Versions of what is built or pulled. A test compares them with what the build modules pin.
const (
	Kubernetes = "v1.36.3"
	MetalLB    = "v0.15.2"
	// Envoy is the version of upstream Envoy nearest to the proxy of Istio 1.31, which is built
	// from Envoy's release/v1.39.
	Envoy = "1.39.3"
)

// NodeImage names the image that is put together of all others; every other image has a [Recipe].
const NodeImage = "node"

// Recipe says how an image is put together. Its fields and their values are part of the cache key.
type Recipe struct {
	// Base starts from the small Debian base with glibc and iptables. Without it the image starts
	// from what a static binary wants: certificates, a user table and /tmp.
	Base bool
	// Files are what goes in, by path in the image: "node/path" in the result of a build node.
	Files map[string]string
	// Links are symbolic links, by path.
	Links      map[string]string
	Entrypoint []string
	Command    []string
	User       string
	WorkDir    string
	Path       string // PATH of the environment; a default when empty
}

// kubernetesImages are the images of Kubernetes itself, by the reference that kubeadm of this
// version asks for. The build modules have the same versions.
var kubernetesImages = map[string]*Recipe{
	"registry.k8s.io/kube-apiserver:" + Kubernetes:          static("k8s/kube-apiserver"),
	"registry.k8s.io/kube-controller-manager:" + Kubernetes: static("k8s/kube-controller-manager"),
	"registry.k8s.io/kube-scheduler:" + Kubernetes:          static("k8s/kube-scheduler"),
	"registry.k8s.io/kube-proxy:" + Kubernetes: {Base: true,
		Files: map[string]string{"usr/local/bin/kube-proxy": "k8s/kube-proxy"}, Entrypoint: []string{"/usr/local/bin/kube-proxy"}},
	"registry.k8s.io/etcd:3.6.8-0":            static("etcd/etcd"),
	"registry.k8s.io/coredns/coredns:v1.14.2": static("coredns/coredns"),
	pauseImage: {Files: map[string]string{"pause": "pause/pause"}, Entrypoint: []string{"/pause"}},
}

const pauseImage = "registry.k8s.io/pause:3.10.2"

func static(file string) *Recipe {
	path := "usr/local/bin/" + file[strings.LastIndexByte(file, '/')+1:]
	return &Recipe{Files: map[string]string{path: file}, Entrypoint: []string{"/" + path}}
}
