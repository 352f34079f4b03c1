package existing

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"ambient.test/conformance/framework/apply"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
)

// Account is the ServiceAccount that the rights are given to, in namespace Account.
const Account = "amc"

// Rights says for what they are to be enough.
type Rights struct {
	// Namespaces that the suite works in.
	Namespaces []string
	// GatewayNamespace is that of the east-west gateways; default istio-system.
	GatewayNamespace string
	// MeshAdmin adds what specs need that change istio-system.
	MeshAdmin bool
}

// Grant is an object to apply, with the reason for each of its rules.
type Grant struct {
	client.Object
	Why []string
}

// right is a rule with its reason.
type right struct {
	why       string
	group     string
	resources string // separated by blanks
	verbs     string
	names     []string
}

const (
	see   = "get list watch"                     // get and watch show nothing that list does not
	write = "get list watch create patch delete" // server-side apply is a patch, which creates what is not there
)

func rules(rights []right) (rules []rbacv1.PolicyRule, whys []string) {
	for _, r := range rights {
		rules = append(rules, rbacv1.PolicyRule{
			APIGroups: []string{r.group}, Resources: strings.Fields(r.resources),
			Verbs: strings.Fields(r.verbs), ResourceNames: r.names,
		})
		whys = append(whys, r.why)
	}
	return rules, whys
}

// RBAC returns the least rights that the suite's ServiceAccount needs on clusters that the suite
// did not create. Specs were seen to use each right, with an account that has no others.
//
// Kubernetes RBAC cannot restrict the creation of namespaces to names, nor roles to a prefix of
// namespaces. So the suite gets no right to create namespaces. The namespaces that it works in are
// part of the list, and whoever applies the list creates them. All rights to write are roles in
// these namespaces, so the suite can change nothing outside of them; specs that would change
// istio-system are skipped. Deleting the objects of the list removes everything again.
func RBAC(o Rights) []Grant {
	if o.GatewayNamespace == "" {
		o.GatewayNamespace = istiod.Namespace
	}
	account := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: Account, Name: Account}}
	namespace := func(name string) Grant {
		return Grant{Object: &corev1.Namespace{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name},
		}}
	}
	known := append([]string{istiod.Namespace, metav1.NamespaceSystem}, o.Namespaces...)
	labeled := o.Namespaces
	if o.MeshAdmin {
		labeled = append([]string{istiod.Namespace}, labeled...)
	}
	everywhere, why := rules([]right{
		{"networks are labels of namespaces; the uid of kube-system tells clusters apart", "", "namespaces", "get", known},
		{"regions, zones, versions and images of nodes; addresses that must not answer from other networks", "", "nodes", "list", nil},
		{"the gateways' pods, whatever their namespace", "", "pods", "list", nil},
		{"the gateways and their addresses", "gateway.networking.k8s.io", "gateways", "list", nil},
		{
			"whether the clusters give their services the same addresses", "networking.k8s.io", "servicecidrs", "get",
			[]string{inspect.ServiceCIDRName},
		},
		{
			"version and channel of the Gateway API, for the report", "apiextensions.k8s.io", "customresourcedefinitions", "get",
			[]string{"gateways.gateway.networking.k8s.io"},
		},
		{"labels of its own namespaces", "", "namespaces", "patch", labeled},
	})
	all := []Grant{
		namespace(Account),
		{Object: &corev1.ServiceAccount{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: metav1.ObjectMeta{Namespace: Account, Name: Account},
		}},
		{&rbacv1.ClusterRole{TypeMeta: kindOf("ClusterRole"), ObjectMeta: metav1.ObjectMeta{Name: Account}, Rules: everywhere}, why},
		{Object: &rbacv1.ClusterRoleBinding{
			TypeMeta: kindOf("ClusterRoleBinding"), ObjectMeta: metav1.ObjectMeta{Name: Account},
			RoleRef: roleRef("ClusterRole"), Subjects: account,
		}},
	}
	role := func(namespace string, rights ...right) {
		r, why := rules(rights)
		named := metav1.ObjectMeta{Namespace: namespace, Name: Account}
		all = append(all,
			Grant{&rbacv1.Role{TypeMeta: kindOf("Role"), ObjectMeta: named, Rules: r}, why},
			Grant{Object: &rbacv1.RoleBinding{
				TypeMeta: kindOf("RoleBinding"), ObjectMeta: named, RoleRef: roleRef("Role"), Subjects: account,
			}})
	}
	// A request to a pod goes through the API server to a port on the pod's loopback. There is no
	// right to read Secrets: neither the key of the mesh's CA nor credentials of other clusters.
	ports := func(why string) right { return right{why, "", "pods/portforward", "create", nil} }
	stuck := right{
		"why a pod does not start, and what its containers logged when a promise is seen broken",
		"", "pods pods/log events", see, nil,
	}
	services := right{"the Services that have the gateways' addresses, and those of istiod; evidence", "", "services", "list", nil}
	endpoints := right{"the pods behind the gateways' addresses", "discovery.k8s.io", "endpointslices", "list", nil}
	system := []right{
		ports("istiod's and the proxies' own ports: versions, remote clusters, certificates for the suite's ServiceAccounts, " +
			"counters, HBONE calls by hand"),
		stuck,
		services,
		{"the mesh configuration and its root certificate", "", "configmaps", "get", nil},
		{"evidence: how the mesh is installed; istiod's flags", "apps", "deployments daemonsets", "list", nil},
		{
			"preflight and evidence: policies of the whole mesh",
			"security.istio.io", "authorizationpolicies peerauthentications", "list", nil,
		},
		{"evidence: traffic settings of the whole mesh", "networking.istio.io", "destinationrules", "list", nil},
		{"evidence: telemetry settings of the whole mesh", "telemetry.istio.io", "telemetries", "list", nil},
	}
	if o.MeshAdmin {
		system = append(system,
			right{"restarting istiod while calls run", "apps", "deployments", "get list watch patch", nil},
			right{"rules of the mesh configuration for services of the suite, until the end of a spec", "", "configmaps", "patch", nil},
			right{"policies on the class of waypoints, until the end of a spec", "security.istio.io", "authorizationpolicies", write, nil})
	}
	if o.GatewayNamespace == istiod.Namespace {
		system = append(system, endpoints)
	} else {
		role(o.GatewayNamespace, ports("the gateways' own port: HBONE calls by hand"), stuck, services, endpoints)
	}
	role(istiod.Namespace, system...)
	for _, ns := range o.Namespaces {
		all = append(all, namespace(ns))
		own := []right{
			ports("driving the clients"),
			stuck,
			{"readiness gates of the specs' own pods", "", "pods/status", "patch", nil},
			{"waypoints of the specs' own that are killed", "", "pods", "delete", nil},
			{"certificates of the mesh in the name of the suite's own ServiceAccounts", "", "serviceaccounts/token", "create", nil},
			{"the mesh's root certificate", "", "configmaps", "get", nil},
			{"notes of how to put back what a spec changes, should the run be killed", "", "configmaps", "list create delete", nil},
		}
		for _, k := range apply.Kinds {
			i := slices.IndexFunc(own, func(r right) bool { return r.group == k.Group && r.verbs == write })
			if i < 0 {
				own, i = append(own, right{"what specs make, and remove again", k.Group, "", write, nil}), len(own)
			}
			own[i].resources += " " + k.Resource
		}
		role(ns, own...)
	}
	return all
}

func kindOf(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}

func roleRef(kind string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: Account}
}

// YAML is the grants as `kubectl apply -f -` takes them, each rule below its reason.
func YAML(grants []Grant) ([]byte, error) {
	var b bytes.Buffer
	for _, g := range grants {
		y, err := yaml.Marshal(g.Object)
		if err != nil {
			return nil, fmt.Errorf("%T %s: %w", g.Object, client.ObjectKeyFromObject(g.Object), err)
		}
		b.WriteString("---\n")
		why := g.Why
		for line := range strings.Lines(string(y)) {
			switch {
			case strings.Contains(line, "creationTimestamp: null"), line == "status: {}\n", line == "spec: {}\n":
				continue
			case strings.HasPrefix(line, "- apiGroups:") && len(why) > 0:
				fmt.Fprintf(&b, "# %s\n", why[0])
				why = why[1:]
			}
			b.WriteString(line)
		}
	}
	return b.Bytes(), nil
}
