package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/gateway-api/pkg/consts"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/wait"
)

// manifest reads the objects of a manifest, in their order: those of Kubernetes itself in their Go
// types, others untyped.
func manifest(b []byte) (all []client.Object, err error) {
	objects, err := untyped(b)
	for _, u := range objects {
		if !scheme.Scheme.Recognizes(u.GroupVersionKind()) {
			all = append(all, u)
			continue
		}
		o, err := scheme.Scheme.New(u.GroupVersionKind())
		if err != nil {
			return nil, err
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
			return nil, fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
		}
		all = append(all, o.(client.Object))
	}
	return all, err
}

// untyped reads the objects of a YAML stream, in their order and with every field: what a chart
// rendered must not lose a field that a Go type does not know.
func untyped(b []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(u.Object) == 0 {
			continue // an empty document
		}
		if u.GetKind() == "" || u.GetName() == "" {
			return nil, fmt.Errorf("object %d of the stream has no kind or no name", len(out)+1)
		}
		out = append(out, u)
	}
}

// applyAll applies objects that do not depend on each other, several at a time.
func applyAll(ctx context.Context, c *mesh.Cluster, objs []client.Object) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(6)
	for _, o := range objs {
		g.Go(func() error { return apply.Objects(ctx, c, o) })
	}
	return g.Wait()
}

// split separates the custom resource definitions from the rest.
func split(objs []client.Object) (crds, rest []client.Object, names []string) {
	for _, o := range objs {
		if o.GetObjectKind().GroupVersionKind().Kind == "CustomResourceDefinition" {
			crds, names = append(crds, o), append(names, o.GetName())
		} else {
			rest = append(rest, o)
		}
	}
	return crds, rest, names
}

// gatewayAPI reads the standard channel of the Gateway API from its module: the CRDs and the policy
// that guards their upgrades.
func gatewayAPI(moduleDir string) ([]client.Object, error) {
	files, err := filepath.Glob(filepath.Join(moduleDir, "config", "crd", "standard", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no CRDs of the Gateway API in %s/config/crd/standard: "+
			"is sigs.k8s.io/gateway-api in the module cache? (`go mod download sigs.k8s.io/gateway-api`)", moduleDir)
	}
	slices.Sort(files)
	var all []client.Object
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		objs, err := manifest(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		all = append(all, objs...)
	}
	return all, nil
}

// applyGatewayAPI applies the CRDs, unless all are there in the same bundle version, and waits
// until the API server serves them.
func applyGatewayAPI(ctx context.Context, c *mesh.Cluster, objs []client.Object) error {
	crds, rest, names := split(objs)
	var have apiext.CustomResourceDefinitionList
	if err := c.Client().List(ctx, &have); err != nil {
		return fmt.Errorf("%s: list custom resource definitions: %w", c.Name, err)
	}
	if !sameBundle(crds, have.Items) {
		if err := applyAll(ctx, c, crds); err != nil {
			return err
		}
		if err := applyAll(ctx, c, rest); err != nil { // after the CRDs: the policy judges changes of them
			return err
		}
	}
	return wait.Established(ctx, c, names...)
}

// sameBundle tells whether all wanted CRDs are there in the wanted bundle version.
func sameBundle(want []client.Object, have []apiext.CustomResourceDefinition) bool {
	version := map[string]string{}
	for _, h := range have {
		version[h.Name] = h.Annotations[consts.BundleVersionAnnotation]
	}
	for _, w := range want {
		if v, there := version[w.GetName()]; !there || v != w.GetAnnotations()[consts.BundleVersionAnnotation] {
			return false
		}
	}
	return len(want) > 0
}

// remove deletes objects that may be gone already.
func remove(ctx context.Context, c *mesh.Cluster, objs ...client.Object) error {
	for _, o := range objs {
		if err := c.Client().Delete(ctx, o, client.PropagationPolicy("Background")); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("%s: delete %T %s: %w", c.Name, o, client.ObjectKeyFromObject(o), err)
		}
	}
	return nil
}
