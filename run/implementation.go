package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/verify"
)

const maxImplementation = 64 << 10

// ReadImplementation reads a YAML file that says whose mesh is tested: organization, project,
// version, url and a list of contacts. Other keys are an error.
func ReadImplementation(name string) (v1alpha2.Implementation, error) {
	f, err := os.Open(name)
	if err != nil {
		return v1alpha2.Implementation{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxImplementation+1))
	if err != nil || len(data) > maxImplementation {
		return v1alpha2.Implementation{}, fmt.Errorf("%s: it cannot be read, or is larger than %d KiB", name, maxImplementation>>10)
	}
	var i struct {
		Organization, Project, Version, URL string
		Contact                             []string
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&i); err != nil && !errors.Is(err, io.EOF) {
		why := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " ")
		return v1alpha2.Implementation{}, fmt.Errorf("%s: %s: it holds organization, project, version, url and contact, a list", name, why)
	}
	return v1alpha2.Implementation{Organization: i.Organization, Project: i.Project, Version: i.Version, URL: i.URL, Contact: i.Contact}, nil
}

// Certifiable says what would keep a run with these options from a certificate, whatever its specs
// will show, all of it together. It creates nothing.
func Certifiable(o Options) error {
	o.Certified = true
	_, err := prepare(o)
	return err
}

// certifiable is [Certifiable] for a run that is prepared.
func (r *run) certifiable() error {
	var wrong []string
	for _, f := range verify.Certifiable(r.head(), r.plan) {
		wrong = append(wrong, fmt.Sprintf("%s (rule %s)", f.Message, f.Rule))
	}
	if len(wrong) > 0 {
		return usage("this run cannot be certified: %s", strings.Join(wrong, "; "))
	}
	return nil
}
