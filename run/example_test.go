package run_test

import (
	"context"
	"fmt"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/run"
)

// A vendor's own test embeds the suite. It needs a fleet file, which `amc fleet init` writes for
// clusters that are there already.
func Example() {
	report, err := run.Run(context.Background(), run.Options{
		Fleet:     "fleet.yaml",
		Artifacts: "conformance",
		Selection: run.Selection{Profile: behaviors.ProfileCore},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Result, report.Summary.Conformant, "conformant")
}
