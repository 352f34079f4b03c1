package main

import (
	"io"

	"ambient.test/conformance/internal/progress"
)

// newProgress shows long work.
func newProgress(w io.Writer) progress.Reporter { return progress.Lines(w, 0) }
