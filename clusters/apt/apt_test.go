package apt

import (
	"slices"
	"testing"
)

func TestMissingNamesEachPackageOnce(t *testing.T) {
	have := func(p string) bool { return p == "ip" }
	got := missing(have, []Tool{{"dockerd", "docker.io"}, {"runc", "docker.io"}, {"ip", "iproute2"}, {"gcc", "gcc"}})
	if want := []string{"docker.io", "gcc"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := missing(have, []Tool{{"ip", "iproute2"}}); len(got) != 0 {
		t.Errorf("nothing is missing, got %v", got)
	}
}
