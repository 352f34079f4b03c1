package plan

import (
	"fmt"
	"strings"
)

// Sentence sums the plan up.
func (p *Plan) Sentence() string {
	classes := map[Class]int{}
	for _, e := range p.Skip {
		classes[e.Class]++
	}
	var skipped []string
	for _, c := range Classes {
		if classes[c] > 0 {
			skipped = append(skipped, fmt.Sprintf("%d %s", classes[c], c))
		}
	}
	why := ""
	if len(skipped) > 0 {
		why = " (" + strings.Join(skipped, ", ") + ")"
	}
	return fmt.Sprintf("profile %s on Istio %s, %d clusters: %d run, %d are skipped%s, %d have no spec",
		p.Profile, p.Environment.Istio, p.Environment.Clusters, len(p.Run), len(p.Skip), why, len(p.NotAutomated))
}
