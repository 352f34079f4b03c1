package apply

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ambient.test/conformance/framework/mesh"
)

// Kinds are the resources that specs write, all of them in namespaces. Secrets are left out on
// purpose: evidence is collected by this table. The verb that writes remote secrets undoes that
// itself.
var Kinds = []schema.GroupVersionResource{
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "grpcroutes"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "tlsroutes"},
	{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"},
	{Group: "networking.istio.io", Version: "v1", Resource: "gateways"},
	{Group: "networking.istio.io", Version: "v1", Resource: "serviceentries"},
	{Group: "networking.istio.io", Version: "v1", Resource: "sidecars"},
	{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"},
	{Group: "networking.istio.io", Version: "v1", Resource: "workloadentries"},
	{Group: "security.istio.io", Version: "v1", Resource: "authorizationpolicies"},
	{Group: "security.istio.io", Version: "v1", Resource: "peerauthentications"},
	{Group: "security.istio.io", Version: "v1", Resource: "requestauthentications"},
	{Group: "telemetry.istio.io", Version: "v1", Resource: "telemetries"},
}

// Left lists the objects of all Kinds in a namespace that a label selector selects, those that are
// being deleted among them. It leaves out objects that another object owns, because they are
// deleted with it, and kinds that the cluster does not have.
func Left(ctx context.Context, c *mesh.Cluster, namespace, selector string) ([]unstructured.Unstructured, error) {
	var left []unstructured.Unstructured
	for _, k := range Kinds {
		list, err := c.Dynamic().Resource(k).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: list %s in %s: %w", c.Name, k.Resource, namespace, err)
		}
		for _, o := range list.Items {
			if len(o.GetOwnerReferences()) == 0 {
				left = append(left, o)
			}
		}
	}
	return left, nil
}

// Sweep deletes what Left lists, but for what is being deleted already, and returns its names.
func Sweep(ctx context.Context, c *mesh.Cluster, namespace, selector string) ([]string, error) {
	left, err := Left(ctx, c, namespace, selector)
	if err != nil {
		return nil, err
	}
	var gone []string
	var failed []error
	for i := range left {
		if left[i].GetDeletionTimestamp() != nil {
			continue
		}
		if err := c.Client().Delete(ctx, &left[i]); err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("%s: delete %s: %w", c.Name, Title(&left[i]), err))
			continue
		}
		gone = append(gone, c.Name+": "+Title(&left[i]))
	}
	return gone, errors.Join(failed...)
}

// Title names an object: kind, namespace/name.
func Title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}
