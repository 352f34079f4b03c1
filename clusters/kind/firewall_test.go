//go:build linux

package kind

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"ambient.test/conformance/clusters/variant"
)

// place is a throwaway network namespace.
type place struct {
	stack
	t  *testing.T
	ns netns.NsHandle
}

func (k stack) newPlace(t *testing.T) place {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	ns, err := netns.New()
	if err != nil {
		t.Skipf("no network namespace can be made: %v", err)
	}
	if err := netns.Set(home); err != nil {
		panic(err) // the thread is of no use any more
	}
	t.Cleanup(func() { ns.Close() })
	p := place{k, t, ns}
	p.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if k.v6 { // nobody else is here to have an address already, and looking takes a second
			err = os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
		}
		return errors.Join(err, netlink.LinkSetUp(lo))
	})
	return p
}

// do runs f inside.
func (p place) do(f func() error) {
	p.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := netns.Set(p.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		p.t.Fatal(err)
	}
}

// stack writes addresses, ranges and rules in one address family: as they stand here for IPv4,
// their counterparts in IPv6.
type stack struct{ v6 bool }

var (
	ipv4Text = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+)(/\d+)?(:\d+)?`)
	nftIP    = regexp.MustCompile(`\bip\b`)
)

func (k stack) in(text string) string {
	if !k.v6 {
		return text
	}
	text = nftIP.ReplaceAllString(text, "ip6")
	return ipv4Text.ReplaceAllStringFunc(text, func(s string) string {
		m := ipv4Text.FindStringSubmatch(s)
		address := asIPv6(netip.MustParseAddr(m[1])).String()
		switch bits := map[string]string{"/8": "/16", "/16": "/48", "/24": "/64", "/32": "/128"}[m[2]]; {
		case m[2] == "/0":
			return "::/0"
		case m[2] == "/8":
			return "fdac::/16"
		case m[3] != "" && strings.Contains(text, " dnat "):
			return "[" + address + "]" + m[3]
		case m[3] != "":
			return net.JoinHostPort(address, m[3][1:])
		default:
			return address + bits
		}
	})
}

// forward lets a place forward packets.
func (p place) forward() {
	p.t.Helper()
	p.do(func() error {
		err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
		if p.v6 {
			err = errors.Join(err, os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
		}
		return err
	})
}

// link joins two places with a pair of interfaces.
func link(a place, nameA, addrA string, b place, nameB, addrB string) {
	a.t.Helper()
	a.do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(int(b.ns))})
	})
	for _, end := range []struct {
		place
		name, addr string
	}{{a, nameA, addrA}, {b, nameB, addrB}} {
		end.do(func() error {
			l, err := netlink.LinkByName(end.name)
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(a.in(end.addr))
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(l, addr), netlink.LinkSetUp(l))
		})
	}
}

func (p place) route(to, via string) {
	p.t.Helper()
	_, dst, err := net.ParseCIDR(p.in(to))
	if err != nil {
		p.t.Fatal(err)
	}
	p.do(func() error { return netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: net.ParseIP(p.in(via))}) })
}

func (p place) nft(stdin string, args ...string) string {
	p.t.Helper()
	var out []byte
	p.do(func() error {
		c := exec.Command("nft", args...)
		c.Stdin = strings.NewReader(stdin)
		var err error
		if out, err = c.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
	return string(out)
}

// rules adds rules that are written for IPv4; ruleset adds a whole ruleset as it is.
func (p place) rules(r string)   { p.t.Helper(); p.ruleset(p.in(r)) }
func (p place) ruleset(r string) { p.t.Helper(); p.nft(r, "-f", "-") }

func (p place) counters() counters {
	p.t.Helper()
	c, err := parseCounters([]byte(p.nft("", "-j", "list", "table", "inet", "amc_fleet")))
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// serve answers every connection to addr.
func (p place) serve(addr string) {
	p.t.Helper()
	p.do(func() error {
		l, err := net.Listen("tcp", p.in(addr))
		if err != nil {
			return err
		}
		p.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		return nil
	})
}

// dial says how a connection to addr ends: nil, or what the kernel says.
func (p place) dial(addr string) (result error) {
	p.t.Helper()
	p.do(func() error {
		c, err := net.DialTimeout("tcp", p.in(addr), time.Second)
		if err == nil {
			c.Close()
		}
		result = err
		return nil
	})
	return result
}

// The ruleset, as it is rendered, in front of real packets: a node with a pod, its own network and
// the transit network. Which of the two is eth0 changes from boot to boot, so all is done both
// ways.
func TestFirewall(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("needs nft (Debian: apt-get install nftables)")
		}
		t.Skip("needs nft (Debian: apt-get install nftables)")
	}
	for _, k := range []stack{{}, {v6: true}} {
		for _, names := range [][2]string{{"eth0", "eth1"}, {"eth1", "eth0"}} {
			t.Run(fmt.Sprintf("transit is %s, IPv6 is %t", names[1], k.v6), func(t *testing.T) { firewall(t, k, names[0], names[1]) })
		}
	}
}

func firewall(t *testing.T, k stack, own, transit string) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); k.v6 && err != nil {
		t.Skip("the kernel has no IPv6")
	}
	_, nodes := laidOut(t, Options{Shape: variant.Shape{DualStack: k.v6}}) // node c1: 10.89.17.2 and 10.89.16.11, gateways 10.89.16.100-109
	node, pod, other, uplink, neighbor := k.newPlace(t), k.newPlace(t), k.newPlace(t), k.newPlace(t), k.newPlace(t)
	link(node, own, "10.89.17.2/24", uplink, "up", "10.89.17.1/24")
	link(node, transit, "10.89.16.11/24", other, "eth1", "10.89.16.12/24")
	link(node, "vethpod", "10.10.0.1/24", pod, "eth0", "10.10.0.2/24")
	link(node, "vethnext", "10.10.1.1/24", neighbor, "eth0", "10.10.1.2/24")
	node.forward()
	node.route("0.0.0.0/0", "10.89.17.1")
	pod.route("0.0.0.0/0", "10.10.0.1")
	neighbor.route("0.0.0.0/0", "10.10.1.1")
	other.route("10.89.16.100/32", "10.89.16.11") // what MetalLB's ARP does
	other.route("10.0.0.0/8", "10.89.16.11")      // a neighbor that tries
	uplink.route("10.0.0.0/8", "10.89.17.2")
	// What kube-proxy and the CNI plugin do: a gateway's service, a node port, masquerading.
	node.rules(`table ip kube {
	chain pre { type nat hook prerouting priority dstnat;
		ip daddr 10.89.16.100 dnat to 10.10.0.2
		tcp dport 30001 dnat to 10.10.0.2:8080
		ip daddr 10.110.0.1 tcp dport 443 dnat to 10.89.17.2:6443
		ip daddr 10.110.0.9 tcp dport 80 dnat to 10.10.1.2:8080
	}
	chain own { type nat hook output priority -100; ip daddr 10.110.0.9 tcp dport 80 dnat to 10.10.1.2:8080; }
	chain post { type nat hook postrouting priority srcnat; ip saddr 10.10.0.0/16 oifname "eth*" masquerade; }
}`)
	rules := nodes[0].render("firewall.nft")
	node.ruleset(rules)
	node.ruleset(rules) // a second time, as at a restart of the unit: the same rules, not twice as many
	if n := strings.Count(node.nft("", "-j", "list", "chain", "inet", "amc_fleet", "from_pods"), `"rule"`); n != 1+len(nodes[0].Families) {
		t.Fatalf("%d rules in from_pods", n)
	}
	for _, p := range []string{"15008", "15021", "8080", "10250"} {
		pod.serve(":" + p)
	}
	for _, p := range []string{"6443", "10250"} {
		node.serve(":" + p)
	}
	neighbor.serve(":8080")
	for _, p := range []string{"6443", "15008"} {
		other.serve(":" + p)
	}
	uplink.serve(":80")
	for _, c := range []struct {
		from    place
		name    string
		to      string
		allowed bool
		counter string // the one that must move
	}{
		{pod, "pod to a pod of its cluster", "10.10.1.2:8080", true, ""},
		{pod, "pod to a service of its cluster", "10.110.0.9:80", true, ""},
		{pod, "pod to its API server", "10.110.0.1:443", true, ""},
		{pod, "pod to its node", "10.89.17.2:10250", true, ""},
		{pod, "pod to another API server", "10.89.16.12:6443", true, ""},
		{pod, "pod to another node's open port", "10.89.16.12:15008", true, ""},
		{pod, "pod to the uplink", "10.89.17.1:80", false, "out"},
		{pod, "pod to the engine's host on the transit network", "10.89.16.1:80", false, "out"},
		{pod, "pod to the world", "198.51.100.1:80", false, "out"},
		{pod, "pod to a service that only another cluster has", "10.110.0.77:80", false, "gone"},
		{pod, "pod to a pod address that no pod here has", "10.10.200.1:80", false, "gone"},
		{other, "transit to the API server", "10.89.16.11:6443", true, ""},
		{other, "transit to a gateway's HBONE port", "10.89.16.100:15008", true, "tunnels"},
		{other, "transit to a gateway's status port", "10.89.16.100:15021", true, ""},
		{other, "transit to another port of a gateway", "10.89.16.100:8080", false, "in"},
		{other, "transit to the kubelet", "10.89.16.11:10250", false, "in"},
		{other, "transit to a node port", "10.89.16.11:30001", false, "in"},
		{other, "transit to a pod", "10.10.0.2:15008", false, "in"},
		{other, "transit to a service", "10.110.0.9:80", false, "in"},
		{uplink, "host to the API server", "10.89.17.2:6443", true, ""},
		{uplink, "host to the kubelet", "10.89.17.2:10250", false, "in"},
		{uplink, "host to a pod", "10.10.0.2:8080", false, "in"},
		{node, "the node itself, which is not under test", "10.89.17.1:80", true, ""},
		{node, "the node itself to a service of its cluster", "10.110.0.9:80", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := node.counters()
			err := c.from.dial(c.to)
			after := node.counters()
			if c.allowed {
				if err != nil {
					t.Errorf("to %s: %v", c.to, err)
				}
				if c.counter == "tunnels" {
					before.Tunnels++
				}
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("to %s: counters (-want +got):\n%s", c.to, diff)
				}
				return
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("to %s: got %v, want to be refused at once: %v", c.to, err, syscall.ECONNREFUSED)
			}
			count := map[string]func(counters) int64{
				"out": func(c counters) int64 { return c.Out }, "in": func(c counters) int64 { return c.In },
				"gone": func(c counters) int64 { return c.Gone },
			}
			if got, was := count[c.counter](after), count[c.counter](before); got <= was {
				t.Errorf("to %s: got %q %d, then %d, want it counted", c.to, c.counter, was, got)
			}
			if c.counter == "gone" && after.Out != before.Out {
				t.Errorf("to %s is counted as out too: %+v, then %+v", c.to, before, after)
			}
		})
	}
	for what, to := range map[string]string{
		"pod address that no pod here has": "10.10.200.1:80", "service that does not exist": "10.110.0.77:80",
	} {
		t.Run("node to "+what, func(t *testing.T) {
			before := node.counters()
			if node.dial(to) == nil {
				t.Errorf("the node itself reached %s", to)
			}
			after := node.counters()
			if after.Gone <= before.Gone {
				t.Errorf("%s: got gone %d, then %d, want it counted", to, before.Gone, after.Gone)
			}
			if after.Out != before.Out {
				t.Errorf("%s: got out %d, then %d, want it not counted there", to, before.Out, after.Out)
			}
		})
	}
	// Other protocols, of which nobody waits for an answer: they show in the counters.
	before := node.counters()
	pod.do(func() error {
		c, err := net.Dial("udp", pod.in("198.51.100.1:53"))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("amc"))
		return err
	})
	if after := node.counters(); after.Out != before.Out+1 {
		t.Errorf("UDP: %+v, then %+v", before, after)
	}
	before = node.counters()
	ping(pod, "198.51.100.1")
	if after := node.counters(); after.Out != before.Out+1 {
		t.Errorf("ICMP: %+v, then %+v", before, after)
	}
	before = node.counters()
	ping(other, "10.89.16.11") // what ARP and path MTU discovery need must not be refused
	if after := node.counters(); after != before {
		t.Errorf("ICMP to the node: %+v, then %+v", before, after)
	}
	if !k.v6 {
		resolver(t, node, pod)
	}
	deadPodsConnection(t, node, pod, other, uplink)
}

// The engine's resolver listens on a loopback address that kind lets pods reach by translating one
// of the host's. It has an IPv4 address in fleets of both families, too.
func resolver(t *testing.T, node, pod place) {
	node.do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv4/conf/vethpod/route_localnet", []byte("1"), 0))
	})
	node.serve("127.0.0.11:5353")
	node.rules("insert rule ip kube pre ip daddr 10.89.17.1 tcp dport 53 dnat to 127.0.0.11:5353")
	before := node.counters()
	if err := pod.dial("10.89.17.1:53"); err == nil {
		t.Error("a pod reaches the engine's resolver, which asks the world")
	}
	if after := node.counters(); after.Resolver <= before.Resolver {
		t.Errorf("resolver: %+v, then %+v", before, after)
	}
}

// dialFrom is dial with a source address of one's own.
func (p place) dialFrom(source, addr string) (result error) {
	p.t.Helper()
	p.do(func() error {
		d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		c, err := d.Dial("tcp4", addr)
		if err == nil {
			c.Close()
		}
		result = err
		return nil
	})
	return result
}

// Between nodes with routes to each other's pods: a pod is reached at its own address and from its
// own address, and nobody else gains anything.
func TestFirewallBetweenPeers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft (Debian: apt-get install nftables)")
	}
	_, nodes := laidOut(t, Options{Shape: variant.Shape{Nodes: 2}})
	var k stack
	node, pod, worker, stranger := k.newPlace(t), k.newPlace(t), k.newPlace(t), k.newPlace(t)
	link(node, "eth0", "10.89.17.2/24", worker, "eth0", "10.89.17.3/24")
	link(node, "eth1", "10.89.16.11/24", stranger, "eth1", "10.89.16.12/24")
	link(node, "vethpod", "10.10.0.1/24", pod, "eth0", "10.10.0.2/24")
	worker.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		neighbor, err := netlink.ParseAddr("10.10.1.2/32")
		return errors.Join(err, netlink.AddrAdd(lo, neighbor))
	})
	node.forward()
	pod.route("0.0.0.0/0", "10.10.0.1")
	node.route("10.10.1.0/24", "10.89.17.3")
	worker.route("10.10.0.0/24", "10.89.17.2")
	stranger.route("10.10.0.0/24", "10.89.16.11")
	worker.rules(`table inet seen { chain in { type filter hook input priority 0;
		ip saddr 10.10.0.2 ip daddr 10.10.1.2 accept; ip daddr 10.10.1.2 tcp dport 8080 reject with tcp reset; }; }`)
	node.ruleset(nodes[0].render("firewall.nft"))
	pod.serve(":8080")
	worker.serve(":8080")
	worker.serve(":6443")
	worker.serve(":80")
	node.serve(":10250")
	for _, c := range []struct {
		name       string
		from       place
		source, to string
		allowed    bool
	}{
		{"pod to a pod of the worker, at its own address", pod, "10.10.0.2", "10.10.1.2:8080", true},
		{"pod to the API server on another node", pod, "10.10.0.2", "10.89.17.3:6443", true},
		{"pod to another port there", pod, "10.10.0.2", "10.89.17.3:80", false},
		{"pod of the worker to a pod", worker, "10.10.1.2", "10.10.0.2:8080", true},
		{"worker to a pod", worker, "10.89.17.3", "10.10.0.2:8080", true},
		{"stranger to a pod", stranger, "10.89.16.12", "10.10.0.2:8080", false},
		{"worker to the kubelet", worker, "10.89.17.3", "10.89.17.2:10250", true},
		{"stranger to the kubelet", stranger, "10.89.16.12", "10.89.16.11:10250", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.from.dialFrom(c.source, c.to)
			if c.allowed && err != nil {
				t.Errorf("%s to %s: got %v, want it allowed", c.source, c.to, err)
			}
			if !c.allowed && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s to %s: got %v, want it refused", c.source, c.to, err)
			}
		})
	}
	// A gateway whose address is this node's and whose pod is the worker's, as kube-proxy leads there.
	stranger.route("10.89.16.100/32", "10.89.16.11")
	worker.serve(":15008")
	node.rules(`table ip kube {
	chain pre { type nat hook prerouting priority dstnat; ip daddr 10.89.16.100 dnat to 10.10.1.2; }
	chain post { type nat hook postrouting priority srcnat; ip daddr 10.10.1.2 masquerade; }
}`)
	before := node.counters()
	if err := stranger.dial("10.89.16.100:15008"); err != nil {
		t.Fatalf("a gateway on the worker: %v", err)
	}
	if after := node.counters(); after.Tunnels != before.Tunnels+1 {
		t.Errorf("a gateway on the worker: got %d tunnels, then %d, want one more", before.Tunnels, after.Tunnels)
	}
}

// A pod that dies leaves connections behind. What their peers still send is translated back to its
// address, which no pod has any more: it must not follow the node's default route out of the fleet.
func deadPodsConnection(t *testing.T, node, pod, other, uplink place) {
	uplink.rules(`table inet seen {
	chain in { type filter hook prerouting priority -300; ip daddr 10.10.0.0/16 counter; }
}`)
	var server net.Conn
	accepted := make(chan error, 1)
	other.do(func() error {
		l, err := net.Listen("tcp", other.in("10.89.16.12:8443"))
		if err != nil {
			return err
		}
		go func() {
			defer l.Close()
			var err error
			server, err = l.Accept()
			accepted <- err
		}()
		return nil
	})
	pod.do(func() error {
		c, err := net.DialTimeout("tcp", pod.in("10.89.16.12:8443"), time.Second)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err
	})
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	node.do(func() error {
		l, err := netlink.LinkByName("vethpod")
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	before := node.counters()
	if _, err := server.Write([]byte("amc")); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer of a dead pod: got %v, want to be told at once: %v", err, syscall.ECONNRESET)
	}
	after := node.counters()
	if after.Gone <= before.Gone {
		t.Errorf("what is sent to a dead pod is not counted as gone: %+v, then %+v", before, after)
	}
	if after.Out != before.Out {
		t.Errorf("what is sent to a dead pod is counted as out: %+v, then %+v", before, after)
	}
	if seen := uplink.nft("", "list", "table", "inet", "seen"); !strings.Contains(seen, "counter packets 0 ") {
		t.Errorf("what is sent to a dead pod leaves the fleet:\n%s", seen)
	}
}

// ping sends one echo request.
func ping(p place, to string) {
	p.t.Helper()
	network, any, request := "ip4:icmp", "0.0.0.0", []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
	if p.v6 {
		network, any, request = "ip6:ipv6-icmp", "::", []byte{128, 0, 0, 0, 0, 0, 0, 0} // the kernel adds the checksum
	}
	p.do(func() error {
		c, err := net.ListenPacket(network, any)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.WriteTo(request, &net.IPAddr{IP: net.ParseIP(p.in(to))})
		return err
	})
}
