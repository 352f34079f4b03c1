// Package apply writes objects to a cluster by server-side apply. Writing an object again changes
// nothing.
package apply

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"ambient.test/conformance/framework/mesh"
)

// Owner is the field manager under which the suite writes.
const Owner = "amc"

// Objects applies the objects to the cluster in their order. An error names cluster, kind and name.
func Objects(ctx context.Context, c *mesh.Cluster, objs ...client.Object) error {
	for _, o := range objs {
		u, err := Unstructured(o)
		if err != nil {
			return err
		}
		if err := c.Client().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(Owner),
			client.ForceOwnership); err != nil {
			return fmt.Errorf("%s: apply %s %s: %w", c.Name, u.GetKind(), client.ObjectKeyFromObject(o), err)
		}
	}
	return nil
}

// Unstructured returns the object as it is applied: with its kind, and without the fields that only
// the server writes.
func Unstructured(o client.Object) (*unstructured.Unstructured, error) {
	gvk, err := apiutil.GVKForObject(o, mesh.Scheme)
	if err != nil {
		return nil, err
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", gvk.Kind, client.ObjectKeyFromObject(o), err)
	}
	u := &unstructured.Unstructured{Object: m}
	u.SetGroupVersionKind(gvk)
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(u.Object, "metadata", "resourceVersion")
	return u, nil
}
