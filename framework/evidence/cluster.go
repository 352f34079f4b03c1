package evidence

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/ztunnel"
)

// Kinds that are read in addition to those that specs write.
var (
	pods         = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	controlPlane = []schema.GroupVersionResource{
		pods,
		{Version: "v1", Resource: "services"},
		{Group: "apps", Version: "v1", Resource: "daemonsets"},
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
		{Group: "security.istio.io", Version: "v1", Resource: "authorizationpolicies"},
		{Group: "security.istio.io", Version: "v1", Resource: "peerauthentications"},
		{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"},
		{Group: "telemetry.istio.io", Version: "v1", Resource: "telemetries"},
	}
)

const (
	istiodPods = "app=istiod"
	maxPods    = 40   // of one namespace whose logs are read
	logLines   = 2000 // the last ones of each container
)

// read asks one cluster for all evidence.
func read(ctx context.Context, c *mesh.Cluster, x Case, ask ask) {
	file := func(name string) string { return path.Join(c.Name, name) }
	if err := c.Connect(); err != nil {
		ask(file("all"), func(context.Context) ([]byte, error) { return nil, err })
		return
	}
	for _, ns := range x.Namespaces {
		ask(file(ns+".objects.yaml"), func(ctx context.Context) ([]byte, error) {
			return objects(ctx, c, ns, append([]schema.GroupVersionResource{pods}, apply.Kinds...))
		})
		ask(file(ns+".events.txt"), func(ctx context.Context) ([]byte, error) { return events(ctx, c, ns, x.Since) })
	}
	ask(file(istiod.Namespace+".objects.yaml"), func(ctx context.Context) ([]byte,
		error) {
		return objects(ctx, c, istiod.Namespace, controlPlane)
	})
	ask(file(istiod.Namespace+".events.txt"), func(ctx context.Context) ([]byte, error) { return events(ctx, c, istiod.Namespace, x.Since) })
	for _, endpoint := range []string{"syncz", "endpointz", "ambientz"} {
		ask(file("istiod-"+endpoint+".json"), func(ctx context.Context) ([]byte, error) { return istiod.Debug(ctx, c, endpoint) })
	}
	for _, ns := range x.Namespaces {
		logs(ctx, c, ns, "", x.Since, file, ask)
	}
	logs(ctx, c, istiod.Namespace, istiodPods, x.Since, file, ask)
	logs(ctx, c, metav1.NamespaceAll, gateway.GatewayClassNameLabelKey+"="+c.EastWestClass(), x.Since, file, ask)
	for _, p := range logs(ctx, c, ztunnel.Namespace, ztunnel.Selector, x.Since, file, ask) {
		ask(file(p.Name+".config_dump.json"), func(ctx context.Context) (dump []byte, err error) {
			err = ztunnel.Dump(ctx, c, p.Name, func(r io.Reader) error {
				dump, err = io.ReadAll(io.LimitReader(r, 4*maxFile))
				return err
			})
			return dump, err
		})
	}
}

// objects returns the namespace and all objects of the kinds in it, as YAML documents.
func objects(ctx context.Context, c *mesh.Cluster, namespace string, kinds []schema.GroupVersionResource) ([]byte, error) {
	var b bytes.Buffer
	var failed []error
	write := func(o *unstructured.Unstructured) {
		unstructured.RemoveNestedField(o.Object, "metadata", "managedFields")
		y, err := yaml.Marshal(o.Object)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", apply.Title(o), err))
			return
		}
		b.WriteString("---\n")
		b.Write(y)
	}
	if ns, err := c.Dynamic().Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, namespace,
		metav1.GetOptions{}); err == nil {
		write(ns)
	} else {
		failed = append(failed, fmt.Errorf("namespace %s: %w", namespace, err))
	}
	for _, k := range kinds {
		list, err := c.Dynamic().Resource(k).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) { // the cluster does not have this kind
			continue
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", k.Resource, err))
			continue
		}
		for i := range list.Items {
			write(&list.Items[i])
		}
	}
	return b.Bytes(), errors.Join(failed...)
}

// events returns the events of a namespace since a time, oldest first, one line each.
func events(ctx context.Context, c *mesh.Cluster, namespace string, since time.Time) ([]byte, error) {
	list, err := c.Kube().CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	last := func(e corev1.Event) time.Time {
		return slices.MaxFunc([]time.Time{e.EventTime.Time, e.LastTimestamp.Time, e.CreationTimestamp.Time}, time.Time.Compare)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return last(a).Compare(last(b)) })
	var b bytes.Buffer
	for _, e := range list.Items {
		if at := last(e); !at.Before(since.Truncate(time.Second)) { // events have seconds
			o := e.InvolvedObject
			fmt.Fprintf(&b, "%s %-7s %s %s/%s: %s\n", at.UTC().Format(time.RFC3339), e.Type, e.Reason, o.Kind, o.Name, e.Message)
		}
	}
	return b.Bytes(), nil
}

// logs asks for the logs of the selected pods since a time, and returns the pods.
func logs(ctx context.Context, c *mesh.Cluster, namespace, selector string, since time.Time, file func(string) string,
	ask ask) []corev1.Pod {
	list, err := c.Kube().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		ask(file("logs of "+cmp.Or(selector, namespace)), func(context.Context) ([]byte, error) { return nil, err })
		return nil
	}
	if len(list.Items) == 0 && selector != "" { // worth knowing: a part of the mesh is not there
		ask(file("logs of "+selector), func(context.Context) ([]byte, error) { return nil, errors.New("there is no such pod") })
	}
	lines, most, from := int64(logLines), int64(maxFile), metav1.NewTime(since)
	for i, p := range list.Items {
		if i == maxPods {
			ask(file("logs of "+cmp.Or(selector, namespace)), func(context.Context) ([]byte, error) {
				return nil, fmt.Errorf("of %d pods only those of the first %d are kept", len(list.Items), maxPods)
			})
			break
		}
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.State.Waiting != nil && s.RestartCount == 0 {
				continue // it has not begun; its events say why
			}
			read := func(previous bool) func(context.Context) ([]byte, error) {
				return func(ctx context.Context) ([]byte, error) {
					r, err := c.Kube().CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{
						Container: s.Name, SinceTime: &from, TailLines: &lines, LimitBytes: &most, Timestamps: true, Previous: previous}).Stream(ctx)
					if err != nil {
						return nil, err
					}
					defer r.Close()
					return io.ReadAll(io.LimitReader(r, most))
				}
			}
			name := "logs/" + p.Namespace + "/" + p.Name + "." + s.Name
			ask(file(name+".log"), read(false))
			if t := s.LastTerminationState.Terminated; t != nil && t.FinishedAt.After(since) {
				ask(file(name+".before-restart.log"), read(true))
			}
		}
	}
	return list.Items
}
