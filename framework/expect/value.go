package expect

import (
	"fmt"
	"slices"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/eastwest"
)

// Value is a matcher for a value of any type: wrong says what is wrong with it, empty if nothing
// is.
func Value[V any](says string, wrong func(V) string) types.GomegaMatcher {
	return value[V]{says, wrong}
}

type value[V any] struct {
	says  string
	wrong func(V) string
}

func (m value[V]) Match(actual any) (bool, error) {
	if _, died := actual.(eastwest.Died); died {
		return false, nil
	}
	v, ok := actual.(V)
	if !ok {
		return false, fmt.Errorf("expected %s: want %T, got %T", m.says, *new(V), actual)
	}
	return m.wrong(v) == "", nil
}

func (m value[V]) FailureMessage(actual any) string {
	if died, ok := actual.(eastwest.Died); ok {
		return fmt.Sprintf("expected %s\nseen     %s\nwrong    a gateway must survive whatever is sent to it", m.says, died)
	}
	v, _ := actual.(V)
	s := fmt.Sprintf("expected %s\nseen     %v", m.says, v)
	if w := m.wrong(v); w != "" {
		s += "\nwrong    " + w
	}
	return s
}

func (m value[V]) NegatedFailureMessage(actual any) string {
	return fmt.Sprintf("expected not %s\nseen     %v", m.says, actual)
}

// Exactly expects this number.
func Exactly(n int) types.GomegaMatcher {
	return Value(fmt.Sprintf("exactly %d", n), func(got int) string {
		if got != n {
			return fmt.Sprintf("there are %d", got)
		}
		return ""
	})
}

// OneOfSeveral expects a list to have this item and another one.
func OneOfSeveral(item string) types.GomegaMatcher {
	return Value(fmt.Sprintf("%q and another one", item), func(all []string) string {
		switch {
		case !slices.Contains(all, item):
			return "it is not among them"
		case len(all) == 1:
			return "it is the only one"
		}
		return ""
	})
}

// OtherThan expects a list to have another item than this one.
func OtherThan(item string) types.GomegaMatcher {
	return Value(fmt.Sprintf("another one than %q", item), func(all []string) string {
		if slices.ContainsFunc(all, func(x string) bool { return x != item }) {
			return ""
		}
		return "there is none"
	})
}

// IsTrue expects true; the subject says what is true then.
var IsTrue = Value("it to be so", func(b bool) string {
	if !b {
		return "it is not"
	}
	return ""
})

// IsFalse expects false; the subject says what is not so then.
var IsFalse = Value("it not to be so", func(b bool) string {
	if b {
		return "it is"
	}
	return ""
})
