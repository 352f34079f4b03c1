package api_test

import (
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ambient.test/conformance/reports/api"
)

// The report's types can be imported without the rest of the suite.
func TestImportsNothingOfTheSuite(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	self, err := exec.Command("go", "list", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	room := strings.TrimSpace(string(self))
	var foreign []string
	for dep := range strings.FieldsSeq(string(out)) {
		if dep != room && !strings.HasPrefix(dep, room+"/") {
			foreign = append(foreign, dep)
		}
	}
	if diff := cmp.Diff([]string(nil), foreign); diff != "" {
		t.Errorf("imports from outside %s (-want +got):\n%s", path.Base(room), diff)
	}
}

func TestGroupIsADomain(t *testing.T) {
	if errs := validation.IsFullyQualifiedDomainName(field.NewPath("group"), api.Group); len(errs) > 0 {
		t.Errorf("got %q, want a DNS name such as amc.example.org: %v", api.Group, errs.ToAggregate())
	}
}
