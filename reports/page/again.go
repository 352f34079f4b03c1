package page

import (
	"fmt"
	"strings"

	"ambient.test/conformance/reports/api/v1alpha2"
)

// again is the command that runs the specs of a report again, in the same order and with the same
// limits, on the fleet of the file that it names.
func again(r *v1alpha2.ConformanceReport) string {
	words := []string{"amc run --fleet fleet.yaml --artifacts again --profile", r.Profile}
	add := func(flag string, values ...string) {
		if len(values) > 0 {
			words = append(words, "--"+flag, quoted(strings.Join(values, ",")))
		}
	}
	if r.Mode == v1alpha2.ModeCertified {
		words = append(words, "--certified --implementation vendor.yaml")
	}
	add("include", r.Filters.Include...)
	add("exclude", r.Filters.Exclude...)
	var claims []string
	for _, f := range r.Features {
		claims = append(claims, f.Name)
	}
	add("claim", claims...)
	if r.Environment.MeshAdmin {
		words = append(words, "--allow-mesh-changes")
	}
	flags := map[string]string{"settle": "settle", "hold": "hold", "spec": "spec-timeout"}
	for _, t := range r.Timeouts {
		if flag := flags[t.Name]; flag != "" {
			add(flag, fmt.Sprintf("%gs", t.Seconds))
		}
	}
	add("seed", fmt.Sprint(r.Seed))
	return strings.Join(words, " ")
}

// quoted keeps a shell from reading more into a value than it says.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-,/") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
