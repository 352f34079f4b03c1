package suites

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/prove"
)

var (
	fleetFile = flag.String("fleet", "", "fleet file; without it no spec runs and only the authoring is checked")
	settle    = flag.Duration("settle", prove.DefaultTimes.Settle, "how long a change may take to show in traffic")
	only      = flag.String("only", "", "ids to run, separated by commas; default all")
)

// TestAuthoring needs no cluster: the catalogue and the specs agree.
func TestAuthoring(t *testing.T) {
	if err := prove.Check(); err != nil {
		t.Error(err)
	}
}

// TestConformance runs the specs against a fleet.
func TestConformance(t *testing.T) {
	if *fleetFile == "" {
		t.Skip("no fleet: give one with -args -fleet FILE")
	}
	f, err := mesh.Load(*fleetFile)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Fleet: f, Times: prove.DefaultTimes, Out: os.Stdout}
	o.Times.Settle = *settle
	if *only != "" {
		ids := "," + *only + ","
		o.Skip = func(id string) (string, bool) { return "not asked for", !strings.Contains(ids, ","+id+",") }
	}
	if _, err := Run(context.Background(), t, o); err != nil {
		t.Fatal(err)
	}
}
