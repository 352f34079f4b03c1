// Package fault has what only a mutant of this proxy does: faults that no configuration gives, by
// which the suite shows that its specs notice them. They are compiled into an image of their own, with
// the build tag mutant, that no fleet runs unless a mutant puts it there.
package fault

// Env is the environment variable that names the fault of a mutant.
const Env = "AMC_FAULT"

// HidesAborts says that an end never learns that the other one has broken off.
func HidesAborts() bool { return hidesAborts }

// HidesMutualTLS says that connections are not counted as mutual TLS, although they are.
func HidesMutualTLS() bool { return hidesMutualTLS }
