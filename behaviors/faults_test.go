package behaviors

import (
	"fmt"
	"strings"
	"testing"
)

func TestMistakesOfFaults(t *testing.T) {
	red := &Behavior{ID: "LB-01", State: Proven, Mutants: []string{"M01"}}
	catalog := map[string]*Behavior{
		"LB-01": red, "LB-02": {ID: "LB-02", State: notAutomated("planned")}, "LB-03": {ID: "LB-03", State: Proven},
	}
	threads, both := []string{"istio/istio#1"}, []string{"LB-01", "LB-02"}
	for name, c := range map[string]struct {
		fault Fault
		want  string // empty: no mistake
	}{
		"shown":           {Fault{Threads: threads, Behaviors: both, ShownBy: "LB-01"}, ""},
		"not shown":       {Fault{Threads: threads, Behaviors: both, WhyNot: "LB-02 has no spec yet"}, ""},
		"a note":          {Fault{Threads: []string{"a-note"}, WhyNot: "it is late"}, ""},
		"no thread":       {Fault{Says: "it breaks", WhyNot: "it is late"}, "no thread tells"},
		"odd thread":      {Fault{Threads: []string{"#1"}, WhyNot: "it is late"}, `thread "#1"`},
		"no behavior":     {Fault{Threads: threads, Behaviors: []string{"LB-99"}, WhyNot: "it is late"}, "no behavior LB-99"},
		"shown elsewhere": {Fault{Threads: threads, Behaviors: []string{"LB-02"}, ShownBy: "LB-01"}, "which it does not break"},
		"neither":         {Fault{Threads: threads}, "either which behavior"},
		"both":            {Fault{Threads: threads, Behaviors: both, ShownBy: "LB-01", WhyNot: "it is late"}, "either which behavior"},
		"no spec":         {Fault{Threads: threads, Behaviors: both, ShownBy: "LB-02"}, "has no spec"},
		"never red":       {Fault{Threads: threads, Behaviors: []string{"LB-03"}, ShownBy: "LB-03"}, "nothing has turned red"},
		"has one now":     {Fault{Threads: threads, Behaviors: both, WhyNot: "LB-01 has no spec yet"}, "has a spec now"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkFaults(catalog, []Fault{c.fault})
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if got := fmt.Sprint(err); !strings.Contains(got, c.want) {
				t.Errorf("got %v, want %q", got, c.want)
			}
		})
	}
}

func TestAThreadTellsOfOneFault(t *testing.T) {
	f := Fault{Threads: []string{"istio/istio#1"}, WhyNot: "it is late"}
	if got := fmt.Sprint(checkFaults(nil, []Fault{f, f})); !strings.Contains(got, "tells of two faults") {
		t.Errorf("got %s, want that the thread tells of two", got)
	}
}
