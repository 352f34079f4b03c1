package kind

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/framework/mesh"
)

// A fleet takes one /20 block of addresses. The first /24 is the transit network; the next ones are
// the clusters' own networks.
const (
	blockBits    = 20
	subnetBits   = 24
	firstNode    = 11  // host number of the first node in the transit network
	nodesApart   = 10  // host numbers between a cluster's nodes
	firstGateway = 100 // host number where the first cluster's gateway addresses begin
	gateways     = 10  // addresses per cluster
	serviceBits6 = 112 // of the range of IPv6 services; Kubernetes wants at least 108
)

// block holds the addresses of a fleet.
type block struct{ netip.Prefix }

func (b block) subnet(n int) netip.Prefix { return subnet(b.Prefix, subnetBits, n) }

func (b block) transit() netip.Prefix      { return b.subnet(0) }
func (b block) network(n int) netip.Prefix { return b.subnet(n) }

// node returns the address of the first node of cluster n in the transit network; worker returns
// that of its i-th worker.
func (b block) node(n int) netip.Addr      { return b.worker(n, 0) }
func (b block) worker(n, i int) netip.Addr { return host(b.transit(), firstNode+n-1+i*nodesApart) }

// pool returns the first and last address of the cluster's gateways.
func (b block) pool(n int) (first, last netip.Addr) {
	from := firstGateway + (n-1)*gateways
	return host(b.transit(), from), host(b.transit(), from+gateways-1)
}

// subnet returns the n-th range with so many bits, a multiple of 8, that begins where p begins.
func subnet(p netip.Prefix, bits, n int) netip.Prefix {
	a := p.Addr().AsSlice()
	for i := bits/8 - 1; n > 0; i-- {
		n += int(a[i])
		a[i], n = byte(n), n>>8
	}
	start, _ := netip.AddrFromSlice(a)
	return netip.PrefixFrom(start, bits)
}

// host returns the n-th address of a range.
func host(p netip.Prefix, n int) netip.Addr {
	return subnet(p.Masked(), p.Addr().BitLen(), n).Addr()
}

// asIPv6 returns the IPv6 address that belongs to an IPv4 address of a fleet of both families:
// a.b.c.d and fdac:0:aabb:cc::d. It is of the range that every site may use (RFC 4193).
func asIPv6(v4 netip.Addr) netip.Addr {
	a := v4.As4()
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0xac, 4: a[0], 5: a[1], 7: a[2], 15: a[3]})
}

// rangeAsIPv6 returns the IPv6 range of all addresses of a /16 or a /24. Those are a /48 and a /64,
// so Kubernetes gives each node one of each.
func rangeAsIPv6(v4 netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(asIPv6(v4.Masked().Addr()), map[int]int{16: 48, 24: 64}[v4.Bits()])
}

// taken is an address range in use, and what uses it.
type taken struct {
	netip.Prefix
	by string
}

// candidates returns the blocks to try, in order: parts of the private ranges (RFC 1918) that home
// routers, Docker and Kubernetes seldom use.
func candidates() []block {
	var all []block
	for _, from := range []struct {
		first string
		n     int
	}{{"10.89.0.0", 16}, {"172.29.0.0", 16}, {"192.168.192.0", 3}, {"10.213.0.0", 16}} {
		b := block{netip.PrefixFrom(netip.MustParseAddr(from.first), blockBits)}
		for range from.n {
			all = append(all, b)
			b = block{netip.PrefixFrom(b.subnet(1<<(subnetBits-blockBits)).Addr(), blockBits)}
		}
	}
	return all
}

// SubnetOf returns the range of a fleet's container networks, of which the transit network is the
// first; empty where the fleet file does not say it.
func SubnetOf(f *mesh.Fleet) string {
	if f.Kind == nil {
		return ""
	}
	transit, err := netip.ParsePrefix(f.Kind.TransitCIDR)
	if err != nil {
		return ""
	}
	return netip.PrefixFrom(transit.Addr(), blockBits).String()
}

// CheckSubnet returns an error unless a fleet's networks fit into the range. The empty string
// stands for any free range.
func CheckSubnet(asked string) error {
	if asked == "" {
		return nil
	}
	if p, err := netip.ParsePrefix(asked); err != nil || !p.Addr().Is4() || p.Bits() != blockBits || p.Masked() != p {
		return fmt.Errorf("subnet %q is not an IPv4 range of /%d, such as 10.89.16.0/20", asked, blockBits)
	}
	return nil
}

// CheckFree returns an error unless the range is free in the engine. If the range is empty, some
// candidate must be free.
func CheckFree(ctx context.Context, e *engine.Engine, asked string) error {
	if err := CheckSubnet(asked); err != nil {
		return err
	}
	used, err := busy(ctx, e)
	if err != nil {
		return err
	}
	_, err = chooseBlock(asked, used)
	return err
}

// chooseBlock returns the requested block, or else the first candidate. A block that overlaps with
// one in use is not chosen.
func chooseBlock(asked string, busy []taken) (block, error) {
	free := func(b block) *taken {
		for i := range busy {
			if busy[i].Overlaps(b.Prefix) {
				return &busy[i]
			}
		}
		return nil
	}
	if asked != "" {
		if err := CheckSubnet(asked); err != nil {
			return block{}, err
		}
		p := netip.MustParsePrefix(asked)
		if by := free(block{p}); by != nil {
			return block{}, fmt.Errorf("subnet %s is in use: %s uses %s: choose another range, or leave out --subnet to let amc find one",
				asked, by.by, by.Prefix)
		}
		return block{p}, nil
	}
	for _, b := range candidates() {
		if free(b) == nil {
			return b, nil
		}
	}
	var by []string
	for _, t := range busy {
		by = append(by, t.by+" "+t.Prefix.String())
	}
	return block{}, fmt.Errorf("no free address range for the fleet: each of the %d candidates overlaps with one of: %s: "+
		"remove old networks (`amc down --all`, `docker network prune`) or name a free /%d range with --subnet",
		len(candidates()), strings.Join(by, ", "), blockBits)
}

// busy lists the address ranges of the engine's networks and of this host's routes and interfaces.
// Default routes do not count.
func busy(ctx context.Context, d docker) ([]taken, error) {
	ids, err := d.Output(ctx, "network", "ls", "-q", "--no-trunc")
	if err != nil {
		return nil, err
	}
	var all []taken
	if f := strings.Fields(ids); len(f) > 0 {
		const format = `{{$n := .Name}}{{range .IPAM.Config}}{{$n}} {{.Subnet}}{{"\n"}}{{end}}`
		out, err := d.Output(ctx, append([]string{"network", "inspect", "-f", format}, f...)...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			name, subnet, _ := strings.Cut(strings.TrimSpace(line), " ")
			if p, err := netip.ParsePrefix(subnet); err == nil {
				all = append(all, taken{p, "container network " + name})
			}
		}
	}
	routes, err := os.ReadFile("/proc/net/route") // absent on macOS, where the engine runs in a virtual machine
	if err == nil {
		all = append(all, parseRoutes(string(routes))...)
	}
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing this host's interfaces: %w", err)
	}
	for _, i := range ifs {
		addrs, err := i.Addrs()
		if err != nil {
			continue // gone meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				all = append(all, taken{p.Masked(), "host interface " + i.Name})
			}
		}
	}
	return slices.DeleteFunc(all, func(t taken) bool { return t.Bits() == 0 || !t.Addr().Is4() }), nil
}

// parseRoutes reads the kernel's IPv4 routing table in the format of /proc/net/route. Its numbers
// are hexadecimal, in host byte order (little endian).
func parseRoutes(table string) []taken {
	var all []taken
	s := bufio.NewScanner(strings.NewReader(table))
	s.Scan() // heading
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 8 {
			continue
		}
		dst, err1 := hex.DecodeString(f[1])
		mask, err2 := hex.DecodeString(f[7])
		if err1 != nil || err2 != nil || len(dst) != 4 || len(mask) != 4 {
			continue
		}
		slices.Reverse(dst)
		slices.Reverse(mask)
		ones, _ := net.IPMask(mask).Size()
		if ones == 0 {
			continue
		}
		all = append(all, taken{netip.PrefixFrom(netip.AddrFrom4([4]byte(dst)), ones), "host route on " + f[0]})
	}
	return all
}
