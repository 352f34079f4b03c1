package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/run"
)

// release is this program, as a reader of a bundle compares it with the one that ran.
type release struct {
	Suite    v1alpha2.Suite   `json:"suite"`
	Catalog  v1alpha2.Catalog `json:"catalog"`
	Report   string           `json:"report"` // the version of reports that it reads and writes
	Go       string           `json:"go"`
	Platform string           `json:"platform"`
}

func thisRelease() release {
	return release{
		run.Suite(), v1alpha2.Catalog{Digest: behaviors.Digest(), Behaviors: len(behaviors.All())}, v1alpha2.APIVersion,
		runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH,
	}
}

func versionCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "version",
		Short: "say which release this is: suite, catalog, version of reports",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format == formatJSON {
				return writeJSON(c.OutOrStdout(), thisRelease())
			}
			return writeRelease(c.OutOrStdout(), thisRelease())
		},
	}
	outputFlag(c, &format, "text", formatJSON)
	return c
}

func writeRelease(out io.Writer, r release) error {
	_, err := fmt.Fprintf(out, "amc %s\ncatalog %s, %d behaviors\nreports %s\n%s %s\n",
		nameOf(r.Suite), r.Catalog.Digest, r.Catalog.Behaviors, r.Report, r.Go, r.Platform)
	return err
}

// nameOf is a suite in a few words.
func nameOf(s v1alpha2.Suite) string {
	name := s.Version
	if s.Commit != "" {
		name += fmt.Sprintf(", commit %.12s", s.Commit)
	}
	if s.Dirty {
		name += ", with uncommitted changes"
	}
	return name
}
