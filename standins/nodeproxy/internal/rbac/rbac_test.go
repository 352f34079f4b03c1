package rbac

import (
	"net/netip"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"
	"istio.io/istio/pkg/workloadapi/security"
)

func exact(s string) []*security.StringMatch {
	return []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: s}}}
}

func present() []*security.StringMatch {
	return []*security.StringMatch{{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}}
}

func policy(a security.Action, matches ...*security.Match) *security.Authorization {
	return &security.Authorization{
		Name:      "p",
		Namespace: "ns",
		Action:    a,
		Groups:    []*security.Group{{Rules: []*security.Rules{{Matches: matches}}}},
	}
}

var conn = Connection{
	Identity: "spiffe://td/ns/a/sa/b",
	Src:      netip.MustParseAddr("10.1.2.3"),
	Dst:      netip.MustParseAddrPort("10.9.9.9:8080"),
}

func TestMatch(t *testing.T) {
	plain := conn
	plain.Identity = ""
	prefix := []*security.StringMatch{{MatchType: &security.StringMatch_Prefix{Prefix: "td/ns/a/"}}}
	suffix := []*security.StringMatch{{MatchType: &security.StringMatch_Suffix{Suffix: "/sa/b"}}}
	cidr := []*security.Address{{Address: []byte{10, 1, 0, 0}, Length: 16}}
	v6 := []*security.Address{{Address: netip.MustParseAddr("2001:db8::").AsSlice(), Length: 32}}
	for _, tc := range []struct {
		name  string
		m     *security.Match
		c     Connection
		match bool
	}{
		{"nothing set", &security.Match{}, conn, false},
		{"namespace", &security.Match{Namespaces: exact("a")}, conn, true},
		{"other namespace", &security.Match{Namespaces: exact("b")}, conn, false},
		{"namespace without identity", &security.Match{Namespaces: exact("a")}, plain, false},
		{"not namespace", &security.Match{NotNamespaces: exact("a")}, conn, false},
		{"not other namespace", &security.Match{NotNamespaces: exact("b")}, conn, true},
		{"not namespace without identity", &security.Match{NotNamespaces: exact("a")}, plain, true},
		{"principal", &security.Match{Principals: exact("td/ns/a/sa/b")}, conn, true},
		{"principal prefix", &security.Match{Principals: prefix}, conn, true},
		{"principal suffix", &security.Match{Principals: suffix}, conn, true},
		{"principal presence", &security.Match{Principals: present()}, conn, true},
		{"principal presence without identity", &security.Match{Principals: present()}, plain, false},
		{"no principal (STRICT)", &security.Match{NotPrincipals: present()}, plain, true},
		{"no principal with identity", &security.Match{NotPrincipals: present()}, conn, false},
		{"service account", &security.Match{ServiceAccounts: []*security.ServiceAccountMatch{{Namespace: "a", ServiceAccount: "b"}}}, conn, true},
		{
			"service account of another namespace",
			&security.Match{ServiceAccounts: []*security.ServiceAccountMatch{{Namespace: "x", ServiceAccount: "b"}}}, conn, false,
		},
		{
			"not service account",
			&security.Match{NotServiceAccounts: []*security.ServiceAccountMatch{{Namespace: "a", ServiceAccount: "b"}}}, conn, false,
		},
		{"source ip", &security.Match{SourceIps: cidr}, conn, true},
		{"not source ip", &security.Match{NotSourceIps: cidr}, conn, false},
		{"source ip of the other family", &security.Match{SourceIps: v6}, conn, false},
		{"destination ip", &security.Match{DestinationIps: cidr}, conn, false},
		{"not destination ip", &security.Match{NotDestinationIps: cidr}, conn, true},
		{"port", &security.Match{DestinationPorts: []uint32{80, 8080}}, conn, true},
		{"other port", &security.Match{DestinationPorts: []uint32{15008}}, conn, false},
		{"not port", &security.Match{NotDestinationPorts: []uint32{8080}}, conn, false},
		{"and: both", &security.Match{Namespaces: exact("a"), DestinationPorts: []uint32{8080}}, conn, true},
		{"and: one", &security.Match{Namespaces: exact("a"), DestinationPorts: []uint32{1}}, conn, false},
		{"broken cidr", &security.Match{SourceIps: []*security.Address{{Address: []byte{1}, Length: 99}}}, conn, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := match(tc.m, tc.c); got != tc.match {
				t.Errorf("got %t, want %t", got, tc.match)
			}
		})
	}
}

func TestEvaluate(t *testing.T) {
	yes, no := &security.Match{Namespaces: exact("a")}, &security.Match{Namespaces: exact("z")}
	dry := policy(security.Action_DENY, yes)
	dry.DryRun = true
	empty := &security.Authorization{Name: "p", Namespace: "ns", Action: security.Action_ALLOW} // "allow nothing"
	for _, tc := range []struct {
		name    string
		ps      []*security.Authorization
		allowed bool
	}{
		{"no policies", nil, true},
		{"allow matches", []*security.Authorization{policy(security.Action_ALLOW, no), policy(security.Action_ALLOW, yes)}, true},
		{"allow does not", []*security.Authorization{policy(security.Action_ALLOW, no)}, false},
		{"allow nothing", []*security.Authorization{empty}, false},
		{"deny matches, allow too", []*security.Authorization{policy(security.Action_ALLOW, yes), policy(security.Action_DENY, yes)}, false},
		{"deny does not", []*security.Authorization{policy(security.Action_DENY, no)}, true},
		{"dry run", []*security.Authorization{dry}, true},
		{"clause without matches is true", []*security.Authorization{policy(security.Action_DENY)}, false},
		{"or in a clause", []*security.Authorization{policy(security.Action_DENY, no, yes)}, false},
		{
			"and over clauses",
			[]*security.Authorization{
				{
					Action: security.Action_DENY,
					Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{yes}}, {Matches: []*security.Match{no}}}}},
				},
			},
			true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if v := Evaluate(tc.ps, conn, nil); v.Allowed != tc.allowed {
				t.Errorf("got %+v, want allowed: %t", v, tc.allowed)
			}
		})
	}
	heard := ""
	Evaluate([]*security.Authorization{dry}, conn, func(p string, would Verdict) {
		if !would.Allowed {
			heard = p
		}
	})
	if heard != "ns/p" {
		t.Errorf("dry run was heard as %q", heard)
	}
}
