package private

import (
	"regexp"
	"strings"

	"ambient.test/conformance/internal/command"
)

// daemonConfig is dockerd's configuration file. The default bridge is off: kind makes networks of
// its own, and docker0 may be the user's. Containers that name no network get none. Where the
// kernel can, the engine keeps networks apart for IPv6 as well; Docker before 27 calls that
// experimental.
func (l layout) daemonConfig(wrapper string, ipv6 bool) map[string]any {
	c := map[string]any{
		"data-root":      l.dataRoot(),
		"exec-root":      l.execRoot(),
		"pidfile":        l.pidfile(),
		"hosts":          []string{"unix://" + l.socket()},
		"group":          "root",
		"storage-driver": "overlay2",
		"bridge":         "none",
		"iptables":       true,
		"ip6tables":      ipv6,
		"experimental":   ipv6,
	}
	if wrapper != "" {
		c["runtimes"] = map[string]any{"ociwrap": map[string]any{"path": wrapper}}
		c["default-runtime"] = "ociwrap"
	}
	return c
}

var logMessage = regexp.MustCompile(`level=(error|fatal) msg="((?:[^"\\]|\\.)*)"`)

// failureIn says in one line why dockerd ended: its plain closing words ("failed to start daemon:
// ..."), else its last errors.
func failureIn(log string) string {
	var plain, errs []string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if m := logMessage.FindStringSubmatch(line); m != nil {
			errs = append(errs, strings.ReplaceAll(m[2], `\"`, `"`))
		} else if line != "" && !strings.HasPrefix(line, "time=") {
			plain = append(plain, line)
		}
	}
	switch {
	case len(plain) > 0:
		return plain[len(plain)-1]
	case len(errs) > 0:
		return command.Tail(strings.Join(errs, "\n"), 2)
	}
	return "its log has no error"
}
