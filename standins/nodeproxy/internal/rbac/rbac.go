// Package rbac evaluates istiod's L4 authorization policies.
package rbac

import (
	"net/netip"
	"slices"
	"strings"

	"istio.io/istio/pkg/workloadapi/security"
)

// Connection is what policies speak about. DstPort is the port the workload serves, never 15008.
type Connection struct {
	Identity string // SPIFFE id of the TLS peer; "" for plaintext
	Src      netip.Addr
	Dst      netip.AddrPort
}

// Verdict says what was decided and by which policy.
type Verdict struct {
	Allowed bool
	Policy  string // namespace/name of the policy that decided; "" when none matched
	Reason  string // for a refusal, in ztunnel's words
}

// Evaluate applies policies to a connection: any DENY match denies; without ALLOW policies all is
// allowed; otherwise one must match. A dry-run policy decides nothing; log hears what it would have
// said.
func Evaluate(policies []*security.Authorization, c Connection, log func(policy string, would Verdict)) Verdict {
	allows := false
	var allowed *security.Authorization
	for _, p := range policies {
		name := p.Namespace + "/" + p.Name
		if p.DryRun {
			if log != nil && matches(p, c) {
				log(name, Verdict{Allowed: p.Action == security.Action_ALLOW, Policy: name})
			}
			continue
		}
		if p.Action == security.Action_DENY {
			if matches(p, c) {
				return Verdict{Policy: name, Reason: "explicitly denied by: " + name}
			}
			continue
		}
		allows = true
		if allowed == nil && matches(p, c) {
			allowed = p
		}
	}
	switch {
	case allowed != nil:
		return Verdict{Allowed: true, Policy: allowed.Namespace + "/" + allowed.Name}
	case allows:
		return Verdict{Reason: "allow policies exist, but none allowed"}
	}
	return Verdict{Allowed: true}
}

// matches: any group (rule) all of whose clauses have a match. No groups never match; a clause
// without matches is true.
func matches(p *security.Authorization, c Connection) bool {
	return slices.ContainsFunc(p.Groups, func(g *security.Group) bool {
		for _, clause := range g.Rules {
			if len(clause.Matches) > 0 && !slices.ContainsFunc(clause.Matches, func(m *security.Match) bool { return match(m, c) }) {
				return false
			}
		}
		return true
	})
}

// match is AND over the fields that are set, OR within one; a match with no field set is false.
func match(m *security.Match, c Connection) bool {
	namespace, account := who(c.Identity)
	set := false
	ok := func(present int, hit func() bool, want bool) bool {
		if present == 0 {
			return true
		}
		set = true
		return hit() == want
	}
	str := func(list []*security.StringMatch, v string, have bool) func() bool {
		return func() bool {
			return slices.ContainsFunc(list, func(s *security.StringMatch) bool { return have && stringMatch(s, v) })
		}
	}
	sas := func(list []*security.ServiceAccountMatch) func() bool {
		return func() bool {
			return slices.ContainsFunc(list, func(s *security.ServiceAccountMatch) bool {
				return c.Identity != "" && s.Namespace == namespace && s.ServiceAccount == account
			})
		}
	}
	cidr := func(list []*security.Address, ip netip.Addr) func() bool {
		return func() bool { return slices.ContainsFunc(list, func(a *security.Address) bool { return inside(a, ip) }) }
	}
	ports := func(list []uint32) func() bool {
		return func() bool { return slices.Contains(list, uint32(c.Dst.Port())) }
	}
	principal := strings.TrimPrefix(c.Identity, "spiffe://")
	known := c.Identity != ""
	all := ok(len(m.Namespaces), str(m.Namespaces, namespace, known), true) &&
		ok(len(m.NotNamespaces), str(m.NotNamespaces, namespace, known), false) &&
		ok(len(m.ServiceAccounts), sas(m.ServiceAccounts), true) &&
		ok(len(m.NotServiceAccounts), sas(m.NotServiceAccounts), false) &&
		ok(len(m.Principals), str(m.Principals, principal, known), true) &&
		ok(len(m.NotPrincipals), str(m.NotPrincipals, principal, known), false) &&
		ok(len(m.SourceIps), cidr(m.SourceIps, c.Src), true) &&
		ok(len(m.NotSourceIps), cidr(m.NotSourceIps, c.Src), false) &&
		ok(len(m.DestinationIps), cidr(m.DestinationIps, c.Dst.Addr()), true) &&
		ok(len(m.NotDestinationIps), cidr(m.NotDestinationIps, c.Dst.Addr()), false) &&
		ok(len(m.DestinationPorts), ports(m.DestinationPorts), true) &&
		ok(len(m.NotDestinationPorts), ports(m.NotDestinationPorts), false)
	return all && set
}

func who(identity string) (namespace, account string) {
	p := strings.Split(strings.TrimPrefix(identity, "spiffe://"), "/")
	if len(p) != 5 {
		return "", ""
	}
	return p[2], p[4]
}

func stringMatch(s *security.StringMatch, v string) bool {
	switch m := s.MatchType.(type) {
	case *security.StringMatch_Exact:
		return v == m.Exact
	case *security.StringMatch_Prefix:
		return strings.HasPrefix(v, m.Prefix)
	case *security.StringMatch_Suffix:
		return strings.HasSuffix(v, m.Suffix)
	case *security.StringMatch_Presence:
		return v != ""
	}
	return false
}

func inside(a *security.Address, ip netip.Addr) bool {
	net, ok := netip.AddrFromSlice(a.Address)
	if !ok {
		return false
	}
	p, err := net.Unmap().Prefix(int(a.Length))
	return err == nil && p.Contains(ip.Unmap())
}
