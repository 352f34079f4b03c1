package install

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// probeSeconds is the period of the readiness probes of ztunnel and istio-cni. The charts keep
// Kubernetes' default of 10 seconds and have no value for it. Both wait for istiod or for each
// other, so the default would delay the mesh by up to 10 seconds.
const probeSeconds = 2

// eagerProbes is a helm post-renderer that sets the period of the readiness probe in the chart's
// DaemonSet. A chart without such a probe is an error.
type eagerProbes struct{}

func (eagerProbes) Run(rendered *bytes.Buffer) (*bytes.Buffer, error) {
	objs, err := untyped(rendered.Bytes())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	patched := 0
	for _, u := range objs {
		if u.GetKind() == "DaemonSet" {
			containers, _, err := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
			if err != nil {
				return nil, err
			}
			for _, c := range containers {
				if m, ok := c.(map[string]any); ok && m["readinessProbe"] != nil {
					if err := unstructured.SetNestedField(m, int64(probeSeconds), "readinessProbe", "periodSeconds"); err != nil {
						return nil, err
					}
					patched++
				}
			}
			if err := unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers"); err != nil {
				return nil, err
			}
		}
		b, err := yaml.Marshal(u.Object)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(b)
	}
	if patched != 1 {
		return nil, fmt.Errorf("expected one readiness probe in the chart's DaemonSet, found %d", patched)
	}
	return &out, nil
}
