// Package dns answers a pod's DNS queries for services istiod knows and forwards the others.
package dns

import "strings"

// candidate is a hostname a query may mean.
type candidate struct {
	host     string
	stripped string // the name the host was found by, when a search domain was taken off the query; else ""
	wildcard bool
}

// candidates lists, in order, what a pod of namespace in a cluster of domain may mean by name
// (lower case, no trailing dot): the name itself, the name completed as Kubernetes' search list
// would, then the same with a search domain taken off again (an external name that the resolver
// completed). After each name come the wildcards that cover it.
func candidates(name, namespace, domain string) []candidate {
	var out []candidate
	seen := map[string]bool{}
	add := func(host, stripped string) {
		if host == "" || seen[host] {
			return
		}
		seen[host] = true
		out = append(out, candidate{host: host, stripped: stripped})
		for rest := host; ; {
			_, tail, ok := strings.Cut(rest, ".")
			if !ok || tail == "" {
				break
			}
			rest = tail
			if w := "*." + rest; !seen[w] {
				seen[w] = true
				out = append(out, candidate{host: w, wildcard: true})
			}
		}
	}
	expand := func(n, stripped string) {
		add(n, stripped)
		for _, e := range expansions(n, namespace, domain) {
			add(e, stripped)
		}
	}
	expand(name, "")
	for _, suffix := range []string{namespace + ".svc." + domain, "svc." + domain, domain} {
		if s, ok := strings.CutSuffix(name, "."+suffix); ok && s != "" {
			expand(s, s)
		}
	}
	return out
}

func expansions(n, namespace, domain string) []string {
	labels := strings.Split(n, ".")
	inNamespace, inCluster, inDomain := n+"."+namespace+".svc."+domain, n+".svc."+domain, n+"."+domain
	switch len(labels) {
	case 1:
		return []string{inNamespace}
	case 2:
		return []string{inCluster, inNamespace}
	case 3, 4:
		if labels[len(labels)-1] == "svc" {
			return []string{inDomain}
		}
		return []string{inCluster}
	}
	return nil
}
