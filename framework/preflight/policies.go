package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	istiosecurityapi "istio.io/api/security/v1beta1"
	istionetworking "istio.io/client-go/pkg/apis/networking/v1"
	istiosecurity "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/workload"
)

// authorizationPolicies expects no policy of the root namespace that decides over the suite's
// calls: promises would look broken that are not.
func authorizationPolicies(ctx context.Context, f *mesh.Fleet, m *member, c *inspect.Cluster, namespaces []string) (string, error) {
	var all istiosecurity.AuthorizationPolicyList
	if err := listInRoot(ctx, m, c, &all, "policies"); err != nil {
		return "", err
	}
	ours := podOf(echoIn(f, ""), m.Cluster).Labels
	var found []string
	for _, p := range all.Items {
		if does := decides(&p.Spec, ours, namespaces, m.ClassOfWaypoints()); does != "" {
			found = append(found, fmt.Sprintf("AuthorizationPolicy %s/%s %s", p.Namespace, p.Name, does))
		}
	}
	if len(found) > 0 {
		return "", fmt.Errorf("%s: it selects the suite's workloads too, so promises would look broken that are not: "+
			"run `%s -n %s get authorizationpolicies`", strings.Join(found, ", "), c.Where.Kubectl, c.RootNamespace)
	}
	return "none decides over the suite's calls", nil
}

// listInRoot lists objects of the mesh's root namespace; what names them in the error. Of a kind that the
// cluster lacks it has none.
func listInRoot(ctx context.Context, m *member, c *inspect.Cluster, all client.ObjectList, what string) error {
	r, err := m.reader()
	if err != nil {
		return unknown{err}
	}
	err = r.List(ctx, all, client.InNamespace(c.RootNamespace))
	if err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		return unknown{fmt.Errorf("%s in root namespace %s cannot be read: %w", what, c.RootNamespace, err)}
	}
	return nil
}

// decides says what a policy of the root namespace does to calls of the suite; empty when nothing.
func decides(p *istiosecurityapi.AuthorizationPolicy, ours map[string]string, namespaces []string, waypointClass string) string {
	targets := p.GetTargetRefs()
	if p.GetTargetRef() != nil {
		targets = append(targets, p.GetTargetRef())
	}
	if len(targets) > 0 {
		waypoints := false
		for _, t := range targets { // a class of gateways can be named in the root namespace alone
			waypoints = waypoints || t.GetKind() == "GatewayClass" && t.GetName() == waypointClass
		}
		if !waypoints {
			return ""
		}
	}
	for k, v := range p.GetSelector().GetMatchLabels() {
		if is, has := ours[k]; !has || is != v {
			return ""
		}
	}
	rules := p.GetRules()
	switch p.GetAction() {
	case istiosecurityapi.AuthorizationPolicy_AUDIT:
		return ""
	case istiosecurityapi.AuthorizationPolicy_ALLOW:
		switch {
		case len(rules) == 0:
			return "allows nothing"
		case slices.ContainsFunc(rules, func(r *istiosecurityapi.Rule) bool { return len(r.GetFrom())+len(r.GetTo())+len(r.GetWhen()) == 0 }):
			return ""
		}
		return "allows only what it names"
	case istiosecurityapi.AuthorizationPolicy_DENY:
		if slices.ContainsFunc(rules, func(r *istiosecurityapi.Rule) bool { return reaches(r, namespaces) }) {
			return "denies calls"
		}
		return "" // without a rule it denies nothing
	}
	return "decides over calls (" + p.GetAction().String() + ")"
}

// reaches says whether a rule may match calls from the suite's namespaces. It does not if each of
// its sources names other namespaces.
func reaches(r *istiosecurityapi.Rule, namespaces []string) bool {
	return len(r.GetFrom()) == 0 || slices.ContainsFunc(r.GetFrom(), func(from *istiosecurityapi.Rule_From) bool {
		named := from.GetSource().GetNamespaces()
		return len(named) == 0 || slices.ContainsFunc(named, func(pattern string) bool {
			return slices.ContainsFunc(namespaces, func(ns string) bool { return matches(pattern, ns) })
		})
	})
}

// matches is how policies of Istio match names: exactly, by a prefix or by a suffix.
func matches(pattern, name string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(name, suffix)
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// discoverySelectors expects that istiod looks at the suite's namespaces: of others it knows nothing.
func discoverySelectors(ctx context.Context, m *member, c *inspect.Cluster, namespaces []string) (string, error) {
	const name = "discoverySelectors"
	selectors, err := setting[metav1.LabelSelector](c, name)
	if err != nil {
		return "", err
	}
	if len(selectors) == 0 {
		return "istiod looks at all namespaces", nil
	}
	r, err := m.reader()
	if err != nil {
		return "", unknown{err}
	}
	for _, ns := range namespaces {
		var has corev1.Namespace
		if err := r.Get(ctx, client.ObjectKey{Name: ns}, &has); client.IgnoreNotFound(err) != nil {
			return "", unknown{fmt.Errorf("namespace %s: %w", ns, err)}
		}
		all := labels.Merge(has.Labels, workload.Namespace(ns, "", true).Labels)
		all[corev1.LabelMetadataName] = ns
		selected := false
		for i := range selectors {
			s, err := metav1.LabelSelectorAsSelector(&selectors[i])
			if err != nil {
				return "", malformed(name, err)
			}
			selected = selected || s.Matches(all)
		}
		if !selected {
			return "", fmt.Errorf("istiod does not look at the suite's namespace %s, so promises would look broken that are not: "+
				"none of %s in its mesh configuration selects it: run `%s get namespace %s --show-labels`", ns, name, c.Where.Kubectl, ns)
		}
	}
	return "istiod looks at the suite's namespaces", nil
}

// destinationRules expects none of the root namespace that decides who answers the suite's calls.
func destinationRules(ctx context.Context, m *member, c *inspect.Cluster, namespaces []string) (string, error) {
	var all istionetworking.DestinationRuleList
	if err := listInRoot(ctx, m, c, &all, "destination rules"); err != nil {
		return "", err
	}
	for _, d := range all.Items {
		p, host := d.Spec.GetTrafficPolicy(), d.Spec.GetHost()
		ours := slices.ContainsFunc(namespaces, func(ns string) bool {
			suffix, wild := strings.CutPrefix(host, "*")
			return wild && strings.HasSuffix("echo."+ns+".svc."+c.Domain, suffix)
		})
		if ours && (p.GetOutlierDetection() != nil || p.GetLoadBalancer() != nil) {
			return "", fmt.Errorf("DestinationRule %s/%s is for %s, the suite's services, too, so promises would look broken that are not: "+
				"run `%s -n %s get destinationrules`", d.Namespace, d.Name, host, c.Where.Kubectl, c.RootNamespace)
		}
	}
	return "none decides who answers the suite's calls", nil
}
