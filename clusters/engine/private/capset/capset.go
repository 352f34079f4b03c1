// Package capset reads Linux capability sets. It uses the standard library only, because the OCI
// runtime wrapper is built from it.
package capset

import (
	"fmt"
	"strconv"
	"strings"
)

// Set is a set of capabilities as the kernel prints it: bit n is capability n.
type Set uint64

// SysResource is CAP_SYS_RESOURCE: raising hard limits and lowering the OOM score.
const SysResource = 24

// names in the order of linux/capability.h. A capability newer than this table is unknown to us and
// never taken away.
var names = []string{
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// Bounding takes the bounding set out of the text of /proc/PID/status.
func Bounding(status string) (Set, error) {
	for line := range strings.Lines(status) {
		v, ok := strings.CutPrefix(line, "CapBnd:")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("CapBnd in process status is %q, expected hexadecimal digits", strings.TrimSpace(v))
		}
		return Set(n), nil
	}
	return 0, fmt.Errorf("process status has no CapBnd line")
}

// Has says whether capability number n is in the set.
func (s Set) Has(n int) bool { return s&(1<<n) != 0 }

// Allows says whether the capability of that name may be kept. Names that this table does not know
// are allowed: judging them is the runtime's work.
func (s Set) Allows(name string) bool {
	for n, known := range names {
		if strings.EqualFold(known, name) {
			return s.Has(n)
		}
	}
	return true
}

// Missing names what the set lacks of the capabilities 0..last, where last is the kernel's
// cap_last_cap.
func (s Set) Missing(last int) []string {
	var m []string
	for n, name := range names {
		if n <= last && !s.Has(n) {
			m = append(m, name)
		}
	}
	return m
}

// Last is the number of the newest capability in the table, for kernels that do not say.
func Last() int { return len(names) - 1 }
