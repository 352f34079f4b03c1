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
		Fold string // what a folded table says; empty: it is shown
		Open bool   // it is folded and open, because something in it is wrong
	}
	fact struct {
		Text, Title string
		Code        bool
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
	fold func(r *v1alpha2.ConformanceReport) (says string, wrong bool) // nil: it is short
}{
	{"Clusters", []string{"name", "network", "locality", "nodes", "pods, services", "gateways"}, clusterRows, nil},
	{"Versions", nil, versionRows, nil},
	{"Where the time went", nil, phaseRows, nil},
	{"Limits in force", nil, limitRows, nil},
	{"Leftovers", nil, leakRows, nil},
	{"Claimed features", []string{"feature", "the claim", "shown by"}, featureRows, nil},
	{"Preflight", []string{"check", "found", "detail"}, preflightRows, foldPreflight},
	{"Isolation of the networks", nil, isolationRows, foldIsolation},
	{"Images", []string{"name", "from", "reference and digest"}, imageRows, func(r *v1alpha2.ConformanceReport) (string, bool) {
		return number(len(r.Environment.Images), "image", "images"), false
	}},
	{"Flags of istiod", []string{"name", "value", "cluster"}, flagRows, func(r *v1alpha2.ConformanceReport) (string, bool) {
		return number(len(r.Environment.IstiodFlags), "flag", "flags"), false
	}},
	{"Other facts", nil, factRows, func(r *v1alpha2.ConformanceReport) (string, bool) {
		return number(len(r.Environment.Facts), "fact", "facts"), false
	}},
}

func foldPreflight(r *v1alpha2.ConformanceReport) (says string, wrong bool) {
	count := map[v1alpha2.CheckStatus]int{}
	for _, c := range r.Preflight {
		count[c.Status]++
	}
	says = number(len(r.Preflight), "check", "checks")
	for _, s := range []v1alpha2.CheckStatus{v1alpha2.CheckOK, v1alpha2.CheckFixed, v1alpha2.CheckWarn, v1alpha2.CheckFail} {
		if count[s] > 0 {
			says += fmt.Sprintf(", %d %s", count[s], s)
		}
	}
	return says, count[v1alpha2.CheckFail] > 0
}

func foldIsolation(r *v1alpha2.ConformanceReport) (says string, wrong bool) {
	bad := 0
	for _, p := range r.Isolation.Probes {
		if !p.OK {
			bad++
		}
	}
	says = number(len(r.Isolation.Probes), "probe", "probes")
	if bad > 0 || !r.Isolation.Proven {
		return fmt.Sprintf("not proven; %s, %d as they must not", says, bad), true
	}
	return "proven; " + says + ", all as they must", false
}

// tablesOf leaves out tables without rows.
func tablesOf(r *v1alpha2.ConformanceReport) (all []factTable) {
	for _, t := range environment {
		rows := t.rows(r)
		if len(rows) == 0 {
			continue
		}
		x := factTable{Name: t.name, Head: t.head, Rows: rows}
		if t.fold != nil {
			x.Fold, x.Open = t.fold(r)
		}
		all = append(all, x)
	}
	return all
}

func versionRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
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
	for _, t := range e.Twins {
		n := 0
		for _, b := range r.Behaviors {
			if b.Twin == t.RunID {
				n++
			}
		}
		rows = append(rows, row("twin fleet", fmt.Sprintf("run %s, on which %d behaviors ran", t.RunID, n)))
	}
	if h := e.Host; h != nil {
		rows = append(rows, row("driven from", fmt.Sprintf("%d CPUs, %d MiB, %s", h.CPUs, h.MemoryMB, summary.OrUnknown(h.Engine))))
	}
	return rows
}

func factRows(r *v1alpha2.ConformanceReport) (rows [][]fact) {
	for _, f := range r.Environment.Facts {
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
		digest, whole := i.Digest, ""
		if at := len("sha256:") + 12; len(digest) > at {
			digest, whole = digest[:at]+"…", i.Digest
		}
		rows = append(rows, []fact{{Text: i.Name}, {Text: i.Source}, {Text: strings.TrimSpace(i.Ref + " " + digest), Title: whole, Code: true}})
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
