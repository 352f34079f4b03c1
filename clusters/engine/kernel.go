package engine

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"ambient.test/conformance/internal/command"
	"ambient.test/conformance/reports/api/v1alpha2"
)

// feature is something that the kernel must have, and how to find out whether it does.
type feature struct {
	name string
	why  string
	// config is the kernel's build option, module the name in /proc/modules.
	config, module string
	// program and args try it in an empty network namespace. No program: there is no harmless try.
	program string
	args    []string
}

func iptables(args ...string) []string { return append([]string{"--wait"}, args...) }

var features = []feature{
	{"overlay", "images are stacked with it", "CONFIG_OVERLAY_FS", "overlay", "", nil},
	{"packet filter", "Docker, kube-proxy and istio-cni write iptables rules", "CONFIG_NF_TABLES", "nf_tables",
		"iptables", iptables("-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")},
	{"conntrack", "firewalls and kube-proxy match connections", "CONFIG_NETFILTER_XT_MATCH_CONNTRACK", "xt_conntrack",
		"iptables", iptables("-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")},
	{"connmark", "istio-cni marks what it redirects inside pods", "CONFIG_NETFILTER_XT_CONNMARK", "xt_connmark",
		"iptables", iptables("-t", "mangle", "-A", "OUTPUT", "-j", "CONNMARK", "--restore-mark")},
	{"TPROXY", "traffic in pods keeps its source address on the way to the proxy", "CONFIG_NETFILTER_XT_TARGET_TPROXY", "xt_TPROXY",
		"iptables", iptables("-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "-j", "TPROXY", "--on-port", "15008", "--tproxy-mark", "0x1/0x1")},
	{"socket match", "packets of existing connections find their socket", "CONFIG_NETFILTER_XT_MATCH_SOCKET", "xt_socket",
		"iptables", iptables("-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "-m", "socket", "-j", "RETURN")},
	{
		"socket owner match",
		"istio-cni tells the node's own connections to pods apart (--socket-exists)",
		"CONFIG_NETFILTER_XT_MATCH_OWNER",
		"xt_owner",
		"iptables",
		iptables("-A", "OUTPUT", "-m", "owner", "--socket-exists", "-j", "RETURN"),
	},
	{"ip sets", "istio-cni lets kubelet's health checks through by a set", "CONFIG_IP_SET", "ip_set",
		"ipset", []string{"create", "amc-preflight", "hash:ip"}},
}

// ipv6 is what a fleet of both address families needs beyond the others. In the network namespace
// of the try, IPv6 is off where it is off in the whole kernel.
var ipv6 = feature{"IPv6", "nodes and pods of a dual-stack fleet have IPv6 addresses, and Docker and kube-proxy translate them",
	"CONFIG_IP6_NF_NAT", "ip6table_nat", "ip6tables", iptables("-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")}

// kernel checks features. A feature fails only if a try failed and the kernel's own
// configuration does not say that it has the feature.
func kernel(ctx context.Context, h host, features ...feature) []v1alpha2.Check {
	config := kernelConfig(h)
	modules, _ := h.read("/proc/modules")
	filesystems, _ := h.read("/proc/filesystems")
	var checks []v1alpha2.Check
	for _, f := range features {
		checks = append(
			checks,
			f.verdict(config[f.config], hasModule(modules, f.module) || strings.Contains(filesystems, "\t"+f.module+"\n"), f.try(ctx, h)),
		)
	}
	return checks
}

// errNotTried says why a feature could not be tried.
type errNotTried struct{ why string }

func (e errNotTried) Error() string { return e.why }

// try returns nil when the feature worked, errNotTried when nothing could be learned.
func (f feature) try(ctx context.Context, h host) error {
	switch {
	case f.program == "":
		return errNotTried{"it cannot be tried without consequences"}
	case !h.admin || h.isolated == nil:
		return errNotTried{"only root can try it"}
	}
	out, err := h.isolated(ctx, f.program, f.args...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return errNotTried{f.program + " is not installed here"}
	case !errors.As(err, &exit):
		return errNotTried{err.Error()} // no network namespace can be made, or the context ended
	}
	return fmt.Errorf("%s: %s", f.program, command.Tail(out, 1))
}

func (f feature) verdict(config string, loaded bool, tried error) v1alpha2.Check {
	var not errNotTried
	skipped := errors.As(tried, &not)
	builtin, absent := config == "y", config == "n"
	fix := fmt.Sprintf("load it with `modprobe %s`, or use a kernel with %s", f.module, f.config)
	switch {
	case tried == nil:
		return passed(f.name, "it works")
	case skipped && (loaded || builtin):
		return passed(f.name, "the kernel has it")
	case skipped && config == "m":
		return passed(f.name, "the kernel has it as a module")
	case skipped && absent:
		return warning(f.name, fmt.Sprintf("the kernel's configuration has no %s: %s", f.config, f.why), fix)
	case skipped:
		return warning(f.name, fmt.Sprintf("not known, %s: %s", not.why, f.why), fix)
	case loaded || builtin:
		return warning(
			f.name, fmt.Sprintf("the kernel has it, but a try failed (%v): %s", tried, f.why),
			"see that iptables is the one of this distribution",
		)
	}
	return failed(f.name, fmt.Sprintf("a try failed (%v): %s", tried, f.why), fix)
}

func hasModule(modules, name string) bool {
	for line := range strings.Lines(modules) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == name {
			return true
		}
	}
	return false
}

// kernelConfig reads the kernel's build options from where kernels and distributions keep them.
// Options that are not set are "n". Without a file there are none.
func kernelConfig(h host) map[string]string {
	if s, err := h.read("/proc/config.gz"); err == nil {
		if z, err := gzip.NewReader(strings.NewReader(s)); err == nil {
			if b, err := io.ReadAll(io.LimitReader(z, 8<<20)); err == nil {
				return options(b)
			}
		}
	}
	release, _ := h.read("/proc/sys/kernel/osrelease")
	if s, err := h.read("/boot/config-" + strings.TrimSpace(release)); err == nil {
		return options([]byte(s))
	}
	return nil
}

func options(config []byte) map[string]string {
	o := map[string]string{}
	for _, f := range append(slices.Clip(features), ipv6) { // an option that a config file does not name depends on one that is off
		o[f.config] = "n"
	}
	for s := bufio.NewScanner(bytes.NewReader(config)); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), "="); ok && strings.HasPrefix(name, "CONFIG_") {
			o[name] = value
		}
	}
	return o
}
