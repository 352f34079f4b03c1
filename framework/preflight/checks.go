package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"istio.io/api/label"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/workload"
	"ambient.test/conformance/plan"
)

// checks are all checks of a fleet, in the order of the table.
func checks(f *mesh.Fleet, namespaces []string, all []*member) [][]Check {
	// every makes a check that asks each cluster for itself.
	every := func(ask asking) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return each(ctx, all, ask) }
	}
	// together makes a check that compares what the clusters say, once all are known.
	together := func(all []*member, compare func([]*inspect.Cluster) (string, error)) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			facts := make([]*inspect.Cluster, len(all))
			_, err := each(ctx, all, known(func(_ context.Context, m *member, c *inspect.Cluster) (string, error) {
				facts[slices.Index(all, m)] = c
				return "", nil
			}))
			if err != nil {
				return "", err
			}
			return compare(facts)
		}
	}
	primaries := slices.DeleteFunc(slices.Clone(all), func(m *member) bool { return !m.IsPrimary() })
	// primary makes a check that asks each cluster that has a control plane.
	primary := func(ask asking) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return each(ctx, primaries, ask) }
	}
	mend := "repair the mesh"
	if f.Provider == mesh.ProviderKind {
		mend = "run `amc up`, which repairs the mesh, or else `amc down` and `amc up`"
	}
	again := "name the right clusters: delete the fleet file and run `amc fleet init` again"
	if f.Provider == mesh.ProviderKind {
		again = "run `amc down` and `amc up` to make the fleet again"
	}
	return [][]Check{{
		{"API servers", "see whether the clusters run, and whether the kubeconfigs of the fleet file are still valid; " + again, true,
			every(func(_ context.Context, m *member) (string, error) { return m.version() })},
	}, {
		{"isolation", "run `amc up`, which proves it again; if it fails, `amc down` and `amc up`", true,
			func(context.Context) (string, error) { return isolation(f) }},
		{"control plane", mend, true, primary(func(_ context.Context, m *member) (string, error) {
			c, err := m.facts()
			if err != nil {
				return "", err
			}
			return "istiod " + c.Istio + " runs in ambient mode", controlPlane(c)
		})},
		{"Kubernetes versions", "`amc verify` accepts only reports of supported versions: see `amc matrix`", false,
			every(known(supportedKubernetes))},
		{"Istio versions", "`amc verify` accepts only reports of supported versions: see `amc matrix`", false, primary(known(supportedIstio))},
		{"cluster names", again, true, primary(known(sameName))},
		{"networks", "label each control plane with the network of its cluster, as the multi-network guide says; " + again, true,
			together(all, func(c []*inspect.Cluster) (string, error) { return networks(f, c) })},
		{"domains", "install all clusters of a mesh with the same DNS domain and trust domain; " + again, true,
			together(primaries, func(c []*inspect.Cluster) (string, error) { return domains(f, c) })},
		{"root certificates", "give every istiod a CA that was issued by the same root (secret cacerts), and restart them", true,
			together(primaries, commonRoot)},
		{"scope rules", "give every istiod a rule of scope GLOBAL for services labeled istio.io/global=true in serviceScopeConfigs, as the " +
			"ambient profile does", false, primary(known(scopeRule))},
		{"remote secrets", "run `istioctl create-remote-secret` for each cluster and apply it in all others; or " + mend, true,
			primary(known(func(_ context.Context, m *member, _ *inspect.Cluster) (string, error) { return remoteSecrets(f, m) }))},
		{"east-west gateways", "install an east-west gateway in each cluster, and name its class in the fleet file (gatewayClass) if it is " +
			"not Istio's; or " + mend, true,
			primary(known(func(_ context.Context, _ *member, c *inspect.Cluster) (string, error) { return gateways(f, c) }))},
		{"ztunnel", "see why its pods are missing or not ready; or " + mend, true, every(known(ztunnels))},
		{"mesh-wide authorization policies", "test without them, or give them a selector by labels that the suite's pods do not have", true,
			every(known(func(ctx context.Context, m *member, c *inspect.Cluster) (string, error) {
				return authorizationPolicies(ctx, f, m, c, namespaces)
			}))},
		{"discovery selectors", "label the suite's namespaces as the selectors ask before the run, which keeps labels", true,
			primary(known(func(ctx context.Context, m *member, c *inspect.Cluster) (string, error) {
				return discoverySelectors(ctx, m, c, namespaces)
			}))},
		{"mesh-wide destination rules", "test without them: outlier detection and load balancing of the whole mesh decide who answers", true,
			primary(known(func(ctx context.Context, m *member, c *inspect.Cluster) (string, error) {
				return destinationRules(ctx, m, c, namespaces)
			}))},
		{"pod security", "label the namespace pod-security.kubernetes.io/enforce=baseline, or exempt it", true,
			every(func(ctx context.Context, m *member) (string, error) { return podSecurity(ctx, f, m, namespaces) })},
		{"stand-ins", "write the fleet file again with `amc up` or `amc fleet init`, so that plan and report know them", true,
			every(known(func(_ context.Context, m *member, _ *inspect.Cluster) (string, error) { return standIns(f, m) }))},
	}}
}

// isolation expects the proof that the networks of our own clusters are apart, which every verdict
// rests on. How others part theirs is theirs to know; INST-14 looks for ways between them.
func isolation(f *mesh.Fleet) (string, error) {
	switch {
	case f.Provider != mesh.ProviderKind:
		return "the clusters are not ours, so their owner parts the networks", nil
	case f.Isolation == nil:
		return "", errors.New("that the networks are apart, and that nothing leaves the fleet, is not proven")
	case !f.Isolation.Proven:
		return "", fmt.Errorf("at %s the networks were seen not to be apart, or something left the fleet", f.Isolation.At.Format(time.DateTime))
	}
	return "proven at " + f.Isolation.At.Format(time.DateTime), nil
}

// Usable says whether the mesh of a cluster can be tested at all, with what it cannot do without:
// an ambient control plane, a network, and an east-west gateway with an address.
func Usable(c *inspect.Cluster) error {
	if c.Network == "" {
		return noNetwork(c)
	}
	if err := controlPlane(c); err != nil {
		return err
	}
	return gatewayAddress(c)
}

// controlPlane expects a running istiod of an ambient mesh that knows its cluster's name.
func controlPlane(c *inspect.Cluster) error {
	switch {
	case len(c.Revisions) == 0:
		return fmt.Errorf("no pod of istiod runs in %s: run `%s -n %s get pods`", istiod.Namespace, c.Where.Kubectl, istiod.Namespace)
	case c.Flags["PILOT_ENABLE_AMBIENT"] != "true":
		return fmt.Errorf("istiod is not set up for ambient (PILOT_ENABLE_AMBIENT is %q): install Istio with the ambient profile",
			c.Flags["PILOT_ENABLE_AMBIENT"])
	case !slices.ContainsFunc(c.Ztunnels, func(z inspect.Ztunnel) bool { return z.Running }):
		return fmt.Errorf("no ztunnel runs in %s, so the mesh is not an ambient one: install the ztunnel chart", istiod.Namespace)
	case c.Name == "":
		return errors.New("istiod has no CLUSTER_ID, so the cluster has no name in the mesh: install it with global.multiCluster.clusterName")
	}
	return nil
}

func noNetwork(c *inspect.Cluster) error {
	return fmt.Errorf("namespace %s has no label %s, which names the cluster's network: run `%s label namespace %s %s=<network>`",
		istiod.Namespace, label.TopologyNetwork.Name, c.Where.Kubectl, istiod.Namespace, label.TopologyNetwork.Name)
}

// supported are the combinations of the minor of an Istio version; nil when it is in no window.
func supported(istio string) *plan.Combination {
	v, err := behaviors.ParseVersion(istio)
	if err != nil {
		return nil
	}
	for i, s := range plan.Supported {
		if s.Istio == fmt.Sprintf("%d.%d", v.Major, v.Minor) {
			return &plan.Supported[i]
		}
	}
	return nil
}

func supportedIstio(_ context.Context, _ *member, c *inspect.Cluster) (string, error) {
	if supported(c.Istio) == nil {
		return "", fmt.Errorf("Istio %q is outside the support window: %s", c.Istio, strings.Join(plan.Minors(), ", "))
	}
	if ran := supported(c.Istio).Ran; len(ran) > 0 {
		return fmt.Sprintf("%s, on which the suite was run with Kubernetes %s", c.Istio, strings.Join(ran, ", ")), nil
	}
	return c.Istio + ", within the support window, on which the suite was not run yet", nil
}

func supportedKubernetes(_ context.Context, _ *member, c *inspect.Cluster) (string, error) {
	var all []string
	if s := supported(c.Istio); s != nil {
		all = slices.Clone(s.Kubernetes)
	} else {
		for _, s := range plan.Supported {
			all = append(all, s.Kubernetes...)
		}
	}
	major, rest, _ := strings.Cut(strings.TrimPrefix(c.Kubernetes, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	if !slices.Contains(all, major+"."+minor) {
		slices.Sort(all)
		return "", fmt.Errorf("Kubernetes %s is outside the support window of Istio %s: %s", c.Kubernetes, c.Istio,
			strings.Join(slices.Compact(all), ", "))
	}
	return c.Kubernetes, nil
}

// sameName expects the name of the fleet file, whose names are distinct.
func sameName(_ context.Context, m *member, c *inspect.Cluster) (string, error) {
	if c.Name == "" {
		return "", unknown{errors.New("istiod does not know its cluster's name")}
	}
	if c.Name != m.Name {
		return "", fmt.Errorf("istiod calls the cluster %q, the fleet file says %q", c.Name, m.Name)
	}
	return "as in the fleet file", nil
}

// networks expects the networks of the fleet file, and no two clusters on the same one. In a fleet
// of ours a missing label only warns: a spec removes it for a while, and the next run puts it back
// if that spec was killed.
func networks(f *mesh.Fleet, all []*inspect.Cluster) (string, error) {
	var faults, open []error
	on := map[string]string{}
	for i, c := range all {
		expected := f.Clusters[i].Network
		switch other, twice := on[c.Network]; {
		case c.Network == "" && f.Provider == mesh.ProviderKind:
			open = append(open, fmt.Errorf("%s: %w; the next `amc run` does that", c.Where.Name, noNetwork(c)))
		case c.Network == "":
			faults = append(faults, fmt.Errorf("%s: %w", c.Where.Name, noNetwork(c)))
		case c.Network != expected:
			faults = append(faults, fmt.Errorf("%s: it is on network %q, the fleet file says %q", c.Where.Name, c.Network, expected))
		case twice && f.Provider != mesh.ProviderKind: // a fleet of ours has the networks that were asked for
			faults = append(faults, fmt.Errorf("%s and %s are on the same network %q", other, c.Where.Name, c.Network))
		}
		on[c.Network] = c.Where.Name
	}
	switch {
	case len(faults) > 0:
		return "", sentence(append(faults, open...))
	case len(open) > 0:
		return "", unknown{sentence(open)}
	}
	return strings.Join(slices.Sorted(maps.Keys(on)), ", "), nil
}

// domains expects the DNS domain and the trust domain of the fleet file in every cluster.
func domains(f *mesh.Fleet, all []*inspect.Cluster) (string, error) {
	var faults []error
	for _, kind := range []struct {
		what, expected string
		of             func(*inspect.Cluster) string
	}{
		{"DNS domain", f.Domain, func(c *inspect.Cluster) string { return c.Domain }},
		{"trust domain", f.TrustDomain, func(c *inspect.Cluster) string { return c.TrustDomain }},
	} {
		if kind.expected == "" {
			kind.expected = inspect.DefaultDomain
		}
		for _, c := range all {
			if is := kind.of(c); is != kind.expected {
				faults = append(faults, fmt.Errorf("%s: its %s is %q, the fleet file says %q", c.Where.Name, kind.what, is, kind.expected))
			}
		}
	}
	if len(faults) > 0 {
		return "", sentence(faults)
	}
	return fmt.Sprintf("DNS domain %s, trust domain %s", all[0].Domain, all[0].TrustDomain), nil
}

// setting is a list in the mesh configuration of a cluster.
func setting[X any](c *inspect.Cluster, name string) (all []X, err error) {
	b, err := json.Marshal(c.MeshConfig[name])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, malformed(name, err)
	}
	return all, nil
}

func malformed(setting string, err error) error {
	return fmt.Errorf("%s of its mesh configuration are malformed: %w", setting, err)
}

// scopeRule expects a rule by which the label istio.io/global=true makes a service global in any
// namespace: istiod has none of its own.
func scopeRule(_ context.Context, _ *member, c *inspect.Cluster) (string, error) {
	rules, err := setting[istiod.ScopeRule](c, istiod.ScopeRules)
	if err != nil {
		return "", err
	}
	for _, r := range rules {
		if r.Namespaces != nil || r.Scope != istiod.GlobalScope {
			continue
		}
		labeled, err := metav1.LabelSelectorAsSelector(r.Services)
		if err != nil {
			return "", malformed(istiod.ScopeRules, err)
		}
		if r.Services == nil || labeled.Matches(labels.Set{workload.LabelGlobal: "true"}) {
			return "services labeled " + workload.LabelGlobal + "=true are global", nil
		}
	}
	return "", fmt.Errorf("no rule of its mesh configuration makes services labeled %s=true global, so they are local", workload.LabelGlobal)
}

// commonRoot expects one root certificate that every istiod distributes.
func commonRoot(all []*inspect.Cluster) (string, error) {
	common := slices.Clone(all[0].Roots)
	for _, c := range all {
		if len(c.Roots) == 0 {
			return "", unknown{fmt.Errorf("%s: ConfigMap istio-ca-root-cert in %s is missing, cannot be read, "+
				"or holds no certificate: run `%s -n %s get configmaps`",
				c.Where.Name, istiod.Namespace, c.Where.Kubectl, istiod.Namespace)}
		}
		common = slices.DeleteFunc(common, func(r string) bool { return !slices.Contains(c.Roots, r) })
	}
	if len(common) > 0 {
		return "common root, SHA-256 " + common[0][:16], nil
	}
	var roots []string
	for _, c := range all {
		roots = append(roots, c.Where.Name+" has "+c.Roots[0][:16])
	}
	return "", fmt.Errorf("the clusters trust no common root certificate, so they refuse each other's: %s", strings.Join(roots, ", "))
}

// remoteSecrets expects every istiod of the cluster to have read all clusters of the fleet.
func remoteSecrets(f *mesh.Fleet, m *member) (string, error) {
	rows, err := m.remotes()
	if err != nil {
		return "", unknown{err}
	}
	names := f.Names()
	if bad := istiod.Unsynced(rows, names); len(bad) > 0 {
		return "", fmt.Errorf("%s: run `istioctl remote-clusters` there", strings.Join(bad, ", "))
	}
	return "every istiod has read " + strings.Join(names, ", "), nil
}

func gatewayAddress(c *inspect.Cluster) error {
	switch {
	case !c.HasGatewayAPI:
		return fmt.Errorf("the cluster has no Gateway API: install its CRDs and an east-west gateway (class %s)", c.GatewayClass)
	case len(c.Gateways) == 0:
		return fmt.Errorf("there is no east-west gateway (class %s), so other networks cannot reach the cluster: "+
			"install one as the multi-network guide says",
			c.GatewayClass)
	case len(c.GatewayAddresses()) == 0:
		return fmt.Errorf("the east-west gateway has no address yet: run `%s get gateways -A` and see whether the load balancer works",
			c.Where.Kubectl)
	}
	return nil
}

// gateways expects an east-west gateway that is programmed and has an address.
func gateways(f *mesh.Fleet, c *inspect.Cluster) (string, error) {
	if f.OneNetwork() && len(c.Gateways) == 0 {
		return "none is needed on one network", nil
	}
	if err := gatewayAddress(c); err != nil {
		return "", err
	}
	var serving, not []string
	for _, g := range c.Gateways {
		name := g.Namespace + "/" + g.Name
		if g.Programmed && len(g.Addresses) > 0 {
			serving = append(serving, name+" at "+strings.Join(g.Addresses, " "))
		} else {
			not = append(not, fmt.Sprintf("gateway %s is not programmed (%s)", name, g.Why))
		}
	}
	if len(serving) == 0 {
		return "", fmt.Errorf("%s: run `%s get gateways -A -o yaml`", strings.Join(not, ", "), c.Where.Kubectl)
	}
	return strings.Join(append(serving, not...), ", "), nil
}

// ztunnels expects a ready ztunnel on every Linux node that a pod of the suite may be placed on, and
// all on the network that the fleet file says. That of the cluster's label is the check of networks.
func ztunnels(_ context.Context, m *member, c *inspect.Cluster) (string, error) {
	ready := map[string]bool{}
	for _, z := range c.Ztunnels {
		ready[z.Node] = ready[z.Node] || z.Ready
	}
	var without []string
	n := 0
	for _, node := range c.Nodes {
		if !node.Schedulable || node.OS != "" && node.OS != string(corev1.Linux) {
			continue
		}
		if n++; !ready[node.Name] {
			without = append(without, node.Name)
		}
	}
	switch {
	case n == 0:
		return "", fmt.Errorf("no node is ready to take pods: run `%s get nodes`", c.Where.Kubectl)
	case len(without) > 0:
		return "", fmt.Errorf("no ready ztunnel on %s: run `%s -n %s get pods -l app=ztunnel -o wide`",
			strings.Join(without, ", "), c.Where.Kubectl, istiod.Namespace)
	}
	for _, z := range c.Ztunnels {
		if z.Ready && z.Network != m.Network {
			return "", fmt.Errorf("ztunnel on %s is on network %q, its cluster on %q, so it passes waypoints by and cannot call other networks: "+
				"install its chart with global.network=%s", z.Node, z.Network, m.Network, m.Network)
		}
	}
	return "ready on every node, on the cluster's network", nil
}

// podSecurity expects the suite's namespaces, where they exist, to admit the suite's pods. It
// judges the very pod that the suite deploys by the rules of Kubernetes' own admission.
func podSecurity(ctx context.Context, f *mesh.Fleet, m *member, namespaces []string) (string, error) {
	r, err := m.reader()
	if err != nil {
		return "", unknown{err}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return "", err
	}
	var seen []string
	for _, name := range namespaces {
		var ns corev1.Namespace
		switch err := r.Get(ctx, client.ObjectKey{Name: name}, &ns); {
		case apierrors.IsNotFound(err):
			continue // the run makes it, without labels of PodSecurity
		case err != nil:
			return "", unknown{fmt.Errorf("namespace %s: %w", name, err)}
		}
		p, errs := api.PolicyToEvaluate(ns.Labels, api.Policy{Enforce: api.LevelVersion{Level: api.LevelPrivileged,
			Version: api.LatestVersion()}})
		if err := errs.ToAggregate(); err != nil {
			return "", fmt.Errorf("namespace %s: labels of PodSecurity: %w", name, err)
		}
		seen = append(seen, name+" enforces "+string(p.Enforce.Level))
		pod := podOf(echoIn(f, name), m.Cluster)
		if refused := policy.AggregateCheckResults(evaluator.EvaluatePod(p.Enforce, &pod.ObjectMeta, &pod.Spec)); !refused.Allowed {
			return "", fmt.Errorf("namespace %s enforces PodSecurity %q, which refuses the suite's pods: %s: "+
				"run `%s get namespace %s --show-labels`",
				name, p.Enforce.Level, refused.ForbiddenDetail(), m.Kubectl(), name)
		}
	}
	if len(seen) == 0 {
		return "the namespaces do not exist yet", nil
	}
	return strings.Join(seen, ", "), nil
}

func echoIn(f *mesh.Fleet, namespace string) workload.Echo {
	return workload.Echo{Namespace: namespace, Name: "echo", Image: f.Images["app"].Ref, Replicas: 1}
}

// podOf is the pod template of the echo application.
func podOf(e workload.Echo, c *mesh.Cluster) corev1.PodTemplateSpec {
	for _, o := range e.Objects(c) {
		if d, is := o.(*appsv1.Deployment); is {
			return d.Spec.Template
		}
	}
	return corev1.PodTemplateSpec{}
}

// standIns expects the fleet file to name every stand-in: a plan and a report that rest on it would
// otherwise take the stand-in for Istio's own component.
func standIns(f *mesh.Fleet, m *member) (string, error) {
	found, err := m.standIns()
	if err != nil {
		return "", err
	}
	var declared []string
	for _, s := range found {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(f.Images)), func(key string) bool {
			return (key == s.Part || strings.HasPrefix(key, s.Part+"@")) && f.Images[key].StandIn != ""
		}) {
			return "", fmt.Errorf("%s is a stand-in (%s), and the fleet file %s does not say so", s.Part, s.What, f.Path())
		}
		if !slices.Contains(declared, s.Part) {
			declared = append(declared, s.Part)
		}
	}
	if len(declared) == 0 {
		return "none", nil
	}
	return "declared in the fleet file: " + strings.Join(declared, ", "), nil
}
