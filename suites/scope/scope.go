// Package scope proves which services are visible to other clusters.
package scope

import (
	"fmt"
	"strings"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/prove"
)

func init() {
	prove.Proves(behaviors.GlobalLabelJoinsClusters, func(s *prove.Spec) {
		echo := s.Service("echo")
		s.Each(func(from *prove.Site) { s.Twin(echo.HTTP(from.Client, 40), expect.ReachOnly(from.Name)) })
		echo.Global(s.Sites...)
		s.Each(func(from *prove.Site) { s.Then(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...)) })
	})

	prove.Proves(behaviors.ServicesAreLocalByDefault, func(s *prove.Spec) {
		local, global := s.Service("local"), s.Service("global")
		global.Global(s.Sites...)
		// The control goes first: once the global neighbor is joined, the local one has had its chance to be, too.
		s.Each(func(from *prove.Site) { s.Twin(global.HTTP(from.Client, 40), expect.ReachAll(s.Names()...)) })
		s.Each(func(from *prove.Site) { s.Then(local.HTTP(from.Client, 40), expect.ReachOnly(from.Name)) })
	})

	prove.Proves(behaviors.UnlabelingWithdrawsService, func(s *prove.Spec) {
		echo := s.Service("echo")
		echo.Global(s.Sites...)
		s.Each(func(from *prove.Site) { s.Twin(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...)) })
		stop := s.Meanwhile(func(from *prove.Site) prove.Calls { return echo.HTTP(from.Client, 4) })
		echo.Local(s.Sites...)
		s.Each(func(from *prove.Site) { s.Then(echo.HTTP(from.Client, 40), expect.ReachOnly(from.Name)) })
		// Two control planes withdraw it, in no promised order: a call that one still sends may find the other's gateway closed. Recorded, not claimed.
		lost, made := stop()
		s.Note("%d of %d calls failed while the label was taken away", lost, made)
	})

	prove.Proves(behaviors.LocalScopeIsSourceOfTruth, func(s *prove.Spec) {
		echo := s.Service("echo")
		a, others := s.One()
		// The symmetric row between the others is the control: it shows that each asymmetry is what parts them.
		for _, row := range []struct{ inA, inOthers bool }{{true, true}, {true, false}, {true, true}, {false, true}, {true, true}, {false, false}} {
			scope(echo, row.inA, a)
			scope(echo, row.inOthers, others...)
			s.Note("label in %s: %t, in %s: %t", a.Name, row.inA, strings.Join(others.Names(), " and "), row.inOthers)
			if row.inA && row.inOthers {
				s.Each(func(from *prove.Site) { s.Twin(echo.HTTP(from.Client, 40), expect.ReachAll(s.Names()...)) })
				continue
			}
			s.Each(func(from *prove.Site) {
				joined := []string{from.Name}
				if row.inOthers && from != a {
					joined = others.Names() // among themselves; one by itself in a fleet of two
				}
				s.Then(echo.HTTP(from.Client, 40), expect.ReachAll(joined...))
			})
		}
	})

	prove.Proves(behaviors.GatewayServesExactlyGlobalServices, func(s *prove.Spec) {
		global, local := s.Service("global"), s.Service("local")
		global.Global(s.Sites...)
		s.Each(func(at *prove.Site) {
			g := s.Gateway(at)
			s.TwinEventually(fmt.Sprintf("the gateway of %s to have a chain for %s", at.Name, global.Host()), g.Lists(global.Host(), true))
			s.Eventually(fmt.Sprintf("the gateway of %s to have no chain for %s", at.Name, local.Host()), g.Lists(local.Host(), false))
			s.TwinEventually("a double HBONE call to the global service to be answered", g.Answers(global.Host(), true))
			s.Eventually("a double HBONE call to the local service to be refused by the gateway", g.Answers(local.Host(), false))
		})
		global.Local(s.Sites...)
		s.Each(func(at *prove.Site) {
			g := s.Gateway(at)
			s.Eventually(fmt.Sprintf("the chain for %s to go with the label", global.Host()), g.Lists(global.Host(), false))
			s.Eventually("a double HBONE call to it to be refused by the gateway", g.Answers(global.Host(), false))
		})
	})
}

func scope(v *prove.Service, global bool, at ...*prove.Site) {
	if global {
		v.Global(at...)
	} else {
		v.Local(at...)
	}
}
