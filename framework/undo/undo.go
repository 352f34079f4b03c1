// Package undo keeps in a cluster how to put back what a spec is about to change of a mesh: the
// mesh configuration, a remote secret, an environment variable of istiod. A run that is killed
// cannot undo its changes; the next run does, from the note. A note is a ConfigMap, so that a suite
// without the right to read Secrets can write it; only that of a Secret is a Secret itself.
package undo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/wait"
	"ambient.test/conformance/reports/api"
)

// Label marks notes. Its value is the owner: a behavior by its id in lower case.
const Label = api.Group + "/undo"

// key is where a note is in its object.
const key = "note.json"

// Field is the path of a part of an object, such as spec, replicas.
type Field []string

// Note says how one object was before a spec changed it.
type Note struct {
	Owner string
	// Title names the object: kind, namespace/name.
	Title string

	cluster *mesh.Cluster
	object  client.Object // that is the note
	kept    kept
}

// kept is what a note holds.
type kept struct {
	// Object is as it was, without what only the server writes; where it did not exist it has nothing
	// but kind and name.
	Object *unstructured.Unstructured `json:"object"`
	Absent bool                       `json:"absent,omitempty"`
	// Fields are all that a spec changes of it; none stands for the whole object.
	Fields []Field `json:"fields,omitempty"`
}

// Write notes how an object is now, in a namespace of the suite. It does not change o.
func Write(ctx context.Context, c *mesh.Cluster, namespace, owner string, o client.Object, fields ...Field) (*Note, error) {
	gvk, err := apiutil.GVKForObject(o, mesh.Scheme)
	if err != nil {
		return nil, err
	}
	before := &unstructured.Unstructured{}
	before.SetGroupVersionKind(gvk)
	before.SetNamespace(o.GetNamespace())
	before.SetName(o.GetName())
	n := &Note{Owner: owner, Title: apply.Title(before), cluster: c, kept: kept{Fields: fields}}
	switch err := c.Client().Get(ctx, client.ObjectKeyFromObject(o), before); {
	case apierrors.IsNotFound(err):
		n.kept.Absent = true
	case err != nil:
		return nil, n.fault("read it before it is changed", err)
	}
	if n.kept.Object, err = apply.Unstructured(before); err != nil {
		return nil, n.fault("note how it is", err)
	}
	data, err := json.Marshal(n.kept)
	if err != nil {
		return nil, n.fault("note how it is", err)
	}
	meta := metav1.ObjectMeta{Namespace: namespace, GenerateName: "undo-" + owner + "-", Labels: map[string]string{Label: owner}}
	if n.Is("Secret") {
		n.object = &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{key: data}}
	} else {
		n.object = &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{key: string(data)}}
	}
	if err := c.Client().Create(ctx, n.object); err != nil {
		return nil, n.fault("note how it is", err)
	}
	return n, nil
}

// List are the notes of a cluster, the last one first. Where nobody may list them none was written.
func List(ctx context.Context, c *mesh.Cluster, namespace string) (all []*Note, err error) {
	var secrets corev1.SecretList
	var configs corev1.ConfigMapList
	for _, list := range []client.ObjectList{&secrets, &configs} {
		err := c.Client().List(ctx, list, client.InNamespace(namespace), client.HasLabels{Label})
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("%s: notes of what to undo in %s: %w", c.Name, namespace, err)
		}
	}
	read := func(o client.Object, data []byte) error {
		n := &Note{Owner: o.GetLabels()[Label], cluster: c, object: o}
		if err := json.Unmarshal(data, &n.kept); err != nil {
			return fmt.Errorf("%s: note %s of what to undo: %w", c.Name, client.ObjectKeyFromObject(o), err)
		}
		n.Title = apply.Title(n.kept.Object)
		all = append(all, n)
		return nil
	}
	for i := range secrets.Items {
		err = errors.Join(err, read(&secrets.Items[i], secrets.Items[i].Data[key]))
	}
	for i := range configs.Items {
		err = errors.Join(err, read(&configs.Items[i], []byte(configs.Items[i].Data[key])))
	}
	// Times of creation are in whole seconds; the versions that a server gives tell what came first.
	slices.SortFunc(all, func(a, b *Note) int {
		return -compareVersions(a.object.GetResourceVersion(), b.object.GetResourceVersion())
	})
	return all, err
}

// compareVersions compares two numbers without leading zeros.
func compareVersions(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// Is says whether the note is of an object of this kind.
func (n *Note) Is(kind string) bool { return n.kept.Object.GetKind() == kind }

// Namespace is that of the object.
func (n *Note) Namespace() string { return n.kept.Object.GetNamespace() }

// Undo makes the object what it was, and waits until it has taken effect: for the rollout of a
// Deployment, for a Gateway to be programmed or, if there was none, for its pods to end. What others
// have changed of it meanwhile stays, but for the noted fields.
func (n *Note) Undo(ctx context.Context) error {
	before := n.kept.Object.DeepCopy()
	if n.kept.Absent {
		if err := n.cluster.Client().Delete(ctx, before); client.IgnoreNotFound(err) != nil {
			return n.fault("delete it, as it did not exist before", err)
		}
		return n.waitGone(ctx)
	}
	now, after := before.DeepCopy(), before.DeepCopy()
	err := n.cluster.Client().Get(ctx, client.ObjectKeyFromObject(before), now)
	switch {
	case apierrors.IsNotFound(err):
		err = n.cluster.Client().Create(ctx, after)
	case err == nil:
		after = restored(now, before, n.kept.Fields)
		err = n.cluster.Client().Patch(ctx, after, client.MergeFrom(now))
	}
	if err != nil {
		return n.fault("make it what it was", err)
	}
	return n.wait(ctx, after.GetGeneration())
}

// restored is an object with these fields as they were; without fields, all but what only the
// server writes.
func restored(now, before *unstructured.Unstructured, fields []Field) *unstructured.Unstructured {
	after := now.DeepCopy()
	if len(fields) == 0 {
		fields = []Field{{"metadata", "labels"}, {"metadata", "annotations"}}
		for _, o := range []*unstructured.Unstructured{now, before} {
			for name := range o.Object {
				if name != "metadata" && name != "status" {
					fields = append(fields, Field{name})
				}
			}
		}
	}
	for _, f := range fields {
		value, there, err := unstructured.NestedFieldCopy(before.Object, f...)
		if err != nil || !there {
			unstructured.RemoveNestedField(after.Object, f...)
			continue
		}
		// An error means that a field above it is no map: then the server refuses the patch, too.
		_ = unstructured.SetNestedField(after.Object, value, f...)
	}
	return after
}

var kindGateway = schema.GroupKind{Group: gateway.GroupName, Kind: "Gateway"}

// waitGone waits until the pods of a Gateway that was deleted are being deleted, too.
func (n *Note) waitGone(ctx context.Context) error {
	o := n.kept.Object
	if o.GroupVersionKind().GroupKind() != kindGateway {
		return nil
	}
	runs := func(p client.Object) bool { return p.GetDeletionTimestamp() == nil }
	return wait.None(ctx, n.cluster, "end of the pods of "+n.Title, &corev1.PodList{}, runs,
		client.InNamespace(o.GetNamespace()), client.MatchingLabels{gateway.GatewayNameLabelKey: o.GetName()})
}

func (n *Note) wait(ctx context.Context, generation int64) error {
	o := n.kept.Object
	switch o.GroupVersionKind().GroupKind() {
	case appsv1.SchemeGroupVersion.WithKind("Deployment").GroupKind():
		return wait.Deployment(ctx, n.cluster, o.GetNamespace(), o.GetName(), generation)
	case kindGateway:
		_, err := wait.Gateway(ctx, n.cluster, o.GetNamespace(), o.GetName())
		return err
	}
	return nil
}

// Forget removes the note, once what it is about is undone.
func (n *Note) Forget(ctx context.Context) error {
	if err := n.cluster.Client().Delete(ctx, n.object); client.IgnoreNotFound(err) != nil {
		return n.fault("remove the note of it", err)
	}
	return nil
}

// String names cluster and object.
func (n *Note) String() string { return n.cluster.Name + ": " + n.Title }

func (n *Note) fault(what string, err error) error {
	return fmt.Errorf("%s: %s: %w", n, what, err)
}
