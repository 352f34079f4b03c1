package behaviors

// Chapter is a group of behaviors.
type Chapter struct {
	Prefix string // of the ids
	Name   string // what it is about, in a few words
	Suite  string // the package below suites where its specs live
}

// Chapters in the order of the catalog.
var Chapters = []Chapter{
	{"INST", "Installation and topology", "install"},
	{"SCOPE", "Service scope", "scope"},
	{"LB", "Load balancing", "balancing"},
	{"FO", "Locality failover", "failover"},
	{"WP", "Waypoints across clusters", "waypoint"},
	{"GW", "East-west gateway", "gateway"},
	{"ID", "Identity and policy", "identity"},
	{"CP", "Control plane and remote secrets", "controlplane"},
	{"TEL", "Telemetry", "telemetry"},
	{"DNS", "Names and virtual addresses", "dns"},
	{"SVC", "Kinds of services", "services"},
	{"ING", "Ingress", "ingress"},
	{"TRF", "Protocols and traffic shapes", "protocols"},
	{"RES", "Restarts and loss", "resilience"},
	{"INT", "Interoperation", "interop"},
	{"IPV", "Address families", "families"},
	{"TOP", "More clusters and gateways", "topology"},
	{"UPG", "Version skew and upgrade", "upgrade"},
	{"CLN", "Clean-up", "cleanup"},
}

// ChapterOf finds a chapter by the prefix of its ids.
func ChapterOf(prefix string) (Chapter, bool) {
	for _, c := range Chapters {
		if c.Prefix == prefix {
			return c, true
		}
	}
	return Chapter{}, false
}

func chapterIndex(prefix string) int {
	for i, c := range Chapters {
		if c.Prefix == prefix {
			return i
		}
	}
	return len(Chapters)
}

// Profile is a named selection of behaviors.
type Profile string

const (
	ProfileSmoke    Profile = "smoke"    // is this a multicluster mesh at all; minutes
	ProfileCore     Profile = "core"     // the core level, and the limitation probes users most need to know; the default
	ProfileExtended Profile = "extended" // core and every claimed feature
	ProfileLimits   Profile = "limits"   // what is documented as unsupported or not respected
	ProfileAll      Profile = "all"      // everything
)

// Profiles are all profiles, the smallest first.
var Profiles = []Profile{ProfileSmoke, ProfileCore, ProfileExtended, ProfileLimits, ProfileAll}

// profileLevels says which levels a profile runs whole; single behaviors are added with
// Behavior.In.
var profileLevels = map[Profile][]Level{
	ProfileCore:     {Core},
	ProfileExtended: {Core, Extended},
	ProfileLimits:   {Limitation},
	ProfileAll:      Levels,
}
