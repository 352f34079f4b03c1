package main

import "syscall"

// dieWithParent: an Envoy without its relay would go on with the configuration it has and never
// hear of a change.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
