package suites

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/internal/filelock"
)

var (
	fleetFile = flag.String("fleet", "", "fleet file; without it no spec runs and only the authoring is checked")
	settle    = flag.Duration("settle", prove.DefaultTimes.Settle, "how long a change may take to show in traffic")
	hold      = flag.Duration("hold", prove.DefaultTimes.Hold, "how long it must then stay")
	only      = flag.String("only", "", "ids to run, separated by commas; default all")
	parallel  = flag.Int("side-by-side", 1, "how many specs may be under way at once")
)

// TestAuthoring needs no cluster: the catalog and the specs agree.
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
	release, err := filelock.Dir(filepath.Dir(f.Path()))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	o := Options{Fleet: f, Times: prove.DefaultTimes, Parallel: *parallel, Out: os.Stdout, Verbose: true}
	o.Times.Settle, o.Times.Hold = *settle, *hold
	if *only != "" {
		ids := "," + *only + ","
		o.Skip = func(id string) (string, bool) { return "not asked for", !strings.Contains(ids, ","+id+",") }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := Run(ctx, t, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range s.Leaks {
		t.Errorf("left behind: %s", left)
	}
}
