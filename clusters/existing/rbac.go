package existing

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/istiod"
)

// Account is the ServiceAccount that the rights are given to, in namespace Account.
const Account = "amc"

var (
	read  = []string{"get", "list", "watch"}
	write = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
)

// RBAC is the least that the suite needs on clusters which are not its own, for a ServiceAccount of its own.
//
// RBAC cannot restrict the creation of namespaces to names, nor roles to a prefix of namespaces. So the suite gets no right to create any: the
// namespaces that it works in are part of the list, made by whoever applies it, and all its rights to write are roles in them. Nothing outside of them can be changed:
// what would change istio-system is skipped. Deleting the objects of the list takes everything away again.
func RBAC(namespaces ...string) []client.Object {
	account := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: Account, Name: Account}}
	all := []client.Object{
		&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: Account}},
		&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Namespace: Account, Name: Account}},
		&rbacv1.ClusterRole{TypeMeta: kindOf("ClusterRole"), ObjectMeta: metav1.ObjectMeta{Name: Account}, Rules: []rbacv1.PolicyRule{
			// To know the topology, find the gateways, whatever namespace they are in, and see what is left behind.
			{APIGroups: []string{""}, Resources: []string{"nodes", "namespaces", "pods"}, Verbs: read},
			{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{"gateways", "gatewayclasses"}, Verbs: read},
			{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: read},
			// To label its own namespaces.
			{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: namespaces, Verbs: []string{"patch", "update"}},
		}},
		&rbacv1.ClusterRoleBinding{TypeMeta: kindOf("ClusterRoleBinding"), ObjectMeta: metav1.ObjectMeta{Name: Account}, RoleRef: roleRef("ClusterRole"), Subjects: account},
	}
	role := func(namespace string, rules []rbacv1.PolicyRule) {
		all = append(all,
			&rbacv1.Role{TypeMeta: kindOf("Role"), ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Account}, Rules: rules},
			&rbacv1.RoleBinding{TypeMeta: kindOf("RoleBinding"), ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Account}, RoleRef: roleRef("Role"), Subjects: account})
	}
	// Evidence, never the verdict: versions, settings, metrics and logs of the mesh's parts. No Secrets.
	role(istiod.Namespace, []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "pods/log", "services", "configmaps", "events"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments", "daemonsets", "replicasets"}, Verbs: read},
		{APIGroups: []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io"}, Resources: []string{"*"}, Verbs: read},
	})
	for _, ns := range namespaces {
		all = append(all, &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: ns}})
		role(ns, []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "services", "serviceaccounts", "configmaps", "endpoints"}, Verbs: write},
			{APIGroups: []string{""}, Resources: []string{"pods/log", "events"}, Verbs: read},
			{APIGroups: []string{""}, Resources: []string{"pods/portforward", "serviceaccounts/token"}, Verbs: []string{"create"}},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments", "deployments/scale", "replicasets", "statefulsets", "daemonsets"}, Verbs: write},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: write},
			{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{"gateways", "httproutes", "grpcroutes", "tcproutes", "tlsroutes", "referencegrants", "backendtlspolicies"}, Verbs: write},
			{APIGroups: []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"}, Resources: []string{"*"}, Verbs: write},
		})
	}
	return all
}

func kindOf(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}

func roleRef(kind string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: Account}
}

// YAML is the objects as `kubectl apply -f -` takes them.
func YAML(objects []client.Object) ([]byte, error) {
	var b bytes.Buffer
	for _, o := range objects {
		y, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("%T %s: %w", o, client.ObjectKeyFromObject(o), err)
		}
		b.WriteString("---\n")
		b.Write(bytes.ReplaceAll(y, []byte("  creationTimestamp: null\n"), nil))
	}
	return b.Bytes(), nil
}
