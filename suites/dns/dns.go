// Package dns proves what names and virtual addresses do across clusters.
package dns

import (
	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

func init() {
	prove.Proves(behaviors.ServiceMustExistInClientCluster, func(s *prove.Spec) {
		a, b := s.Pair()
		echo := s.ServiceOf("echo", s.Name("remote")) // selects nothing in a: the Service without pods
		s.Deployed(b, "remote")
		echo.Global(s.Sites...)
		s.Then(echo.HTTP(a.Client, 40), expect.ReachOnly(b.Name))
		s.Delete([]*prove.Site{a}, workload.Service(echo.Namespace, echo.Name, "", ""))
		s.Twin(echo.HTTP(a.Client, 10), expect.Fail(traffic.NoSuchHost))
		s.Twin(echo.HTTP(b.Client, 10), expect.ReachOnly(b.Name))
	})
}
