// Package suites holds the specs, one package per chapter. Importing it declares them all.
package suites

import (
	_ "ambient.test/conformance/suites/balancing"
	_ "ambient.test/conformance/suites/cleanup"
	_ "ambient.test/conformance/suites/controlplane"
	_ "ambient.test/conformance/suites/dns"
	_ "ambient.test/conformance/suites/failover"
	_ "ambient.test/conformance/suites/gateway"
	_ "ambient.test/conformance/suites/identity"
	_ "ambient.test/conformance/suites/install"
	_ "ambient.test/conformance/suites/interop"
	_ "ambient.test/conformance/suites/protocols"
	_ "ambient.test/conformance/suites/resilience"
	_ "ambient.test/conformance/suites/scope"
	_ "ambient.test/conformance/suites/services"
	_ "ambient.test/conformance/suites/topology"
	_ "ambient.test/conformance/suites/waypoint"
)
