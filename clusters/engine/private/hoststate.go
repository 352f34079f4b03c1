package private

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// filterPrograms and filterTables are the tables in which dockerd works, of both address families.
var (
	filterPrograms = []string{"iptables", "ip6tables"}
	filterTables   = []string{"filter", "nat"}
)

// parameters are the kernel's, in /proc/sys/net, that a private engine changes.
var parameters = []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding", bridgedIPv6}

// bridgedIPv6 says whether ip6tables also see what stays within one bridge. Docker before 27 then
// drops neighbor solicitations on an internal network, since the multicast addresses they go to are
// not in the network's range: nobody finds a neighbor there. What goes from one bridge to another
// is always seen, so networks stay apart without it.
const bridgedIPv6 = "bridge/bridge-nf-call-ip6tables"

// hostNetwork is the part of the host's network that an engine changes when it starts.
type hostNetwork struct {
	// Parameters are values of [parameters] that the kernel has.
	Parameters map[string]string `json:"parameters"`
	// Rules are the lines of `PROGRAM -t TABLE -S`, by program and table, for example "iptables nat".
	Rules map[string][]string `json:"rules"`
}

// undo returns the commands that remove what dockerd added between before and now: rules
// that name a DOCKER chain or one of our bridges, those chains, and the policy DROP of FORWARD. It
// keeps the rules of others. When another dockerd shares the chains, it removes only rules that
// name our bridges.
func undo(before, now hostNetwork, bridges []string, shared bool) [][]string {
	var cmds [][]string
	for _, table := range slices.Sorted(maps.Keys(now.Rules)) {
		command := strings.Fields(table)
		command = []string{command[0], "--wait", "-t", command[1]}
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
				cmds = append(cmds, slices.Concat(command, []string{"-D"}, f[1:]))
			case f[0] == "-N" && dockerChain(f[1]) && !shared:
				chains = append(chains, slices.Concat(command, []string{"-X", f[1]}))
			case r == "-P FORWARD DROP" && !shared && slices.Contains(before.Rules[table], "-P FORWARD ACCEPT"):
				policies = append(policies, slices.Concat(command, []string{"-P", "FORWARD", "ACCEPT"}))
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
