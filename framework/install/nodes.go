package install

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// onNodes are the fields of a pod template that put the first pod with a label on a node, and each
// further one on another, so that a node can be lost without all of them.
func onNodes(first, key, value string) map[string]any {
	preferred := map[string]any{"weight": 100, "preference": map[string]any{"matchExpressions": []any{
		map[string]any{"key": corev1.LabelHostname, "operator": "In", "values": []any{first}}}}}
	return map[string]any{
		"affinity": map[string]any{"nodeAffinity": map[string]any{"preferredDuringSchedulingIgnoredDuringExecution": []any{preferred}}},
		"topologySpreadConstraints": []any{map[string]any{
			"maxSkew": 1, "topologyKey": corev1.LabelHostname, "whenUnsatisfiable": string(corev1.DoNotSchedule),
			"labelSelector":  map[string]any{"matchLabels": map[string]any{key: value}},
			"matchLabelKeys": []any{appsv1.DefaultDeploymentUniqueLabelKey}, // a rolling restart begins where the old pods are
		}},
	}
}
