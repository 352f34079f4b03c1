package prove

import (
	"cmp"
	"maps"
	"slices"

	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

// Seen is who answered calls from a cluster to services of a scope, once what a spec claimed of them held.
type Seen struct {
	From     string         // cluster of the client
	Scope    string         // local or global, the same in all clusters
	Service  string         // kind of service, such as echo or echo behind a waypoint
	Answered map[string]int // calls by cluster that answered
	Failed   int            // calls that nobody answered, as was expected of them
}

// labeled remembers which clusters have a service's label, by key.
func (v *Service) labeled(sites []*Site, key, value string) {
	v.spec.mu.Lock()
	defer v.spec.mu.Unlock()
	if v.spec.services == nil {
		v.spec.services = map[string]*Service{}
	}
	v.spec.services[v.Host()] = v
	if v.labels == nil {
		v.labels = map[string]map[string]string{}
	}
	if v.labels[key] == nil {
		v.labels[key] = map[string]string{}
	}
	for _, at := range sites {
		v.labels[key][at.Name] = value
	}
}

// everywhere says whether a label has the same value in all clusters, and which.
func (v *Service) everywhere(key string, sites []*Site) (value string, same bool) {
	for i, at := range sites {
		if got := v.labels[key][at.Name]; i == 0 {
			value = got
		} else if got != value {
			return "", false
		}
	}
	return value, true
}

// count counts settled calls of the mesh's clients to a service whose scope is the same in all clusters; others have no place in a table of scopes.
func (s *Spec) count(calls Calls, os traffic.Outcomes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.services[calls.host]
	if v == nil || slices.ContainsFunc(s.Sites, func(at *Site) bool { return at.Plain == calls.From }) {
		return
	}
	global, same := v.everywhere(workload.LabelGlobal, s.Sites)
	if !same {
		return
	}
	x := Seen{From: calls.From.Cluster.Name, Scope: "local", Service: "echo", Answered: map[string]int{}}
	if global == "true" {
		x.Scope = "global"
	}
	if waypoint, _ := v.everywhere(workload.LabelWaypoint, s.Sites); waypoint != "" {
		x.Service = "echo behind a waypoint"
	}
	for _, o := range os {
		if o.Kind == traffic.Reached && o.Cluster != "" {
			x.Answered[o.Cluster]++
		} else {
			x.Failed++
		}
	}
	s.result.Seen = Add(s.result.Seen, x)
}

// Add counts what was seen into a table, which stays sorted.
func Add(table []Seen, more ...Seen) []Seen {
	for _, x := range more {
		i, found := slices.BinarySearchFunc(table, x, func(a, b Seen) int {
			return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Service, b.Service))
		})
		if !found {
			table = slices.Insert(table, i, Seen{From: x.From, Scope: x.Scope, Service: x.Service, Answered: map[string]int{}})
		}
		table[i].Failed += x.Failed
		for cluster, n := range maps.All(x.Answered) {
			table[i].Answered[cluster] += n
		}
	}
	return table
}
