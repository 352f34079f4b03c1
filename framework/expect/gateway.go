package expect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/eastwest"
)

// ServedIn expects that the application answers, in this cluster.
func ServedIn(c fmt.Stringer) types.GomegaMatcher {
	return Value("status 200 from the application in "+c.String(), func(a eastwest.Answer) string {
		if a.Refusal != nil || a.Err != nil || a.Code != 200 || !strings.Contains(a.Body, "Cluster="+c.String()+"\n") {
			return a.String()
		}
		return ""
	})
}

// RefusedByGateway expects that the gateway opens no tunnel: status 503 at the outer CONNECT, or
// 200 and closed before the inner handshake. Envoy does either for an authority without a chain.
func RefusedByGateway() types.GomegaMatcher {
	return Value("the gateway to refuse the tunnel", func(a eastwest.Answer) string {
		switch {
		case a.Refusal == nil:
			return "the tunnel was opened: " + a.String()
		case a.Refusal.Hop == "outer" && a.Refusal.Status != 503:
			return fmt.Sprintf("refused, but by %v instead of status 503", a.Refusal)
		}
		return ""
	})
}

// NotAnswered expects that the request is refused, or that the tunnel is closed without an answer.
func NotAnswered() types.GomegaMatcher {
	return Value("no answer of the application", func(a eastwest.Answer) string {
		if a.Refusal == nil && (a.Err == nil || a.Code != 0) {
			return a.String()
		}
		return ""
	})
}

// NotExposed expects that nothing behind the gateway answers: the CONNECT is refused with status
// 503 or by closing, or it is answered 200 and then closed without a byte. Envoy may answer 200
// before it finds that no chain matches.
func NotExposed() types.GomegaMatcher {
	return Value("nothing behind the gateway to answer", func(a eastwest.Answer) string {
		switch {
		case a.Refusal != nil && a.Refusal.Status != 503 && a.Refusal.Status != 0:
			return fmt.Sprintf("refused, but by %v", a.Refusal)
		case a.Refusal == nil && a.Err == nil:
			return "something answered with TLS"
		}
		return ""
	})
}

// Served expects that a TLS handshake is served.
func Served() types.GomegaMatcher {
	return Value("the handshake to be served", func(h eastwest.Handshake) string {
		if h.Err != nil {
			return h.String()
		}
		return ""
	})
}

// RefusedByAlert expects that a TLS handshake ends with this alert.
func RefusedByAlert(alert string) types.GomegaMatcher {
	return Value(fmt.Sprintf("the alert %q", alert), func(h eastwest.Handshake) string {
		if h.Err == nil || !strings.Contains(h.Err.Error(), alert) {
			return h.String()
		}
		return ""
	})
}

// Closed expects that a connection is closed with no byte or with one TLS alert.
func Closed() types.GomegaMatcher {
	return Value("the connection to be closed with no byte or one TLS alert", func(r eastwest.Reply) string {
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

// ChainFor expects that a gateway's internal listener has a chain for the host.
func ChainFor(host string) types.GomegaMatcher { return chain(host, true) }

// NoChainFor expects that it has none.
func NoChainFor(host string) types.GomegaMatcher { return chain(host, false) }

func chain(host string, want bool) types.GomegaMatcher {
	says := "a chain for " + host
	if !want {
		says = "no chain for " + host
	}
	return Value(says, func(chains []string) string {
		has := slices.ContainsFunc(chains, func(c string) bool { return strings.HasPrefix(c, host+":") })
		if has != want {
			return fmt.Sprintf("there is one: %t", has)
		}
		return ""
	})
}
