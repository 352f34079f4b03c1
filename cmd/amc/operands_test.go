package main

import "testing"

func TestOperands(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"none of one":  {[]string{"verify"}, "amc verify wants BUNDLE and got nothing: `amc verify --help`"},
		"two of one":   {[]string{"verify", "a", "b"}, "amc verify wants BUNDLE and got a b"},
		"one of two":   {[]string{"diff", "a"}, "amc diff wants A B and got a"},
		"beside flags": {[]string{"sign"}, "amc sign wants BUNDLE and got nothing"},
		"at least one": {[]string{"explain"}, "amc explain wants ID... and got nothing"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, exitUsage, c.want, c.args...) })
	}
	ok(t, "explain", "LB-01", "LB-02")
}

func TestVersionsBeyondTheWindow(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"plan of an old one": {[]string{"plan", "--istio", "1.20"}, "Istio 1.20 is outside of the support window (1.31, 1.30, 1.29)"},
		"list of a new one":  {[]string{"list", "--istio", "9.99"}, "Istio 9.99 is outside of the support window"},
	} {
		t.Run(name, func(t *testing.T) { contains(t, ok(t, c.args...), c.want) })
	}
}
