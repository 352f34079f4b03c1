package expect

import (
	"fmt"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/ztunnel"
)

// AllMutualTLS expects exactly n connections, all of them with mutual TLS.
func AllMutualTLS(n int) types.GomegaMatcher {
	return Value(fmt.Sprintf("%d connections, all mutual TLS", n), func(c ztunnel.Connections) string {
		if c.MutualTLS != n || c.All != n {
			return c.String()
		}
		return ""
	})
}

// NoneCounted expects a count of zero.
func NoneCounted() types.GomegaMatcher {
	return Value("none", func(n int64) string {
		if n > 0 {
			return fmt.Sprint(n)
		}
		return ""
	})
}

// SomeCounted expects a count above zero.
func SomeCounted() types.GomegaMatcher {
	return Value("some", func(n int64) string {
		if n <= 0 {
			return "there are none"
		}
		return ""
	})
}

// CountedAtMost expects a count of at most n.
func CountedAtMost(n int64) types.GomegaMatcher {
	return Value(fmt.Sprintf("at most %d", n), func(seen int64) string {
		if seen > n {
			return fmt.Sprint(seen)
		}
		return ""
	})
}

// NotMutualTLS expects at least n connections without mutual TLS.
func NotMutualTLS(n int) types.GomegaMatcher {
	return Value(fmt.Sprintf("at least %d connections without mutual TLS", n), func(c ztunnel.Connections) string {
		if c.All-c.MutualTLS < n {
			return c.String()
		}
		return ""
	})
}

// OnlyMutualTLS expects some connections, all of them with mutual TLS.
func OnlyMutualTLS() types.GomegaMatcher {
	return Value("connections, all of them mutual TLS", func(c ztunnel.Connections) string {
		if c.All == 0 || c.MutualTLS != c.All {
			return c.String()
		}
		return ""
	})
}
