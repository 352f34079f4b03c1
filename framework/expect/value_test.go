package expect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/istiod"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/ztunnel"
)

// Every matcher of a value must be able to fail, and must refuse a value of another type.
func TestValues(t *testing.T) {
	a, b := name("a"), name("b")
	refused := func(hop string, status int) eastwest.Answer {
		return eastwest.Answer{Refusal: &eastwest.Refusal{Hop: hop, Status: status, Err: errors.New("closed")}}
	}
	broken := errors.New("EOF")
	served := eastwest.Answer{Code: 200, Cluster: "a"}
	ended := func(alert tls.AlertError) eastwest.Answer {
		return eastwest.Answer{Refusal: &eastwest.Refusal{Hop: "outer", Err: &net.OpError{Op: "remote error", Err: alert}}}
	}
	accepted := func(status metav1.ConditionStatus, message string) []metav1.Condition {
		return []metav1.Condition{{Type: "Programmed", Status: metav1.ConditionTrue}, {Type: "Accepted", Status: status, Message: message}}
	}
	answers := func(all ...eastwest.Answer) (each []any) {
		for _, a := range all {
			each = append(each, []eastwest.Answer{a})
		}
		return each
	}
	replies := func(all ...eastwest.Reply) (each []any) {
		for _, r := range all {
			each = append(each, []eastwest.Reply{r})
		}
		return each
	}
	gateway := func(programmed bool, addresses []string, endpoints ...*eastwest.Endpoint) *eastwest.Gateway {
		return &eastwest.Gateway{Gateway: inspect.Gateway{Programmed: programmed, Addresses: addresses}, Endpoints: endpoints}
	}
	address := []string{"10.0.0.1"}
	whole := gateway(true, address, nil)
	path := func(kind traffic.Kind, cluster string, node bool) traffic.Path {
		return traffic.Path{To: "x", Cluster: "b", Node: node, Outcome: traffic.Outcome{Kind: kind, Cluster: cluster}}
	}
	of := func(pod string, r istiod.RemoteCluster) istiod.RemoteCluster { r.Istiod = pod; return r }
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
		"is true":      {IsTrue, values{true}, values{false}},
		"some packets": {SomeCounted(), values{int64(1)}, values{int64(0)}},
		"exactly":      {Exactly(2), values{2}, values{0, 1, 3}},
		"served in": {ServedIn(a), answers(served), append(answers(
			refused("outer", 503),
			eastwest.Answer{},
			eastwest.Answer{Code: 503, Cluster: "a"},
			eastwest.Answer{Code: 200, Cluster: "b"},
			eastwest.Answer{Code: 200, Cluster: "a", Err: broken},
		), []eastwest.Answer{}, []eastwest.Answer{served, refused("", 503)}, eastwest.Died("pod x"))},
		"served": {Served(), answers(served), append(answers(
			refused("outer", 503),
			eastwest.Answer{},
			eastwest.Answer{Code: 200},
			eastwest.Answer{Code: 503, Cluster: "a"},
			eastwest.Answer{Code: 200, Cluster: "a", Err: broken},
		), []eastwest.Answer{}, []eastwest.Answer{served, refused("", 503)}, eastwest.Died("pod x"))},
		"forbidden": {Forbidden(), answers(eastwest.Answer{Code: 403}), append(answers(
			served,
			refused("inner", 403),
			eastwest.Answer{Code: 403, Cluster: "a"},
			eastwest.Answer{Code: 503},
		), []eastwest.Answer{{Code: 403}, served})},
		"refused by gateway": {RefusedByGateway(), answers(refused("outer", 503), refused("outer", 404), refused("outer", 0), refused("inner", 0),
			refused("", 503)), append(answers(
			served,
			eastwest.Answer{Err: broken},
			eastwest.Answer{Refusal: &eastwest.Refusal{Hop: "inner", Status: 503, Answered: true}},
			refused("outer", 302),
		), []eastwest.Answer{refused("outer", 503), served}, eastwest.Died("pod x"))},
		"not answered": {NotAnswered(), answers(refused("outer", 503), refused("inner", 0), eastwest.Answer{Err: broken},
			eastwest.Answer{Code: 403}),
			answers(
				served,
				eastwest.Answer{Code: 500, Cluster: "a"},
				eastwest.Answer{Code: 200, Err: broken},
				eastwest.Answer{},
			)},
		"not exposed": {NotExposed(), answers(refused("outer", 503), refused("outer", 0), refused("outer", 403),
			eastwest.Answer{Err: broken}), answers(
			refused("outer", 302),
			eastwest.Answer{},
			eastwest.Answer{Raw: alert, Err: broken},
			eastwest.Answer{Code: 404},
			eastwest.Answer{Refusal: &eastwest.Refusal{Hop: "inner", Err: broken, Answered: true}},
		)},
		"refused for its certificate": {RefusedForCertificate(), answers(
			ended(tls.AlertError(116)), ended(tls.AlertError(48)), ended(tls.AlertError(42)), ended(tls.AlertError(45)),
			eastwest.Answer{Refusal: &eastwest.Refusal{Err: broken}},
		), answers(
			served,
			refused("outer", 503),
			refused("inner", 0),
			ended(tls.AlertError(40)), // handshake failure
			ended(tls.AlertError(80)), // internal error
		)},
		"refused inside": {RefusedInside(), answers(
			eastwest.Answer{Refusal: &eastwest.Refusal{Hop: "inner", Err: fmt.Errorf("remote error: %w", tls.AlertError(116)), Answered: true}},
			eastwest.Answer{Refusal: &eastwest.Refusal{Hop: "inner", Err: broken, Answered: true}},
		), answers(
			served,
			refused("inner", 0), // nobody behind the gateway spoke
			refused("outer", 503),
			ended(tls.AlertError(116)),
			eastwest.Answer{Refusal: &eastwest.Refusal{Hop: "inner", Status: 503, Answered: true}},
		)},
		"refused in the handshake": {RefusedInHandshake(), answers(ended(tls.AlertError(70)), refused("outer", 0)), answers(
			served,
			refused("outer", 503),
			refused("inner", 0),
		)},
		"listener accepted": {ListenerAccepted(), values{accepted(metav1.ConditionTrue, "")},
			values{[]metav1.Condition{}, accepted(metav1.ConditionFalse, ""), accepted(metav1.ConditionUnknown, "")}},
		"listener refused": {ListenerRefused("HBONE"), values{accepted(metav1.ConditionFalse, "expected HBONE")}, values{
			[]metav1.Condition{},
			accepted(metav1.ConditionTrue, "expected HBONE"),
			accepted(metav1.ConditionFalse, "bad"),
		}},
		"none open but": {NoneOpenBut(1, 2), values{
			[]eastwest.Ports{{Open: []int{1, 2}}},
			[]eastwest.Ports{{Open: []int{1, 2}}, {Open: []int{1}}}, // a firewall lets only that one pass
		}, values{
			[]eastwest.Ports{},
			[]eastwest.Ports{{Open: []int{1, 2, 3}}},
			[]eastwest.Ports{{Open: []int{1, 2}}, {Open: []int{3}}},
		}},
		"connection closed": {Closed(), replies(eastwest.Reply{}, eastwest.Reply{Bytes: alert}), replies(
			eastwest.Reply{LeftOpen: true},
			eastwest.Reply{Bytes: alert, LeftOpen: true},
			eastwest.Reply{Bytes: []byte("HTTP/1.1 400")},
			eastwest.Reply{Bytes: append([]byte{22}, alert[1:]...)},
			eastwest.Reply{Bytes: append(append([]byte{}, alert...), alert...)},
		)},
		"one programmed": {OneProgrammed(), values{
			[]*eastwest.Gateway{whole},
			[]*eastwest.Gateway{gateway(false, address, nil), whole}, // one that nobody uses
			[]*eastwest.Gateway{gateway(true, address)},              // its address is no Service's
		}, values{
			[]*eastwest.Gateway{},
			[]*eastwest.Gateway{gateway(false, address, nil)},
			[]*eastwest.Gateway{gateway(true, nil, nil)},
		}},
		"replicas": {Replicas(2), values{
			[]*eastwest.Gateway{gateway(true, address, nil, nil)},
			[]*eastwest.Gateway{gateway(true, address, nil), gateway(true, address, nil, nil)},
		}, values{
			[]*eastwest.Gateway{},
			[]*eastwest.Gateway{gateway(true, address, nil)},
		}},
		"all synced": {AllSynced(a, a, b), values{
			rows(own, remote), rows(remote, own),
			rows(own, remote, with(remote, func(r *istiod.RemoteCluster) { r.Name = "c" })), // the mesh has more clusters
			rows(own, remote, of("j", own), of("j", remote)),                                // two istiods
		}, values{
			rows(),
			rows(own),
			rows(own, late),
			rows(own, remote, remote),
			rows(own, remote, of("j", own)),
			rows(own, with(remote, func(r *istiod.RemoteCluster) { r.Secret = "" })),
			rows(with(own, func(r *istiod.RemoteCluster) { r.Secret = "ns/a" }), remote),
		}},
		"lists": {Lists(b, "syncing"), values{rows(own, late), rows(own, late, of("j", own), of("j", late))}, values{
			rows(),
			rows(own),
			rows(own, remote),
			rows(own, late, late),
			rows(own, late, of("j", own), of("j", remote)),
		}},
		"lists no": {ListsNo(b), values{rows(own)}, values{rows(), rows(own, late), rows(own, of("j", own), of("j", remote))}},
		"no path": {NoPath(), values{[]traffic.Path{path(traffic.TimedOut, "", true), path(traffic.Refused, "", true),
			path(traffic.Reset, "", false), path(traffic.Reached, "a", false)}}, values{
			[]traffic.Path{},
			[]traffic.Path{path(traffic.Reached, "b", false)},
			[]traffic.Path{path(traffic.Status, "", true)},
			[]traffic.Path{path(traffic.TLSAlert, "", true)},
		}},
		"one of several": {OneOfSeveral("a"), values{[]string{"a", "b"}}, values{[]string{}, []string{"a"}, []string{"b", "c"}}},
		"other than":     {OtherThan("a"), values{[]string{"b"}, []string{"a", "b"}}, values{[]string{}, []string{"a"}}},
		"only mutual TLS": {OnlyMutualTLS(), values{ztunnel.Connections{All: 4, MutualTLS: 4}}, values{
			ztunnel.Connections{},
			ztunnel.Connections{All: 4, MutualTLS: 3},
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
