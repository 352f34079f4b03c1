package verify

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// Rerender renders everything in a bundle but its evidence again, whether the bundle is open,
// closed or signed. It refuses a bundle that was changed after it was closed, because new sums
// would hide the change. It keeps the signature when the sums come out the same; unsigned reports
// that the signature is gone.
func Rerender(ctx context.Context, dir string) (unsigned bool, err error) {
	before, err := os.ReadFile(filepath.Join(dir, layout.SumsFile))
	closed := err == nil
	if closed {
		v, err := Bundle(ctx, dir, Options{MaxAge: -1})
		if err != nil {
			return false, err
		}
		for _, f := range v.Broken() {
			if strings.HasPrefix(f.Rule, "B") {
				return false, fmt.Errorf("the bundle is not rendered again, rule %s is broken: %s: render it into another directory with --to",
					f.Rule, f.Message)
			}
		}
	}
	signature, err := os.ReadFile(filepath.Join(dir, layout.SignatureFile))
	signed := err == nil
	if _, err := bundle.Finish(ctx, dir); err != nil {
		return false, err
	}
	if !signed {
		return false, nil
	}
	after, err := os.ReadFile(filepath.Join(dir, layout.SumsFile))
	if err != nil {
		return true, err
	}
	if !closed || !bytes.Equal(before, after) {
		return true, nil
	}
	return false, bundle.WriteFile(dir, layout.SignatureFile, signature)
}
