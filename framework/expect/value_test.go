package expect

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/ztunnel"
)

// Every matcher of a value must be able to fail, and must refuse a value of another type.
func TestValues(t *testing.T) {
	a, b := name("a"), name("b")
	refused := func(hop string, status int) eastwest.Answer {
		return eastwest.Answer{Refusal: &eastwest.Refusal{Hop: hop, Status: status, Err: errors.New("closed")}}
	}
	broken := errors.New("EOF")
	served := eastwest.Answer{Code: 200, Body: "Cluster=a\nHost=echo\n"}
	alert := []byte{21, 3, 3, 0, 2, 2, 48}
	own := istiod.RemoteCluster{Name: "a", Status: istiod.Synced, Istiod: "i"}
	remote := istiod.RemoteCluster{Name: "b", Secret: "ns/b", Status: istiod.Synced, Istiod: "i"}
	rows := func(all ...istiod.RemoteCluster) []istiod.RemoteCluster { return all }
	with := func(r istiod.RemoteCluster, change func(*istiod.RemoteCluster)) istiod.RemoteCluster {
		change(&r)
		return r
	}
	late := with(remote, func(r *istiod.RemoteCluster) { r.Status = "syncing" })
	type values []any
	for title, c := range map[string]struct {
		matcher   types.GomegaMatcher
		good, bad values
	}{
		"is true": {IsTrue, values{true}, values{false}},
		"served in": {ServedIn(a), values{served}, values{
			refused("outer", 503),
			eastwest.Answer{},
			eastwest.Answer{Code: 503, Body: served.Body},
			eastwest.Answer{Code: 200, Body: "Cluster=b\n"},
			eastwest.Answer{Code: 200, Body: "Cluster=ab\n"},
			eastwest.Answer{Code: 200, Body: served.Body, Err: broken},
		}},
		"refused by gateway": {RefusedByGateway(), values{refused("outer", 503), refused("inner", 0)}, values{
			served,
			eastwest.Answer{Err: broken},
			refused("outer", 200),
			refused("outer", 404),
			refused("outer", 0),
		}},
		"not answered": {NotAnswered(), values{refused("outer", 503), refused("inner", 0), eastwest.Answer{Err: broken}}, values{
			served,
			eastwest.Answer{Code: 403},
			eastwest.Answer{Code: 200, Err: broken},
			eastwest.Answer{},
		}},
		"not exposed": {NotExposed(), values{refused("outer", 503), refused("outer", 0), eastwest.Answer{Err: broken}}, values{
			refused("outer", 403),
			eastwest.Answer{Peer: "spiffe://td"},
		}},
		"handshake served": {Served(), values{eastwest.Handshake{}}, values{eastwest.Handshake{Err: broken}}},
		"refused by alert": {RefusedByAlert("unknown ca"), values{eastwest.Handshake{Err: errors.New("tls: unknown ca")}},
			values{eastwest.Handshake{}, eastwest.Handshake{Err: broken}}},
		"connection closed": {Closed(), values{eastwest.Reply{}, eastwest.Reply{Bytes: alert}}, values{
			eastwest.Reply{LeftOpen: true},
			eastwest.Reply{Bytes: alert, LeftOpen: true},
			eastwest.Reply{Bytes: []byte("HTTP/1.1 400")},
			eastwest.Reply{Bytes: append([]byte{22}, alert[1:]...)},
			eastwest.Reply{Bytes: append(append([]byte{}, alert...), alert...)},
		}},
		"chain for":    {ChainFor("echo"), values{[]string{"echo:80", "other:80"}}, values{[]string{}, []string{"echo-1:80"}, []string{"echo"}}},
		"no chain for": {NoChainFor("echo"), values{[]string{}, []string{"echo-1:80"}}, values{[]string{"other:80", "echo:80"}}},
		"knows": {Knows(a, b), values{rows(own, remote), rows(own, remote, with(remote, func(r *istiod.RemoteCluster) { r.Name = "c" }))}, values{
			rows(),
			rows(own),
			rows(own, late),
			rows(own, remote, with(own, func(r *istiod.RemoteCluster) { r.Istiod = "another" })),
		}},
		"lists exactly": {ListsExactly(a, a, b), values{rows(own, remote), rows(remote, own)}, values{
			rows(),
			rows(own),
			rows(own, late),
			rows(own, remote, remote),
			rows(own, remote, with(remote, func(r *istiod.RemoteCluster) { r.Name = "c" })),
			rows(own, with(remote, func(r *istiod.RemoteCluster) { r.Secret = "" })),
			rows(with(own, func(r *istiod.RemoteCluster) { r.Secret = "ns/a" }), remote),
		}},
		"all mutual TLS": {AllMutualTLS(4), values{ztunnel.Connections{All: 4, MutualTLS: 4}}, values{
			ztunnel.Connections{},
			ztunnel.Connections{All: 4, MutualTLS: 3},
			ztunnel.Connections{All: 5, MutualTLS: 4},
			ztunnel.Connections{All: 5, MutualTLS: 5},
		}},
		"not mutual TLS": {NotMutualTLS(4), values{ztunnel.Connections{All: 4}, ztunnel.Connections{All: 9, MutualTLS: 5}}, values{
			ztunnel.Connections{},
			ztunnel.Connections{All: 4, MutualTLS: 1},
			ztunnel.Connections{All: 4, MutualTLS: 4},
		}},
	} {
		t.Run(title, func(t *testing.T) {
			for _, v := range c.good {
				ok, err := c.matcher.Match(v)
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				if !ok {
					t.Errorf("%v does not match: %s", v, c.matcher.FailureMessage(v))
				}
			}
			for _, v := range c.bad {
				ok, err := c.matcher.Match(v)
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				if ok {
					t.Errorf("%v matches", v)
				}
				message := c.matcher.FailureMessage(v)
				for _, part := range []string{"expected ", "seen     " + fmt.Sprint(v), "wrong    "} {
					if !strings.Contains(message, part) {
						t.Errorf("the message lacks %q: %q", part, message)
					}
				}
			}
			if _, err := c.matcher.Match(struct{}{}); err == nil {
				t.Error("a value of another type was judged")
			}
		})
	}
}

func TestNegatedValue(t *testing.T) {
	if got, want := IsTrue.NegatedFailureMessage(true), "expected not it to be so\nseen     true"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
