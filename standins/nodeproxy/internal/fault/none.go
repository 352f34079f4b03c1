//go:build !mutant

package fault

const hidesAborts, hidesMutualTLS = false, false
