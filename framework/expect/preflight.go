package expect

import (
	"fmt"
	"strings"

	"github.com/onsi/gomega/types"
)

// NothingFails expects that no check before a run fails.
func NothingFails() types.GomegaMatcher {
	return Value("no check to fail", func(failed []string) string { return strings.Join(failed, "; ") })
}

// OnlyFails expects that one check before a run fails, and names the cluster alone.
func OnlyFails(check string, of fmt.Stringer) types.GomegaMatcher {
	return Value(fmt.Sprintf("the check of %s to fail, for %s, and no other", check, of), func(failed []string) string {
		if len(failed) != 1 || !strings.HasPrefix(failed[0], check+": "+of.String()+": ") {
			return fmt.Sprintf("what fails is %q", failed)
		}
		return ""
	})
}
