// Package module says what this Go module is called.
package module

// Path is the module path of go.mod. The stand-ins are a module of their own below it; see
// Standins.
const Path = "ambient.test/conformance"

// Standins is the module path of the stand-ins, which neither import this module nor are imported.
const Standins = Path + "/standins"
