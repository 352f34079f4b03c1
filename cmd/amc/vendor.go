package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/verify"
)

// vendor is who runs the suite on what of theirs, and whether they want to be held to the rules of a certificate.
type vendor struct {
	certified bool
	file      string
}

func (v *vendor) flags(c *cobra.Command) {
	c.Flags().StringVar(&v.file, "implementation", "", "YAML file that names whose mesh is tested: organization, project, version, url, contact")
	c.Flags().BoolVar(&v.certified, "certified", false, "keep the rules of a certificate (docs/certify.md); what breaks one is refused before anything runs")
}

// apply says in the head of a report who is tested and by which rules. What a certificate does not allow is refused here, all of it together.
func (v *vendor) apply(r *v1alpha2.ConformanceReport) error {
	if v.file != "" {
		i, err := readImplementation(v.file)
		if err != nil {
			return usage("%w", err)
		}
		r.Implementation = i
	}
	if !v.certified {
		return nil
	}
	r.Mode = v1alpha2.ModeCertified
	var wrong []string
	for _, f := range verify.Certifiable(r) {
		wrong = append(wrong, fmt.Sprintf("%s (rule %s)", f.Message, f.Rule))
	}
	if len(wrong) > 0 {
		return usage("this run cannot be certified: %s", strings.Join(wrong, "; "))
	}
	return nil
}

const maxImplementation = 64 << 10

func readImplementation(name string) (v1alpha2.Implementation, error) {
	f, err := os.Open(name)
	if err != nil {
		return v1alpha2.Implementation{}, fmt.Errorf("--implementation: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxImplementation+1))
	if err != nil || len(data) > maxImplementation {
		return v1alpha2.Implementation{}, fmt.Errorf("--implementation %s: it cannot be read, or is larger than %d KiB", name, maxImplementation>>10)
	}
	var i struct {
		Organization, Project, Version, URL string
		Contact                             []string
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&i); err != nil && !errors.Is(err, io.EOF) {
		return v1alpha2.Implementation{}, fmt.Errorf("--implementation %s: %s: it holds organization, project, version, url and contact, a list", name, strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	return v1alpha2.Implementation{Organization: i.Organization, Project: i.Project, Version: i.Version, URL: i.URL, Contact: i.Contact}, nil
}
