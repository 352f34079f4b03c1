package expect

import (
	"fmt"
	"time"

	"github.com/onsi/gomega/types"
)

// Budget is how many calls may fail between a change and its stable effect. Beside a matcher it limits
// what Expect forgives while the mesh converges.
type Budget struct {
	grace time.Duration
}

// NoneLost expects that no call fails on the way.
func NoneLost() Budget { return Budget{} }

// NoneLostAfter expects that no call fails later than this after the change.
func NoneLostAfter(grace time.Duration) Budget { return Budget{grace} }

// Match implements gomega's matcher: a budget alone holds of everything.
func (Budget) Match(any) (bool, error) { return true, nil }

// FailureMessage implements gomega's matcher.
func (b Budget) FailureMessage(any) string { return "expected " + b.String() }

// NegatedFailureMessage implements gomega's matcher.
func (b Budget) NegatedFailureMessage(any) string { return "expected not " + b.String() }

// String is for messages.
func (b Budget) String() string {
	if b.grace == 0 {
		return "no call to fail"
	}
	return fmt.Sprintf("no call to fail later than %s after the change", b.grace)
}

// Exceeded says what is wrong with the calls that failed, given by their time since the change.
func (b Budget) Exceeded(lost []time.Duration) string {
	n := 0
	var last time.Duration
	for _, at := range lost {
		if at > b.grace {
			n, last = n+1, max(last, at)
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d calls failed, the last %s after the change", n, last.Round(10*time.Millisecond))
}

// SplitBudgets parts budgets from the matchers of what is seen.
func SplitBudgets(all []types.GomegaMatcher) (budgets []Budget, rest []types.GomegaMatcher) {
	for _, m := range all {
		if b, ok := m.(Budget); ok {
			budgets = append(budgets, b)
		} else {
			rest = append(rest, m)
		}
	}
	return budgets, rest
}
