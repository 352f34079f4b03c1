package expect

import (
	"fmt"
	"slices"
	"time"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/traffic"
)

// Budget is how many calls may fail because of a change. It judges a [traffic.Timeline], which
// calls under an event leave. Beside a matcher of calls it limits what Expect forgives while the
// mesh converges.
type Budget struct {
	says  string // completes "expected ..."
	wrong func(traffic.Losses) string
	grace time.Duration // nothing is known without calls that begin later
}

// NoneLost expects that no call fails.
func NoneLost() Budget {
	return Budget{says: "no call to fail", wrong: func(l traffic.Losses) string {
		if len(l.Lost) == 0 {
			return ""
		}
		return failed(len(l.Lost), l)
	}}
}

// NoneAfter expects that no call fails that begins later than this after the change. A timeline
// must have such calls.
func NoneAfter(grace time.Duration) Budget {
	says := fmt.Sprintf("no call to fail that begins later than %s after the change", grace)
	return Budget{says: says, grace: grace, wrong: func(l traffic.Losses) string {
		n := 0
		for _, at := range l.Lost {
			if at > grace {
				n++
			}
		}
		if n == 0 {
			return ""
		}
		return failed(n, l)
	}}
}

// AtMost expects that no more than this share of the calls fails, in percent.
func AtMost(percent float64) Budget {
	return Budget{says: fmt.Sprintf("at most %g %% of the calls to fail", percent), wrong: func(l traffic.Losses) string {
		if float64(len(l.Lost)) <= percent/100*float64(l.Made) {
			return ""
		}
		return failed(len(l.Lost), l)
	}}
}

func failed(n int, l traffic.Losses) string {
	return fmt.Sprintf("%d of %d calls failed, the last %s the change", n, l.Made, traffic.After(slices.Max(l.Lost)))
}

// Match implements gomega's matcher. A timeline without calls never matches. The error says that the
// calls do not show what is expected.
func (b Budget) Match(actual any) (bool, error) {
	l, ok := actual.(traffic.Timeline)
	if !ok {
		return false, fmt.Errorf("expected %s: want traffic.Timeline, got %T", b.says, actual)
	}
	losses := l.Losses()
	if losses.Made > 0 && losses.Last < b.grace {
		return false, fmt.Errorf("expected %s: the last call began %s the change, so nothing is known: give the event Grace(%s)",
			b.says, traffic.After(losses.Last), b.grace)
	}
	return losses.Made > 0 && b.wrong(losses) == "", nil
}

// FailureMessage implements gomega's matcher.
func (b Budget) FailureMessage(actual any) string {
	s := fmt.Sprintf("expected %s\nseen     %v", b.says, actual)
	l, ok := actual.(traffic.Timeline)
	if !ok {
		return s
	}
	losses := l.Losses()
	if losses.Made == 0 {
		return s + "\nwrong    no call was made"
	}
	s += "\nwrong    " + b.wrong(losses)
	if losses.Detail != "" {
		s += "\nfor one  " + losses.Detail
	}
	return s
}

// NegatedFailureMessage implements gomega's matcher.
func (b Budget) NegatedFailureMessage(actual any) string {
	return fmt.Sprintf("expected not %s\nseen     %v", b.says, actual)
}

// String is for messages.
func (b Budget) String() string { return b.says }

// Exceeded says what is wrong with the calls that failed; empty if nothing is.
func (b Budget) Exceeded(l traffic.Losses) string { return b.wrong(l) }

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
