// Package gateway proves the east-west gateway as a security boundary. Every refusal stands beside a call by the same path that is served.
package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/prove"
)

func init() {
	prove.Proves(behaviors.GatewayDropsPlaintext, func(s *prove.Spec) {
		served(s, func(at *prove.Site, g *prove.Gateway, host string) {
			for _, try := range []struct {
				what    string
				payload []byte
			}{
				{"HTTP/1.1", []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")},
				{"an h2c preface", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
				{"an HTTP/1.1 CONNECT", []byte("CONNECT " + host + ":80 HTTP/1.1\r\nHost: " + host + ":80\r\n\r\n")},
				{"random bytes", bytes.Repeat([]byte{0xa7, 0x00, 0x5b, 0xff}, 64)},
			} {
				got, open, err := g.Send(s.Ctx, try.payload)
				s.Must(err)
				s.Holds(!open && (len(got) == 0 || isAlert(got)), "%s: %s is closed with no byte or one TLS alert (got %x, left open: %t)", at.Name, try.what, got, open)
			}
		})
	})

	prove.Proves(behaviors.GatewayRequiresClientCertificate, func(s *prove.Spec) {
		served(s, func(at *prove.Site, g *prove.Gateway, _ string) {
			s.TwinHolds(g.Shake(s.Ctx, eastwest.WithCertificate(g.ID)) == nil, "%s: a certificate of the mesh is served", at.Name)
			refused(s, at, g, "no certificate", eastwest.WithCertificate(nil), "certificate required")
		})
	})

	prove.Proves(behaviors.GatewayRefusesForeignCA, func(s *prove.Spec) {
		served(s, func(at *prove.Site, g *prove.Gateway, _ string) {
			s.TwinHolds(g.Shake(s.Ctx, eastwest.WithCertificate(g.ID)) == nil, "%s: a certificate of the mesh is served", at.Name)
			forged, err := eastwest.Forged(g.ID, "cluster.local", prove.MeshNamespace, "client")
			s.Must(err)
			refused(s, at, g, "the same identity signed by a stranger", eastwest.WithCertificate(forged), "unknown certificate authority")
		})
	})

	prove.Proves(behaviors.GatewayRefusesSingleHBONE, func(s *prove.Spec) {
		served(s, func(at *prove.Site, g *prove.Gateway, host string) {
			t, err := g.Single(s.Ctx, g.ID, host+":80", nil)
			var no *eastwest.Refusal
			if errors.As(err, &no) {
				s.Holds(true, "%s: the single tunnel is refused: %v", at.Name, err)
				return
			}
			s.Must(err)
			defer func() { _ = t.Close() }()
			code, _, raw, err := t.Get(host)
			s.Holds(err != nil && code == 0, "%s: plain HTTP in a single tunnel is not answered by the application: %d bytes %x (%v), status %d", at.Name, len(raw), raw, err, code)
		})
	})

	prove.Proves(behaviors.IstiodIsNotReachableThroughGateway, func(s *prove.Spec) {
		served(s, func(at *prove.Site, g *prove.Gateway, _ string) {
			for _, authority := range []string{
				"istiod.istio-system.svc.cluster.local:15012", "istiod.istio-system.svc.cluster.local:443", "istiod.istio-system.svc.cluster.local:15010",
				"istiod.istio-system.svc.cluster.local:15014", "kubernetes.default.svc.cluster.local:443",
			} {
				t, err := g.Single(s.Ctx, g.ID, authority, nil)
				var no *eastwest.Refusal
				if errors.As(err, &no) {
					s.Holds(no.Status == 503 || no.Status == 0, "%s: CONNECT %s is refused: %v", at.Name, authority, no)
					continue
				}
				s.Must(err)
				// Envoy may answer 200 before it finds that no chain matches: then not one byte may come of what is behind.
				conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
				herr := tls.Client(t, conf).HandshakeContext(s.Ctx)
				_ = t.Close()
				s.Holds(herr != nil, "%s: CONNECT %s is answered 200 and then closed without TLS: %v", at.Name, authority, herr)
			}
		})
	})

	prove.Proves(behaviors.GatewayServesDoubleHBONE, func(s *prove.Spec) {
		echo := s.Service("echo")
		echo.Global(s.Sites...)
		s.Each(func(at *prove.Site) {
			// Elsewhere a gateway without a pod is the world's fault; that it serves is the promise here.
			s.Eventually(fmt.Sprintf("%s: its east-west gateway to have a pod", at.Name), func(ctx context.Context) (string, error) {
				if _, err := eastwest.Find(ctx, at.Cluster); errors.Is(err, eastwest.ErrNoPod) {
					return err.Error(), nil
				} else if err != nil {
					return "", err
				}
				return "", nil
			})
			g := s.Gateway(at)
			s.Eventually(fmt.Sprintf("%s: a double HBONE call to %s to be answered by its pod", at.Name, echo.Host()), g.Answers(echo.Host(), true))
			s.TwinEventually(fmt.Sprintf("%s: a double HBONE call to a name that does not exist to be refused", at.Name), g.Answers("nobody."+prove.MeshNamespace+".svc.cluster.local", false))
		})
	})
}

// served makes a global service, sees a double HBONE call to it answered by the gateway of each site (the control), and then runs the attempts.
func served(s *prove.Spec, attempts func(at *prove.Site, g *prove.Gateway, host string)) {
	echo := s.Service("echo")
	echo.Global(s.Sites...)
	s.Each(func(at *prove.Site) {
		g := s.Gateway(at)
		s.TwinEventually(fmt.Sprintf("%s: a double HBONE call to be answered", at.Name), g.Answers(echo.Host(), true))
		attempts(at, g, echo.Host())
		wrong, err := g.Answers(echo.Host(), true)(context.WithoutCancel(s.Ctx))
		s.Must(err)
		s.TwinHolds(wrong == "", "%s: and after the attempts, too %s", at.Name, wrong)
	})
}

func refused(s *prove.Spec, at *prove.Site, g *prove.Gateway, what string, conf *tls.Config, alert string) {
	err := g.Shake(s.Ctx, conf)
	s.Holds(err != nil && strings.Contains(err.Error(), alert), "%s: %s ends with the alert %q (got: %v)", at.Name, what, alert, err)
}

// isAlert holds for exactly one TLS record of type alert: 21, version, length 2, level, description.
func isAlert(b []byte) bool { return len(b) == 7 && b[0] == 21 && b[1] == 3 && b[3] == 0 && b[4] == 2 }
