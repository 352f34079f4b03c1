//go:build !mutant

package fault

const hidesAborts, hidesMutualTLS, cutsKept, refusesSome = false, false, false, false
