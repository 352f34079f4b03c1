package spec

import (
	"cmp"
	"maps"
	"slices"

	"istio.io/api/label"

	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// Answers count who answered calls from a cluster to services of a scope, once what a spec expected
// of them held.
type Answers struct {
	From      string         // cluster of the client
	Scope     string         // local or global, the same in all clusters
	Service   string         // kind of service, such as echo or echo behind a waypoint
	ByCluster map[string]int // calls by the cluster that answered
	Failed    int            // calls that nobody answered, as was expected
}

// noteLabel remembers which clusters have a Service's label, by key.
func (s *Service) noteLabel(clusters Clusters, key, value string) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.t.services == nil {
		s.t.services = map[string]*Service{}
	}
	s.t.services[s.Host()] = s
	if s.labels == nil {
		s.labels = map[string]map[string]string{}
	}
	if s.labels[key] == nil {
		s.labels[key] = map[string]string{}
	}
	for _, c := range clusters {
		s.labels[key][c.Name] = value
	}
}

// label returns the value that a label has in all clusters; same is false if they differ.
func (s *Service) label(key string, clusters Clusters) (value string, same bool) {
	for i, c := range clusters {
		if got := s.labels[key][c.Name]; i == 0 {
			value = got
		} else if got != value {
			return "", false
		}
	}
	return value, true
}

// countAnswers counts the answers to calls of the mesh's clients. Calls to services whose scope
// differs between clusters are not counted: they have no place in a table of scopes.
func (t *T) countAnswers(calls traffic.Calls, os traffic.Outcomes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.services[calls.Host]
	if s == nil || slices.ContainsFunc(t.Clusters, func(c *Cluster) bool { return c.Plain == calls.From }) {
		return
	}
	global, same := s.label(workload.LabelGlobal, t.Clusters)
	if !same {
		return
	}
	x := Answers{From: calls.From.Cluster.Name, Scope: "local", Service: "echo", ByCluster: map[string]int{}}
	if global == "true" {
		x.Scope = "global"
	}
	if waypoint, _ := s.label(label.IoIstioUseWaypoint.Name, t.Clusters); waypoint != "" {
		x.Service = "echo behind a waypoint"
	}
	for _, o := range os {
		if o.Kind == traffic.Reached && o.Cluster != "" {
			x.ByCluster[o.Cluster]++
		} else {
			x.Failed++
		}
	}
	t.result.Answers = AddAnswers(t.result.Answers, x)
}

// AddAnswers adds counts to a table, which stays sorted.
func AddAnswers(table []Answers, more ...Answers) []Answers {
	for _, x := range more {
		i, found := slices.BinarySearchFunc(table, x, func(a, b Answers) int {
			return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Service, b.Service))
		})
		if !found {
			table = slices.Insert(table, i, Answers{From: x.From, Scope: x.Scope, Service: x.Service, ByCluster: map[string]int{}})
		}
		table[i].Failed += x.Failed
		for cluster, n := range maps.All(x.ByCluster) {
			table[i].ByCluster[cluster] += n
		}
	}
	return table
}
