// Package api names the API group of the suite's files and labels.
//
// This package and those below it import nothing else of this module. A dashboard that reads
// reports needs only them.
package api

// Group is the API group of reports and fleet files. It is written here and nowhere else: moving
// the project to another domain changes this line and regenerates the schema.
const Group = "amc.ambient.test"
