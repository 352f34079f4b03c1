package verify

// Rule is one rule. docs/verify-rules.md is generated from the table of rules.
type Rule struct {
	ID   string
	Says string // what must hold, in one sentence
	For  Scope  // which bundles must keep it
	// Foreseen: it can be judged on the best report that a plan allows, so a certified run that must
	// break it is refused before anything is created.
	Foreseen bool
	// ReadsFiles: it cannot be judged where files were not read, because the bundle holds something
	// that must not be opened.
	ReadsFiles bool
	check      func(*inspection) []string // what is wrong
}

// Scope is the bundles that must keep a rule.
type Scope string

// The scopes of rules.
const (
	Always        Scope = "every bundle"
	NeedsReport   Scope = "every bundle whose report can be read"
	OwnCatalog    Scope = "every bundle planned from the catalog of this release"
	CertifiedOnly Scope = "certified bundles"
	WhenAsked     Scope = "bundles verified with a key"
)

// Rules are all rules, in the order in which they are checked.
var Rules = []Rule{
	{
		ID: "B01", For: Always, check: (*inspection).sumsForm,
		Says: "The bundle was closed: SHA256SUMS is there, and each line is a sum and a plain relative name, sorted, no name twice.",
	},
	{
		ID: "B02", For: Always, check: (*inspection).plainFiles,
		Says: "The bundle holds plain files under plain names, not too many, not too large, and no links.",
	},
	{
		ID: "B03", For: Always, check: (*inspection).complete,
		Says: "SHA256SUMS lists every file of the bundle, and every file it lists is there.",
	},
	{
		ID: "B04", For: Always, check: (*inspection).sumsMatch, ReadsFiles: true,
		Says: "Every file has the sum that SHA256SUMS gives it.",
	},
	{
		ID: "B05", For: Always, check: (*inspection).noSecrets, ReadsFiles: true,
		Says: "No file, and no name of one, holds a private key, a token or another credential; the attestation does not either.",
	},
	{
		ID: "R01", For: Always, check: (*inspection).strictYAML,
		Says: "report.yaml is strict YAML: UTF-8, one document, no alias, no key twice, of limited size.",
	},
	{
		ID: "R02", For: Always, check: (*inspection).schema,
		Says: "report.yaml matches its schema.",
	},
	{
		ID: "R03", For: NeedsReport, check: (*inspection).finishedInTime,
		Says: "The run was finished and says when: not in the future, and no longer ago than the age allowed.",
	},
	{
		ID: "R04", For: NeedsReport, check: (*inspection).knownCatalog,
		Says: "The report was planned from a catalog that this release knows.",
	},
	{
		ID: "R05", For: NeedsReport, check: (*inspection).everyID,
		Says: "Every behavior of the catalog is in the report exactly once, in order, with the catalog's level and promise.",
	},
	{
		ID: "R06", For: NeedsReport, check: (*inspection).verdictsFit,
		Says: "Every verdict fits its details: a skip has a class and a reason, " +
			"a violation a message, a limitation one of its outcomes, and a conformant behavior an expectation and a control; " +
			"what was skipped has neither results nor times, and what held has no message.",
	},
	{
		ID: "R07", For: NeedsReport, check: (*inspection).recomputed,
		Says: "Counts, percentiles and result, and what is flaky or known, are those that follow from the behaviors.",
	},
	{
		ID: "R08", For: NeedsReport, check: (*inspection).claimsHold, Foreseen: true,
		Says: "A claimed feature has at least one behavior that ran, and all its behaviors that ran are conformant.",
	},
	{
		ID: "R09", For: OwnCatalog, check: (*inspection).rendersTheSame, ReadsFiles: true,
		Says: "junit.xml, report.html and summary.md are, byte for byte, what this release renders from report.yaml.",
	},
	{
		ID: "R10", For: NeedsReport, check: (*inspection).evidenceFits,
		Says: "The evidence that the report names is in the bundle, in the folder of its behavior.",
	},
	{
		ID: "R11", For: NeedsReport, check: (*inspection).supported, Foreseen: true,
		Says: "The Istio version is one, it is what istiod says, and it is within the support window, in each cluster.",
	},
	{
		ID: "R12", For: OwnCatalog, check: (*inspection).asPlanned,
		Says: "Planned again from the report's environment, profile, filters and claims, the same behaviors run, " +
			"are skipped with the same class and reason, and have no spec.",
	},
	{
		ID: "R13", For: OwnCatalog, check: (*inspection).canonical,
		Says: "report.yaml is written as this release writes it, byte for byte, so every reader of YAML reads the same.",
	},
	{
		ID: "R14", For: OwnCatalog, check: (*inspection).besideAgree, ReadsFiles: true,
		Says: "preflight.json holds the preflight checks of the report, and ginkgo.json has each of its specs once, " +
			"in a state that fits the verdict.",
	},
	{
		ID: "C01", For: CertifiedOnly, check: (*inspection).nothingTakenOut, Foreseen: true,
		Says: "The user took nothing out: no filter, no skip by the user.",
	},
	{
		ID: "C02", For: CertifiedOnly, check: (*inspection).noRetries,
		Says: "Nothing was retried, so nothing is flaky.",
	},
	{
		ID: "C03", For: CertifiedOnly, check: (*inspection).noStandIns, Foreseen: true,
		Says: "No stand-in ran in place of a component of Istio, and nothing was skipped for one. " +
			"An image of ztunnel or proxyv2 that the suite built is one.",
	},
	{
		ID: "C04", For: CertifiedOnly, check: (*inspection).cleanLeaks,
		Says: "The check for leaks ran and found none.",
	},
	{
		ID: "C05", For: CertifiedOnly, check: (*inspection).metadata, Foreseen: true,
		Says: "The implementation is named: organization, project, a released version, an https address and a contact.",
	},
	{
		ID: "C06", For: CertifiedOnly, check: (*inspection).suiteKnown, Foreseen: true,
		Says: "The suite is known by version and commit, and had no uncommitted changes.",
	},
	{
		ID: "C07", For: CertifiedOnly, check: (*inspection).isolated, Foreseen: true,
		Says: "The fleet has two clusters and two networks at least. The networks were proven isolated before anything ran, " +
			"by probes that all held, or by INST-14 on clusters that the suite did not create; and no preflight check failed.",
	},
	{
		ID: "C08", For: CertifiedOnly, check: (*inspection).digests, Foreseen: true,
		Says: "The images of the mesh, pilot, install-cni, ztunnel and proxyv2, are named by digest, in each cluster.",
	},
	{
		ID: "C09", For: CertifiedOnly, check: (*inspection).coreHolds, Foreseen: true,
		Says: "The profile is core or larger, and all of its core behaviors are conformant or skipped for the version, or, on clusters of " +
			"others, for what only a fleet of the suite's own has; those skipped for a stand-in are C03's.",
	},
	{
		ID: "C10", For: CertifiedOnly, check: (*inspection).strictLimits, Foreseen: true,
		Says: "The limits are in the report and no looser than the defaults: a convergence timeout (settle) of 30 s at most, " +
			"a hold time of 5 s at least, 5 s at most for a call and 300 s at most for a spec.",
	},
	{
		ID: "C11", For: CertifiedOnly, check: (*inspection).appDigest,
		Says: "The application that specs call, app, is named by the digest that its pods ran.",
	},
	{
		ID: "C12", For: CertifiedOnly, check: (*inspection).oneFleet, Foreseen: true,
		Says: "All specs ran on one fleet: they were not divided among twins.",
	},
	{
		ID: "S01", For: WhenAsked, check: (*inspection).signed,
		Says: "The sums and verdicts of the bundle are signed with the key.",
	},
	{
		ID: attestedRule, For: Always, check: (*inspection).attested,
		Says: "An attestation in the bundle is one of this bundle's SHA256SUMS, whoever signed it, in an envelope that every reader reads alike.",
	},
}
