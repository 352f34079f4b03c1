package main

import "strings"

// call is what the wrapper must know of a runtime's command line.
type call struct {
	command string // create, run, exec, ...; empty when there is none
	bundle  string // of create, run and restore; default the working directory
	process string // of exec; empty when the process is given by arguments
	log     string
	logJSON bool
}

// withValue names the flags that take the next argument as their value when they are not written
// with "=". The wrapper does not look at the argument after such a flag.
var withValue = map[string]bool{
	// global
	"root":       true,
	"log":        true,
	"log-format": true,
	"criu":       true,
	"rootless":   true,
	// create, run, restore
	"bundle":              true,
	"b":                   true,
	"console-socket":      true,
	"pid-file":            true,
	"preserve-fds":        true,
	"image-path":          true,
	"work-path":           true,
	"manage-cgroups-mode": true,
	"empty-ns":            true,
	"lsm-profile":         true,
	"lsm-mount-context":   true,
	"parent-path":         true,
	// exec
	"process":         true,
	"p":               true,
	"cwd":             true,
	"env":             true,
	"e":               true,
	"user":            true,
	"u":               true,
	"additional-gids": true,
	"g":               true,
	"process-label":   true,
	"apparmor":        true,
	"cap":             true,
	"c":               true,
	"cgroup":          true,
	"pidfd-socket":    true,
}

// parse reads the command line as runc does: global flags, the command, its flags, and no flag
// after the first argument that is none.
func parse(args []string) call {
	c := call{bundle: "."}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			break
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			if c.command != "" {
				break // the container's id: what follows is not for the runtime
			}
			c.command = a
			continue
		}
		name, value, inline := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
		if !inline && withValue[name] && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch {
		case c.command == "" && name == "log":
			c.log = value
		case c.command == "" && name == "log-format":
			c.logJSON = value == "json"
		case c.command != "" && c.command != "exec" && (name == "bundle" || name == "b"):
			c.bundle = value
		case c.command == "exec" && (name == "process" || name == "p"):
			c.process = value
		}
	}
	return c
}
