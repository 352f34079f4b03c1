package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/plan"
	"ambient.test/conformance/run"
)

// wishes are the user's part of a plan: the same flags for `amc plan` and whatever runs it.
type wishes struct {
	profile string
	filters plan.Filters
	claims  []string
	// meshAdmin lets specs change istio-system in clusters that are not ours, for this once; the fleet file may allow it for good.
	meshAdmin bool
}

func (w *wishes) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&w.profile, "profile", string(behaviors.ProfileCore), fmt.Sprintf("one of %s", words(behaviors.Profiles)))
	f.StringSliceVar(&w.filters.Include, "include", nil, "only these: ids, globs (GW-*) or chapters (LB)")
	f.StringSliceVar(&w.filters.Exclude, "exclude", nil, "all but these")
	f.StringSliceVar(&w.claims, "claim", nil, "features that the implementation claims (`amc list --features` names them)")
	f.BoolVar(&w.meshAdmin, "allow-mesh-changes", false, "let specs change istio-system in clusters that the suite has not made, and put it back")
	complete(c, "profile", strs(behaviors.Profiles))
	complete(c, "claim", featureWords())
	for _, flag := range []string{"include", "exclude"} {
		if err := c.RegisterFlagCompletionFunc(flag, completeIDs); err != nil {
			panic(err) // the flag is declared above
		}
	}
}

func (w *wishes) selection() run.Selection {
	s := run.Selection{Profile: behaviors.Profile(w.profile), Filters: w.filters, AllowMeshChanges: w.meshAdmin}
	for _, f := range w.claims {
		s.Claims = append(s.Claims, behaviors.Feature(f))
	}
	return s
}

func (w *wishes) plan(env plan.Environment) (*plan.Plan, error) {
	p, err := w.selection().Plan(env)
	if err != nil {
		return nil, usage("%w", err)
	}
	return p, nil
}

// facts are what --have and --lack may say of an environment, in the words of needs.
var facts = map[behaviors.Need]func(*plan.Environment) *bool{
	behaviors.Waypoints:     func(e *plan.Environment) *bool { return &e.Waypoints },
	behaviors.MeshCA:        func(e *plan.Environment) *bool { return &e.MeshCA },
	behaviors.MeshAdmin:     func(e *plan.Environment) *bool { return &e.MeshAdmin },
	behaviors.Disruptive:    func(e *plan.Environment) *bool { return &e.Owned },
	behaviors.NodeAccess:    func(e *plan.Environment) *bool { return &e.NodeAccess },
	behaviors.Sidecars:      func(e *plan.Environment) *bool { return &e.Sidecars },
	behaviors.IngressGW:     func(e *plan.Environment) *bool { return &e.Ingress },
	behaviors.IPv6:          func(e *plan.Environment) *bool { return &e.IPv6 },
	behaviors.SameAddresses: func(e *plan.Environment) *bool { return &e.SameAddresses },
}

// described is an environment told by flags; untouched, they tell of the fleet that `amc up` makes.
type described struct {
	istio, other              string
	clusters, networks, nodes int
	have, lack, standIns      []string
}

func (d *described) flags(c *cobra.Command) []string {
	known := words(slices.Sorted(maps.Keys(facts)))
	f := c.Flags()
	f.StringVar(&d.istio, "istio", plan.Supported[0].Istio, "Istio's version")
	f.StringVar(&d.other, "other-istio", "", "a second Istio version that is at hand")
	f.IntVar(&d.clusters, "clusters", 2, "how many clusters")
	f.IntVar(&d.networks, "networks", 0, "how many networks (default: one for each cluster)")
	f.IntVar(&d.nodes, "nodes", 1, "nodes of the largest cluster")
	f.StringSliceVar(&d.have, "have", nil, "what the fleet has beyond one of our own: "+known)
	f.StringSliceVar(&d.lack, "lack", nil, "what it lacks, in the same words")
	f.StringSliceVar(&d.standIns, "stand-in", nil, "images that something stands in for: ztunnel, proxyv2")
	complete(c, "have", strs(slices.Sorted(maps.Keys(facts))))
	complete(c, "lack", strs(slices.Sorted(maps.Keys(facts))))
	complete(c, "stand-in", []string{"ztunnel", "proxyv2"})
	return []string{"istio", "other-istio", "clusters", "networks", "nodes", "have", "lack", "stand-in"}
}

func (d *described) environment() (plan.Environment, error) {
	if d.clusters < 1 || d.networks < 0 || d.networks > d.clusters || d.nodes < 1 {
		return plan.Environment{}, usage("%d clusters on %d networks with %d nodes cannot be: at least one cluster and node, and no more networks than clusters", d.clusters, d.networks, d.nodes)
	}
	if d.networks == 0 {
		d.networks = d.clusters
	}
	f := &mesh.Fleet{Provider: mesh.ProviderKind, Istio: d.istio, Images: map[string]mesh.ImageRef{}}
	for i := range d.clusters {
		f.Clusters = append(f.Clusters, &mesh.Cluster{Name: fmt.Sprintf("cluster%d", i+1), Network: fmt.Sprintf("network%d", i%d.networks+1)})
	}
	for _, s := range d.standIns {
		if s != "ztunnel" && s != "proxyv2" {
			return plan.Environment{}, usage("--stand-in %q is unknown: choose of ztunnel, proxyv2", s)
		}
		f.Images[s] = mesh.ImageRef{StandIn: "as --stand-in says"}
	}
	env := run.Environment(f)
	env.Nodes, env.OtherIstio, env.SameAddresses = d.nodes, d.other, true
	for i, list := range [][]string{d.lack, d.have} {
		for _, name := range list {
			fact := facts[behaviors.Need(name)]
			if fact == nil {
				return env, usage("%q is nothing that a fleet has or lacks by a flag: choose of %s", name, words(slices.Sorted(maps.Keys(facts))))
			}
			*fact(&env) = i == 1
		}
	}
	return env, nil
}

func planCommand() *cobra.Command {
	var fleet, format string
	var w wishes
	var d described
	var describing []string
	c := &cobra.Command{
		Use:   "plan",
		Short: "say what a run would prove and what it would skip, and why, before anything runs",
		Long:  "Plan computes what a run with the same fleet and flags would do. Without a fleet file, flags describe the environment; by themselves they describe the fleet that `amc up` makes.",
		Example: `  amc plan --fleet _artifacts/fleet.yaml
  amc plan --profile smoke --clusters 3 --lack mesh-admin,node-access
  amc plan --istio 1.28 --stand-in ztunnel -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			env, err := d.environment()
			if fleet != "" {
				for _, name := range describing {
					if c.Flags().Changed(name) {
						return usage("--%s describes an environment, but --fleet names a real one: leave one of them out", name)
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
			p, err := w.plan(env)
			if err != nil {
				return err
			}
			return writePlan(c.OutOrStdout(), p, format)
		},
	}
	c.Flags().StringVar(&fleet, "fleet", "", "the fleet file of the fleet that would be tested")
	w.flags(c)
	describing = d.flags(c)
	outputFlag(c, &format, formatTable, formatJSON, formatMarkup)
	return c
}

func writePlan(out io.Writer, p *plan.Plan, format string) error {
	switch format {
	case formatJSON:
		return writeJSON(out, planJSON(p))
	case formatMarkup:
		fmt.Fprintf(out, "%s\n\n| id | fate | why |\n| --- | --- | --- |\n", p.Sentence())
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
	rows := [][]string{{"ID", "LEVEL", "FATE", "WHY"}}
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
	_, err := fmt.Fprintf(out, "\n%s\n", p.Sentence())
	return err
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
