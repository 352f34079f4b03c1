package kind

import (
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"ambient.test/conformance/internal/module"
)

// Everything that a run makes carries its id twice: in the name, as amc-<run>-..., and in a label.
// Only what has both is ever deleted.
const (
	LabelRun  = module.Labels + "run"  // the run's id
	LabelFrom = module.Labels + "from" // host:folder of the run's fleet file, to tell a run that is used from one that was left behind
)

// MaxClusters is how many clusters a fleet may have: each has ten gateway addresses in the transit
// network.
const MaxClusters = 9

var runIDs = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// NewRunID makes up a run id: six letters and digits.
func NewRunID() string { return strings.ToLower(rand.Text()[:6]) }

// CheckRunID says whether id can be part of container and host names.
func CheckRunID(id string) error {
	if !runIDs.MatchString(id) {
		return fmt.Errorf("run id %q: use 1 to 12 lower-case letters and digits", id)
	}
	return nil
}

// from is the value of LabelFrom for a run whose fleet file is in dir.
func from(dir string) string {
	host, _ := os.Hostname()
	return host + ":" + dir
}

func prefix(run string) string             { return "amc-" + run + "-" }
func kindName(run string, n int) string    { return fmt.Sprintf("%sc%d", prefix(run), n) }
func networkName(run string, n int) string { return fmt.Sprintf("%snet%d", prefix(run), n) }
func transitName(run string) string        { return prefix(run) + "transit" }
func imageName(run string) string          { return prefix(run) + "node" }

// nodeNames are the names that kind gives to the nodes of a cluster: a control plane, and workers.
func nodeNames(kindName string, n int) []string {
	names := []string{kindName + "-control-plane"}
	for i := 1; i < n; i++ {
		name := kindName + "-worker"
		if i > 1 {
			name += strconv.Itoa(i)
		}
		names = append(names, name)
	}
	return names
}
