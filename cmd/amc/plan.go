package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/run"
)

// planFlags are the user's part of a plan. Every verb that makes a plan has the same flags for it.
type planFlags struct {
	profile string
	filters plan.Filters
	claims  []string
	// meshChanges lets specs change istio-system in clusters that the suite has not made, in this run
	// only. The fleet file can allow it for every run.
	meshChanges bool
}

func (p *planFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.profile, "profile", string(behaviors.ProfileCore), "one of "+words(behaviors.Profiles))
	f.StringSliceVar(&p.filters.Include, "include", nil, "run only these behaviors: ids, globs (GW-*) or chapters (LB)")
	f.StringSliceVar(&p.filters.Exclude, "exclude", nil, "run all behaviors but these: ids, globs or chapters")
	f.StringSliceVar(&p.claims, "claim", nil, "features that the implementation claims; `amc list --features` names them")
	f.BoolVar(&p.meshChanges, "allow-mesh-changes", false,
		"let specs change istio-system in clusters that the suite has not made; they undo their changes")
	complete(c, "profile", strs(behaviors.Profiles))
	complete(c, "claim", featureWords())
	for _, flag := range []string{"include", "exclude"} {
		if err := c.RegisterFlagCompletionFunc(flag, completeIDs); err != nil {
			panic(err) // the flag is declared above
		}
	}
}

func (p *planFlags) selection() run.Selection {
	filters := plan.Filters{Include: patterns(p.filters.Include), Exclude: patterns(p.filters.Exclude)}
	s := run.Selection{Profile: behaviors.Profile(p.profile), Filters: filters, AllowMeshChanges: p.meshChanges}
	for _, f := range p.claims {
		s.Claims = append(s.Claims, behaviors.Feature(f))
	}
	return s
}

func (p *planFlags) plan(env plan.Environment) (*plan.Plan, error) {
	computed, err := p.selection().Plan(env)
	if err != nil {
		return nil, usage("%w", err)
	}
	return computed, nil
}

// standInImages are the images that may be stand-ins.
var standInImages = []string{"ztunnel", "proxyv2"}

// imagined is a fleet that exists only as flags. Without flags it is the fleet that `amc up`
// creates.
type imagined struct {
	istio          string
	clusters       int
	lack, standIns []string
}

// flags declares the flags and returns their names.
func (i *imagined) flags(c *cobra.Command) []string {
	f := c.Flags()
	f.StringVar(&i.istio, "istio", plan.Supported[0].Istio, "version of Istio")
	f.IntVar(&i.clusters, "clusters", 2, "number of clusters")
	f.StringSliceVar(&i.lack, "lack", nil, "what the fleet lacks: "+words(lackable()))
	f.StringSliceVar(&i.standIns, "stand-in", nil, "images that are stand-ins: "+words(standInImages))
	complete(c, "lack", strs(lackable()))
	complete(c, "stand-in", standInImages)
	return []string{"istio", "clusters", "lack", "stand-in"}
}

// lackable are the needs whose absence changes a plan: a spec has them, and the fleet that `amc up`
// creates meets them.
func lackable() []behaviors.Need {
	has := run.Environment(&mesh.Fleet{Provider: mesh.ProviderKind}).Has
	return slices.DeleteFunc(behaviors.Needs(), func(n behaviors.Need) bool {
		_, met := has[n]
		return !met || !slices.ContainsFunc(behaviors.WithSpecs(), func(b *behaviors.Behavior) bool { return slices.Contains(b.Needs, n) })
	})
}

func (i *imagined) environment() (plan.Environment, error) {
	if i.clusters < 1 {
		return plan.Environment{}, usage("--clusters %d: a fleet has at least one", i.clusters)
	}
	f := &mesh.Fleet{Provider: mesh.ProviderKind, Istio: i.istio, Images: map[string]mesh.ImageRef{}}
	for n := range i.clusters {
		// All clusters of `amc up` give their services addresses from the same range.
		f.Clusters = append(f.Clusters,
			&mesh.Cluster{Name: fmt.Sprintf("cluster%d", n+1), Network: fmt.Sprintf("network%d", n+1), ServiceCIDR: "any"})
	}
	for _, s := range i.standIns {
		if !slices.Contains(standInImages, s) {
			return plan.Environment{}, usage("--stand-in %q must be one of: %s", s, words(standInImages))
		}
		f.Images[s] = mesh.ImageRef{StandIn: "as --stand-in says"}
	}
	env := run.Environment(f)
	for _, name := range i.lack {
		if !slices.Contains(lackable(), behaviors.Need(name)) {
			return env, usage("--lack %q must be one of: %s", name, words(lackable()))
		}
		env.Has[behaviors.Need(name)] = false
	}
	return env, nil
}

func planCommand() *cobra.Command {
	var fleet, format, implementation string
	var certified bool
	var chosen planFlags
	var without imagined
	var describing []string
	c := &cobra.Command{
		Use:   "plan",
		Short: "print what a run would prove, what it would skip, and why",
		Long: `Plan prints what a run with the same fleet and flags would do. It is the dry run of ` + "`amc run`" + `: it calls no
cluster and writes no file. Without a fleet file, flags describe the fleet. Without these flags it is the fleet that
` + "`amc up`" + ` creates.

With --certified it also says what would keep the run from a certificate, whatever its specs will show, and fails
(exit code 3) as the run would.`,
		Example: `  amc plan --fleet _artifacts/fleet.yaml
  amc plan --fleet _artifacts/fleet.yaml --certified --implementation vendor.yaml
  amc plan --profile smoke --clusters 3 --lack mesh-admin,mesh-ca
  amc plan --istio 1.28 --stand-in ztunnel -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if certified && fleet == "" {
				return usage("--certified is about clusters that are there: name their fleet file with --fleet")
			}
			env, err := without.environment()
			if fleet != "" {
				for _, name := range describing {
					if c.Flags().Changed(name) {
						return usage("--%s describes a fleet, but --fleet names a real one: leave one of them out", name)
					}
				}
				f, err := mesh.Load(fleet)
				if err != nil {
					return usage("%w", err)
				}
				env = run.Environment(f)
			} else if err != nil {
				return err
			}
			p, err := chosen.plan(env)
			if err != nil {
				return err
			}
			warnBeyond(c, format, env.Istio)
			if err := writePlan(c.OutOrStdout(), p, format); err != nil || !certified {
				return err
			}
			o := run.Options{Fleet: fleet, Selection: chosen.selection()}
			if o.Implementation, err = readImplementation(implementation); err != nil {
				return err
			}
			if err := run.Certifiable(o); err != nil {
				return usage("%w", err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&fleet, "fleet", "", "fleet file of the fleet that would be tested")
	c.Flags().BoolVar(&certified, "certified", false, "say what would keep the run from a certificate (docs/certify.md)")
	implementationFlag(c, &implementation)
	chosen.flags(c)
	describing = without.flags(c)
	outputFlag(c, &format, formatTable, formatJSON, formatMarkup)
	return c
}

func writePlan(out io.Writer, p *plan.Plan, format string) error {
	switch format {
	case formatJSON:
		return writeJSON(out, planJSON(p))
	case formatMarkup:
		fmt.Fprintf(out, "%s\n\n| id | status | why |\n| --- | --- | --- |\n", p.Sentence())
		for _, e := range p.Run {
			fmt.Fprintf(out, "| %s | runs | %s |\n", e.Behavior.ID, cell(e.Behavior.Promise))
		}
		for _, e := range p.Skip {
			fmt.Fprintf(out, "| %s | skipped (%s) | %s |\n", e.Behavior.ID, e.Class, cell(e.Reason))
		}
		for _, e := range p.NotAutomated {
			fmt.Fprintf(out, "| %s | no spec | %s |\n", e.Behavior.ID, cell(e.Reason))
		}
		return nil
	}
	rows := [][]string{{"ID", "LEVEL", "STATUS", "WHY"}}
	for _, e := range p.Run {
		rows = append(rows, []string{e.Behavior.ID, string(e.Behavior.Level), "runs", e.Behavior.Promise})
	}
	for _, class := range plan.Classes {
		for _, e := range p.Skip {
			if e.Class == class {
				rows = append(rows, []string{e.Behavior.ID, string(e.Behavior.Level), "skip: " + string(class), e.Reason})
			}
		}
	}
	for _, e := range p.NotAutomated {
		rows = append(rows, []string{e.Behavior.ID, string(e.Behavior.Level), "no spec", e.Reason})
	}
	if err := table(out, rows); err != nil {
		return err
	}
	return sentences(out, p.Sentence())
}

type skipped struct {
	ID     string     `json:"id"`
	Class  plan.Class `json:"class,omitempty"`
	Reason string     `json:"reason"`
}

func planJSON(p *plan.Plan) any {
	doc := struct {
		Catalog      string            `json:"catalog"`
		Profile      behaviors.Profile `json:"profile"`
		Environment  plan.Environment  `json:"environment"`
		Filters      plan.Filters      `json:"filters"`
		Run          []string          `json:"run"`
		Skip         []skipped         `json:"skip"`
		NotAutomated []skipped         `json:"notAutomated"`
	}{behaviors.Digest(), p.Profile, p.Environment, p.Filters, []string{}, []skipped{}, []skipped{}}
	for _, e := range p.Run {
		doc.Run = append(doc.Run, e.Behavior.ID)
	}
	for _, e := range p.Skip {
		doc.Skip = append(doc.Skip, skipped{e.Behavior.ID, e.Class, e.Reason})
	}
	for _, e := range p.NotAutomated {
		doc.NotAutomated = append(doc.NotAutomated, skipped{ID: e.Behavior.ID, Reason: e.Reason})
	}
	return doc
}
