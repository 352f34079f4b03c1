package expect

import (
	"fmt"
	"strings"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// NothingFails expects that no check before a run fails.
func NothingFails() types.GomegaMatcher {
	return Value("no check to fail", func(failed []v1alpha2.Check) string {
		if len(failed) == 0 {
			return ""
		}
		return failed[0].Name + ": " + failed[0].Detail
	})
}

// OnlyFails expects that one check before a run fails, and names the cluster alone.
func OnlyFails(check string, of fmt.Stringer) types.GomegaMatcher {
	return Value(fmt.Sprintf("the check of %s to fail, for %s", check, of), func(failed []v1alpha2.Check) string {
		if len(failed) != 1 || failed[0].Name != check || !strings.HasPrefix(failed[0].Detail, of.String()+": ") {
			return fmt.Sprintf("what fails is %v", failed)
		}
		return ""
	})
}
