package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
	"ambient.test/conformance/reports/text"
	"ambient.test/conformance/reports/verify"
	"ambient.test/conformance/run"
)

func verifyCommand() *cobra.Command {
	var key, format string
	var days int
	var rules, certified bool
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "check a bundle against all rules, offline",
		Long: `Verify reads a bundle and nothing else. It exits with 0 when no rule is broken and with 1 when one is.

Sums show that nothing was changed since the bundle was closed. A signature shows who vouches for it. Neither
shows that the run happened: only a second run does.`,
		Example: `  amc verify _artifacts/run
  amc verify bundle --certified --key vendor.pub
  amc verify --rules                       # what is checked`,
		Args: func(c *cobra.Command, args []string) error {
			if rules {
				return cobra.NoArgs(c, args)
			}
			return operands(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			if rules {
				return writeRules(out, format)
			}
			o := verify.Options{MaxAge: time.Duration(days) * 24 * time.Hour, Certified: certified}
			if days == 0 || days < -1 {
				return usage("--max-age must be a number of days, or -1 for any age: %d allows no report", days)
			}
			if c.Flags().Changed("key") {
				if key == "" {
					return usage("--key must name the PEM file of a public key and is empty: without it no signature would be checked")
				}
				k, err := verify.PublicKey(key)
				if err != nil {
					return usage("%w", err)
				}
				o.Key = k
			}
			v, err := within(c.Context(), patience, "verify", func(ctx context.Context) (*verify.Result, error) {
				v, err := verify.Bundle(ctx, args[0], o)
				if err != nil {
					return nil, usage("%w", err)
				}
				return v, nil
			})
			if err != nil {
				return err
			}
			if err := writeVerification(out, v, format); err != nil {
				return err
			}
			if err := relyOn(args[0], v, certified); err != nil {
				return exit{exitNonConformant, err}
			}
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "", "PEM file with a public key (ed25519 or ECDSA P-256); the bundle must be signed with it")
	c.Flags().IntVar(&days, "max-age", int(verify.DefaultMaxAge.Hours()/24), "maximum age of the report in days; -1 for any age")
	c.Flags().BoolVar(&certified, "certified", false,
		"hold the bundle to the rules of certified bundles, and require that the run was certified and successful")
	c.Flags().BoolVar(&rules, "rules", false, "print the rules and check no bundle")
	outputFlag(c, &format, formatTable, formatJSON)
	return c
}

// relyOn says why a bundle must not be relied on.
func relyOn(name string, v *verify.Result, certified bool) error {
	switch n := len(v.Broken()); {
	case n == 1:
		return fmt.Errorf("a rule is broken: do not rely on %s", name)
	case n > 1:
		return fmt.Errorf("%d rules are broken: do not rely on %s", n, name)
	case certified && v.Report.Mode != v1alpha2.ModeCertified:
		return fmt.Errorf("no rule is broken, but its mode is %s, not certified", v.Report.Mode)
	case certified && v.Report.Result != v1alpha2.Success:
		return fmt.Errorf("no rule is broken, but its result is %s, not success", v.Report.Result)
	}
	return nil
}

func writeRules(out io.Writer, format string) error {
	if format == formatJSON {
		type rule struct {
			ID   string       `json:"id"`
			For  verify.Scope `json:"askedOf"`
			Says string       `json:"says"`
		}
		var all []rule
		for _, r := range verify.Rules {
			all = append(all, rule{r.ID, r.For, r.Says})
		}
		return writeJSON(out, all)
	}
	rows := [][]string{{"RULE", "APPLIES TO", "WHAT MUST HOLD"}}
	for _, r := range verify.Rules {
		rows = append(rows, []string{r.ID, string(r.For), r.Says})
	}
	return table(out, rows)
}

func writeVerification(out io.Writer, v *verify.Result, format string) error {
	if format == formatJSON {
		return writeJSON(out, struct {
			OK          bool    `json:"ok"`
			CheckedWith release `json:"checkedWith"`
			*verify.Result
		}{v.OK(), thisRelease(), v})
	}
	rows := [][]string{{"RULE", "FOUND", "WHAT MUST HOLD, OR WHY NOT"}}
	for _, f := range v.Findings {
		says := f.Says
		if f.Status != verify.Holds {
			says = f.Message
		}
		rows = append(rows, []string{f.Rule, string(f.Status), says})
	}
	if err := table(out, rows); err != nil {
		return err
	}
	says := fmt.Sprintf("%d files, %.1f MiB", v.Files, float64(v.Bytes)/(1<<20))
	ran := ""
	if r := v.Report; r != nil {
		says += fmt.Sprintf("; result %s, mode %s, profile %s, Istio %s:", r.Result, r.Mode, r.Profile, text.Line(r.Environment.Istio, 60))
		for i, c := range summary.Columns {
			if i > 0 {
				says += ","
			}
			says += fmt.Sprintf(" %d %s", c.Of(r.Summary), c.Name)
		}
		ran = fmt.Sprintf(", run with %s", text.Line(nameOf(r.Suite), 100))
	}
	return sentences(out, says, "checked with amc "+nameOf(run.Suite())+ran)
}
