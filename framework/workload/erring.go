package workload

import (
	_ "embed"

	corev1 "k8s.io/api/core/v1"

	"ambient.test/conformance/framework/mesh"
)

// Envoy is where a proxy is found.
type Envoy struct {
	Image   string
	Program string // its path in the image
}

// EnvoyOf is the proxy that a gateway's pods run.
func EnvoyOf(f *mesh.Fleet, pod corev1.PodSpec) Envoy {
	e := Envoy{pod.Containers[0].Image, "/usr/local/bin/envoy"}
	if f.Images["proxyv2"].StandIn != "" {
		e.Program += ".real" // the first is the relay
	}
	return e
}

//go:embed erring.yaml
var erring string

// erring is the container that answers with errors. The echo application does so only when a
// request asks for it, and then all its pods would.
func (e Echo) erring(c *mesh.Cluster) corev1.Container {
	x := e.application(c)
	x.Image, x.Args = e.Errors.Image, nil
	x.Command = []string{e.Errors.Program, "--config-yaml", erring, "--disable-hot-restart", "--concurrency", "1"}
	x.Env = []corev1.EnvVar{
		{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		{Name: "ANSWER", Value: "Cluster=" + c.Name + "\nHostname=$(POD)\n"},
	}
	return x
}
