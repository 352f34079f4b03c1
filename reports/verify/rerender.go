package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"ambient.test/conformance/reports/bundle"
	"ambient.test/conformance/reports/layout"
)

// Rerendered is what came of a bundle that was rendered again.
type Rerendered struct {
	// Unsigned says that the signature is gone.
	Unsigned bool
	// Broken are the rules that the closed bundle breaks: closing it makes sums, not sense.
	Broken []Finding
}

// Rerender renders everything in a bundle but its evidence again, whether the bundle is open,
// closed or signed, and verifies what it has closed. It refuses a bundle that was changed after it
// was closed, because new sums would hide the change. It keeps the signature when the sums come out
// the same.
func Rerender(ctx context.Context, dir string) (*Rerendered, error) {
	root, err := bundle.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	unsigned, err := rerender(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	v, err := inspect(ctx, root, dir, Options{MaxAge: -1})
	if err != nil {
		return nil, err
	}
	return &Rerendered{unsigned, v.Broken()}, nil
}

func rerender(ctx context.Context, root *os.Root, dir string) (unsigned bool, err error) {
	before, err := readIfThere(root, layout.SumsFile, maxSumsBytes)
	if err != nil {
		return false, err
	}
	if before != nil {
		v, err := inspect(ctx, root, dir, Options{MaxAge: -1})
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
	signature, err := readIfThere(root, layout.SignatureFile, maxEnvelope)
	if err != nil {
		return false, err
	}
	if _, err := bundle.Finish(ctx, root); err != nil {
		return false, err
	}
	if signature == nil {
		return false, nil
	}
	after, err := bundle.ReadFile(root, layout.SumsFile, maxSumsBytes)
	if err != nil {
		return true, err
	}
	if before == nil || !bytes.Equal(before, after) {
		return true, nil
	}
	return false, bundle.WriteFile(root, layout.SignatureFile, signature)
}

// readIfThere reads a file of the bundle; it is nil when there is none.
func readIfThere(root *os.Root, name string, most int64) ([]byte, error) {
	data, err := bundle.ReadFile(root, name, most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
