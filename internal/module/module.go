// Package module says what this Go module is called, and what is named after it.
package module

// domain is the domain of the project.
const domain = "ambient.test"

// Path is the module path of go.mod. The stand-ins are a module of their own below it; see
// Standins.
const Path = domain + "/conformance"

// Standins is the module path of the stand-ins, which neither import this module nor are imported.
const Standins = Path + "/standins"

// Registry is where the references of the images begin that the suite builds. Nobody can be asked
// for them there, so an image of this name was built.
const Registry = domain + "/"

// Labels is how the labels begin that the suite gives containers, networks and images of the
// container engine.
const Labels = domain + "/"
