//go:build mutant

package fault

import "os"

var (
	hidesAborts    = os.Getenv(Env) == "hides-aborts"
	hidesMutualTLS = os.Getenv(Env) == "hides-mutual-tls"
	cutsKept       = os.Getenv(Env) == "cuts-kept"
	refusesSome    = os.Getenv(Env) == "refuses-some"
)
