package page

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"ambient.test/conformance/reports/api/v1alpha2"
	"ambient.test/conformance/reports/summary"
)

type (
	factTable struct {
		Name string
		Head []string
		Rows [][]fact
	}
	fact struct {
		Text string
		Code bool
	}
)

// Long reports whether a value is shown in a box that scrolls.
func (f fact) Long() bool { return len(f.Text) > 300 }

func row(values ...string) (facts []fact) {
	for _, v := range values {
		facts = append(facts, fact{Text: v})
	}
	return facts
}

// environment are the tables of the page's last section, in their order.
var environment = []struct {
	name string
	head []string // nil: the first column names the rows
	rows func(r *v1alpha2.ConformanceReport) [][]fact
}{
	{"Versions and facts", nil, factRows},
	{"Clusters", []string{"name", "network", "locality", "nodes", "pods, services", "gateways"}, clusterRows},
	{"Images", []string{"name", "from", "reference and digest"}, imageRows},
	{"Flags of istiod", []string{"name", "value", "cluster"}, flagRows},
	{"Claimed features", []string{"feature", "the claim", "shown by"}, featureRows},
	{"Preflight", []string{"check", "found", "detail"}, preflightRows},
	{"Isolation of the networks", nil, isolationRows},
	{"Where the time went", nil, phaseRows},
	{"Limits in force", nil, limitRows},
	{"Leftovers", nil, leakRows},
}

// tablesOf leaves out tables without rows.
func tablesOf(r *v1alpha2.ConformanceReport) (all []factTable) {
	for _, t := range environment {
		if rows := t.rows(r); len(rows) > 0 {
			all = append(all, factTable{t.name, t.head, rows})
		}
	}
	return all
}

func factRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	e := r.Environment
	for _, f := range [][2]string{
		{"Istio", e.Istio}, {"Kubernetes", e.Kubernetes}, {"Gateway API", e.GatewayAPI}, {"kernel", e.Kernel},
		{"architecture", e.Arch}, {"clusters made by", e.Provider}, {"implementation", summary.Implementation(r)},
		{"its address", r.Implementation.URL}, {"contact", strings.Join(r.Implementation.Contact, ", ")},
	} {
		if f[1] != "" {
			rows = append(rows, row(f[0], f[1]))
		}
	}
	if h := e.Host; h != nil {
		rows = append(rows, row("driven from", fmt.Sprintf("%d CPUs, %d MiB, %s", h.CPUs, h.MemoryMB, summary.OrUnknown(h.Engine))))
	}
	for _, f := range e.Facts {
		value := fact{Text: f.Value}
		value.Code = value.Long()
		rows = append(rows, []fact{{Text: f.Name}, value})
	}
	return rows
}

func clusterRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, c := range r.Environment.Clusters {
		rows = append(rows, row(c.Name, c.Network, strings.Trim(c.Region+"/"+c.Zone, "/"), fmt.Sprint(c.Nodes),
			c.PodCIDR+" "+c.ServiceCIDR, strings.Join(c.Gateways, " ")))
	}
	return rows
}

func imageRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, i := range r.Environment.Images {
		rows = append(rows, []fact{{Text: i.Name}, {Text: i.Source}, {Text: strings.TrimSpace(i.Ref + " " + i.Digest), Code: true}})
	}
	return rows
}

func flagRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, f := range r.Environment.IstiodFlags {
		rows = append(rows, []fact{{Text: f.Name}, {Text: f.Value, Code: true}, {Text: cmp.Or(f.Cluster, "all")}})
	}
	return rows
}

func featureRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, f := range r.Features {
		claim := "supported"
		if !f.Supported {
			claim = "not supported"
		}
		rows = append(rows, row(f.Name, claim, strings.Join(f.Behaviors, " ")))
	}
	return rows
}

func preflightRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, c := range r.Preflight {
		rows = append(rows, row(c.Name, string(c.Status), c.Detail))
	}
	return rows
}

func isolationRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	i := r.Isolation
	if i == nil {
		return nil
	}
	proven := "yes"
	if !i.Proven {
		proven = "no"
	}
	rows = append(rows, row("proven", proven+", at "+i.At.UTC().Format(time.DateTime)))
	for _, p := range i.Probes {
		rows = append(rows, row(p.From+" to "+p.To, p.Address+" "+probeSays(p)))
	}
	for _, d := range i.FirewallDrops {
		rows = append(rows, row(d.Cluster, "firewall drops: "+number(int(d.Packets), "packet", "packets")+" that tried to leave the fleet"))
	}
	return rows
}

func probeSays(p v1alpha2.IsolationProbe) string {
	s := "did not answer"
	if p.Reached {
		s = "answered"
	}
	if p.Answered != "" {
		s += ": " + p.Answered
	}
	if p.Control {
		s += " (control)"
	}
	if p.OK {
		return s + ", as it must"
	}
	return s + ", which it must not"
}

func phaseRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, p := range r.Phases {
		rows = append(rows, row(p.Name, secs(p.Seconds)))
	}
	return rows
}

func limitRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, t := range r.Timeouts {
		rows = append(rows, row(t.Name, secs(t.Seconds)))
	}
	if len(rows) > 0 || r.Seed != 0 {
		rows = append(rows, row("seed of the order", fmt.Sprint(r.Seed)))
	}
	return rows
}

func leakRows(r *v1alpha2.ConformanceReport) [][]fact {
	if r.Leaks == nil {
		return nil
	}
	found := "nothing was left behind"
	if !r.Leaks.Clean {
		found = strings.Join(r.Leaks.Found, ", ")
	}
	return [][]fact{row("after clean-up", found)}
}
