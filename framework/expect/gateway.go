package expect

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"
	"google.golang.org/grpc/codes"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/eastwest"
)

// everyWay is a matcher of attempts at a gateway, each by another way to it.
func everyWay[V any](says string, wrong func(V) string) types.GomegaMatcher {
	return Value(says+", by every way to the gateway", func(all []V) string {
		for _, v := range all {
			if w := wrong(v); w != "" {
				return w
			}
		}
		if len(all) == 0 {
			return "there is no way to the gateway"
		}
		return ""
	})
}

// OneProgrammed expects that one of the gateways at least is programmed, with an address.
func OneProgrammed() types.GomegaMatcher {
	return Value("a gateway to be programmed, with an address", func(all []*eastwest.Gateway) string {
		var seen []string
		for _, g := range all {
			if g.Programmed && len(g.Addresses) > 0 {
				return ""
			}
			seen = append(seen, fmt.Sprintf("%s: programmed %t (%s), %d addresses", g, g.Programmed, g.Why, len(g.Addresses)))
		}
		return cmp.Or(strings.Join(seen, "; "), "there is none")
	})
}

// Replicas expects at least as many ready endpoints behind a cluster's gateways.
func Replicas(n int) types.GomegaMatcher {
	return Value(fmt.Sprintf("%d ready endpoints at least behind the gateways", n), func(all []*eastwest.Gateway) string {
		seen := 0
		for _, g := range all {
			seen += len(g.Endpoints)
		}
		if seen < n {
			return fmt.Sprintf("there are %d", seen)
		}
		return ""
	})
}

// ListenerAccepted expects that a listener is accepted.
func ListenerAccepted() types.GomegaMatcher {
	return Value("the listener to be accepted", func(conditions []metav1.Condition) string {
		if c := meta.FindStatusCondition(conditions, string(gateway.ListenerConditionAccepted)); c == nil || c.Status != metav1.ConditionTrue {
			return fmt.Sprintf("%+v", conditions)
		}
		return ""
	})
}

// ListenerRefused expects that a listener is not accepted, with a message that has this word of the
// rule.
func ListenerRefused(word string) types.GomegaMatcher {
	return Value("the listener to be refused with a message that names "+word, func(conditions []metav1.Condition) string {
		c := meta.FindStatusCondition(conditions, string(gateway.ListenerConditionAccepted))
		if c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, word) {
			return fmt.Sprintf("%+v", conditions)
		}
		return ""
	})
}

// ServedIn expects that the application answers, in this cluster.
func ServedIn(c fmt.Stringer) types.GomegaMatcher {
	return everyWay("status 200 from the application in "+c.String(), func(a eastwest.Answer) string {
		if a.Refusal != nil || a.Err != nil || a.Code != 200 || a.Cluster != c.String() {
			return a.String()
		}
		return ""
	})
}

// Served expects that the application answers, in whatever cluster.
func Served() types.GomegaMatcher { return answersWith("status 200 from the application", 200, true) }

// Forbidden expects that a proxy behind the gateway answers with status 403.
func Forbidden() types.GomegaMatcher { return answersWith("status 403 from a proxy", 403, false) }

func answersWith(says string, code int, application bool) types.GomegaMatcher {
	return everyWay(says, func(a eastwest.Answer) string {
		if a.Refusal != nil || a.Err != nil || a.Code != code || (a.Cluster != "") != application {
			return a.String()
		}
		return ""
	})
}

// RefusedByGateway expects that the gateway opens no tunnel to what is behind it: it answers the
// CONNECT with an error of HTTP (4xx, 5xx), or accepts it and ends the tunnel before anybody behind
// it has spoken.
func RefusedByGateway() types.GomegaMatcher {
	return everyWay("the gateway to refuse the tunnel", func(a eastwest.Answer) string {
		switch {
		case a.Refusal == nil:
			return "the tunnel was opened: " + a.String()
		case a.Refusal.Answered:
			return "somebody behind the gateway answered: " + a.String()
		case a.Refusal.Status != 0 && a.Refusal.Status < 400:
			return a.String()
		}
		return ""
	})
}

// NotAnswered expects that the application does not answer: the request is refused, or the tunnel
// is ended without an answer. A proxy may answer with an error of its own.
func NotAnswered() types.GomegaMatcher {
	return everyWay("no answer of the application", func(a eastwest.Answer) string {
		switch {
		case a.Refusal != nil:
			return ""
		case a.Cluster != "", a.Code != 0 && a.Code < 400, a.Code == 0 && a.Err == nil:
			return a.String()
		}
		return ""
	})
}

// NotExposed expects that not one byte comes from behind the gateway: the CONNECT is answered with
// an error of HTTP (4xx, 5xx), or the tunnel ends in silence. Envoy may answer 200 before it finds
// that no chain matches.
func NotExposed() types.GomegaMatcher {
	return everyWay("not one byte from behind the gateway", func(a eastwest.Answer) string {
		switch {
		case a.Refusal != nil && a.Refusal.Status != 0 && a.Refusal.Status < 400:
			return a.String()
		case a.Refusal != nil && a.Refusal.Answered:
			return "somebody behind the gateway answered: " + a.String()
		case a.Refusal == nil && (a.Code != 0 || len(a.Raw) > 0 || a.Err == nil):
			return "something answered: " + a.String()
		}
		return ""
	})
}

// RefusedForCertificate expects that the gateway ends the connection because of the client's
// certificate, by an alert that says so or without an answer.
func RefusedForCertificate() types.GomegaMatcher {
	return everyWay("the gateway to refuse the client's certificate", func(a eastwest.Answer) string {
		if a.Refusal == nil || a.Refusal.Hop == "inner" || !a.Refusal.OfCertificate() {
			return a.String()
		}
		return ""
	})
}

// RefusedInside expects that the gateway carries the outer tunnel, and that the inner one is ended
// because of the client's certificate.
func RefusedInside() types.GomegaMatcher {
	return everyWay("the server's ztunnel to refuse the client's certificate", func(a eastwest.Answer) string {
		switch {
		case a.Refusal == nil, a.Refusal.Hop != "inner", !a.Refusal.OfCertificate():
			return a.String()
		case !a.Refusal.Answered: // a TLS server asks for a certificate before it refuses one
			return "nobody behind the gateway spoke: " + a.String()
		}
		return ""
	})
}

// RefusedInHandshake expects that the gateway ends the TLS handshake.
func RefusedInHandshake() types.GomegaMatcher {
	return everyWay("the gateway to end the TLS handshake", func(a eastwest.Answer) string {
		if a.Refusal == nil || a.Refusal.Hop == "inner" || a.Refusal.Status != 0 {
			return a.String()
		}
		return ""
	})
}

// NoneOpenBut expects that no other port than these is open to anybody. Whether these are is for calls to
// show: what lies between the networks may let some of them pass only.
func NoneOpenBut(ports ...int) types.GomegaMatcher {
	return everyWay(fmt.Sprintf("no other port than %v to be open", ports), func(p eastwest.Ports) string {
		if slices.ContainsFunc(p.Open, func(open int) bool { return !slices.Contains(ports, open) }) {
			return p.String()
		}
		return ""
	})
}

// Closed expects that a connection is closed with no byte or with one TLS alert.
func Closed() types.GomegaMatcher {
	return everyWay("the connection to be closed with no byte or one TLS alert", func(r eastwest.Reply) string {
		if r.LeftOpen || len(r.Bytes) > 0 && !isAlert(r.Bytes) {
			return r.String()
		}
		return ""
	})
}

// isAlert holds for exactly one TLS record of type alert: 21, version, length 2, level,
// description.
func isAlert(b []byte) bool {
	return len(b) == 7 && b[0] == 21 && b[1] == 3 && b[3] == 0 && b[4] == 2
}

// ShowsCertificate expects a server's certificate of this name that one of the roots vouches for.
func ShowsCertificate(roots *x509.CertPool, name string) types.GomegaMatcher {
	return everyWay("the certificate of "+name+" by the mesh's CA", func(s eastwest.Shown) string {
		if len(s.Chain) == 0 {
			return s.String()
		}
		between := x509.NewCertPool()
		for _, c := range s.Chain[1:] {
			between.AddCert(c)
		}
		if _, err := s.Chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between}); err != nil {
			return fmt.Sprintf("%s: %v", s, err)
		}
		return ""
	})
}

// ShowsNothing expects that no server is there: the connection is refused, or ended without a
// certificate.
func ShowsNothing() types.GomegaMatcher {
	return everyWay("no server", func(s eastwest.Shown) string {
		if len(s.Chain) > 0 {
			return s.String()
		}
		return ""
	})
}

// Configured expects that a control plane takes a proxy that asks for its configuration.
func Configured() types.GomegaMatcher { return streamEndsWith(codes.OK) }

// Unauthenticated expects that a control plane tells a proxy that it does not know it.
func Unauthenticated() types.GomegaMatcher { return streamEndsWith(codes.Unauthenticated) }

func streamEndsWith(code codes.Code) types.GomegaMatcher {
	return everyWay("the control plane to answer "+code.String(), func(s eastwest.Stream) string {
		if s.Err != nil || s.Code != code {
			return s.String()
		}
		return ""
	})
}
