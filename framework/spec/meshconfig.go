package spec

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/undo"
)

// ScopeRule is a rule of serviceScopeConfigs.
type ScopeRule = istiod.ScopeRule

// Scopes of rules.
const (
	GlobalScope = istiod.GlobalScope
	LocalScope  = istiod.LocalScope
)

// Labeled selects what has a label of this value.
func Labeled(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// Unlabeled selects what has no label of this key.
func Unlabeled(key string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: key, Operator: metav1.LabelSelectorOpDoesNotExist}}}
}

// ScopeRules are the only scope rules of a mesh configuration.
func ScopeRules(rules ...ScopeRule) istiod.MeshSetting {
	return istiod.MeshSetting{Name: istiod.ScopeRules, Change: func(any) any {
		return append([]ScopeRule{}, rules...) // not null, which would be no setting
	}}
}

// MoreScopeRules are added to the scope rules of a mesh configuration.
func MoreScopeRules(rules ...ScopeRule) istiod.MeshSetting {
	return istiod.MeshSetting{Name: istiod.ScopeRules, Change: func(before any) any {
		all, _ := before.([]any)
		for _, r := range rules {
			all = append(all, r)
		}
		return all
	}}
}

// HiddenNamespace is a namespace that discoverySelectors exclude. What else they select stays.
func HiddenNamespace(name string) istiod.MeshSetting {
	hidden := map[string]any{"key": corev1.LabelMetadataName, "operator": metav1.LabelSelectorOpNotIn, "values": []string{name}}
	return istiod.MeshSetting{Name: "discoverySelectors", Change: func(before any) any {
		selectors, _ := before.([]any)
		if len(selectors) == 0 {
			selectors = []any{map[string]any{}}
		}
		var all []any
		for _, s := range selectors {
			with := map[string]any{}
			selector, _ := s.(map[string]any)
			maps.Copy(with, selector)
			expressions, _ := with["matchExpressions"].([]any)
			with["matchExpressions"] = append(slices.Clone(expressions), hidden)
			all = append(all, with)
		}
		return all
	}}
}

// SetMeshConfig changes a setting of the mesh configuration in some clusters, and waits until each
// istiod of them has it in force. restore puts back the configuration and waits likewise; the end
// of the spec does so at the latest.
func (t *T) SetMeshConfig(clusters Clusters, setting istiod.MeshSetting) (restore func()) {
	before := map[*Cluster]*kept{}
	for _, c := range clusters {
		before[c] = t.keep(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: istiod.Namespace, Name: istiod.ConfigMap(c.Revision)}},
			undo.Field{"data"})
	}
	t.change(func() {
		t.Each(clusters, func(c *Cluster) {
			restore, err := istiod.ChangeMeshConfig(t.ctx, c.Cluster, setting)
			t.NoError(err)
			before[c].undo = restore
		})
	})
	return t.restoring(slices.Collect(maps.Values(before))...)
}
