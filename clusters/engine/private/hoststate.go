package private

import (
	"regexp"
	"slices"
	"strings"
)

// filterTables are the tables in which dockerd works.
var filterTables = []string{"filter", "nat"}

// filterState is the part of the host's network that dockerd changes when it starts.
type filterState struct {
	// Forwarding is net.ipv4.ip_forward.
	Forwarding string `json:"forwarding"`
	// Rules are the lines of `iptables -t TABLE -S`, by table.
	Rules map[string][]string `json:"rules"`
}

// undo returns the iptables commands that remove what dockerd added between before and now: rules
// that name a DOCKER chain or one of our bridges, those chains, and the policy DROP of FORWARD. It
// keeps the rules of others. When another dockerd shares the chains, it removes only rules that
// name our bridges.
func undo(before, now filterState, bridges []string, shared bool) [][]string {
	var cmds [][]string
	for _, table := range filterTables {
		known := map[string]int{}
		for _, r := range before.Rules[table] {
			known[r]++
		}
		var policies, chains [][]string
		for _, r := range now.Rules[table] {
			if known[r] > 0 {
				known[r]--
				continue
			}
			f := strings.Fields(r)
			if len(f) < 2 || strings.Contains(r, `"`) { // dockerd writes no comments, so a quoted text is somebody else's
				continue
			}
			ofBridge := slices.ContainsFunc(f, func(w string) bool { return slices.Contains(bridges, w) })
			ofDocker := !shared && slices.ContainsFunc(f[1:], dockerChain)
			switch {
			case f[0] == "-A" && (ofBridge || ofDocker):
				cmds = append(cmds, append([]string{"-t", table, "-D"}, f[1:]...))
			case f[0] == "-N" && dockerChain(f[1]) && !shared:
				chains = append(chains, []string{"-t", table, "-X", f[1]})
			case r == "-P FORWARD DROP" && !shared && slices.Contains(before.Rules[table], "-P FORWARD ACCEPT"):
				policies = append(policies, []string{"-t", table, "-P", "FORWARD", "ACCEPT"})
			}
		}
		cmds = append(append(cmds, chains...), policies...)
	}
	return cmds
}

func dockerChain(word string) bool { return word == "DOCKER" || strings.HasPrefix(word, "DOCKER-") }

var bridgeKey = regexp.MustCompile(`docker/network/v1\.0/bridge/([0-9a-f]{64})/`)

// bridgesIn returns all bridges in dockerd's network database. Their names come from random ids, so
// a device with such a name is ours.
func bridgesIn(db string) []string {
	var names []string
	for _, m := range bridgeKey.FindAllStringSubmatch(db, -1) {
		names = append(names, "br-"+m[1][:12])
	}
	slices.Sort(names)
	return slices.Compact(names)
}
