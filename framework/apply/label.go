package apply

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/mesh"
)

// Label sets a label of an existing object; an empty value removes it. It does not change o.
func Label(ctx context.Context, c *mesh.Cluster, o client.Object, key, value string) error {
	var v any // null removes
	if value != "" {
		v = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{key: v}}})
	if err != nil {
		return err
	}
	if err := c.Client().Patch(ctx, o.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("%s: label %s with %s=%q: %w", c.Name, client.ObjectKeyFromObject(o), key, value, err)
	}
	return nil
}
