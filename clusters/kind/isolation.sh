# Runs on a node, by clusters/kind: what the isolation proof does there. Needs bash, iproute2, util-linux, socat and nft, which every node image has.
# usage: bash -s setup|probe|clear < this file, with the variables below set before it
#   TOKEN    what this cluster's servers answer            PROBE_IPS  an address of each family's pod range that no pod has
#   PORT     of the servers                                POD_IP     address of a real pod, in whose network namespace the pod's probes are sent
#   PROBES   lines "id where ip port banner"               OUTSIDE    an address outside the fleet; OUTSIDE6 one of IPv6, or nothing
set -u
netns() { # of the pod with address POD_IP
	for n in /run/netns/*; do
		nsenter --net="$n" ip -4 -o addr show 2>/dev/null | grep -qF " $POD_IP/" && { echo "$n"; return; }
	done
	echo "no network namespace has the address $POD_IP" >&2
	exit 1
}
serve() { # in the network namespace $1; ends itself when nobody ends it
	local listen=TCP4-LISTEN:$PORT,fork,reuseaddr
	[ -n "$OUTSIDE6" ] && listen=TCP6-LISTEN:$PORT,ipv6only=0,fork,reuseaddr
	nsenter --net="$1" timeout 120 socat "$listen" SYSTEM:"echo $TOKEN" </dev/null >/dev/null 2>&1 &
	echo $! >>/run/amc-isolation.pids
}
clear_up() {
	[ -e /run/amc-isolation.pids ] && xargs -r kill </run/amc-isolation.pids 2>/dev/null
	rm -f /run/amc-isolation.pids
	ip netns del amc-iso 2>/dev/null
	ip link del amc-iso 2>/dev/null
	return 0
}
case "$1" in
setup)
	clear_up
	pod=$(netns) || exit 1
	set -e
	# Like a pod, at an address that the clusters' pods do not have: what answers there can only be this cluster.
	ip netns add amc-iso
	ip link add amc-iso type veth peer name eth0 netns amc-iso
	ip link set amc-iso up
	ip -n amc-iso link set lo up
	ip -n amc-iso link set eth0 up
	for ip in $PROBE_IPS; do
		via=169.254.1.1 bits=32
		case "$ip" in *:*) via=fe80::1 bits=128 ;; esac
		ip -n amc-iso addr add "$ip/$bits" dev eth0 $([ $bits = 128 ] && echo nodad)
		ip -n amc-iso route add "$via" dev eth0
		ip -n amc-iso neigh add "$via" lladdr "$(cat /sys/class/net/amc-iso/address)" dev eth0
		ip -n amc-iso route add default via "$via" dev eth0
		ip route replace "$ip/$bits" dev amc-iso
	done
	serve /run/netns/amc-iso
	serve "$pod"
	;;
probe)
	pod=$(netns) || exit 1
	probe() { # where ip port banner: prints what answered, after "+" if anything did
		local enter=; [ "$1" = pod ] && enter="nsenter --net=$pod"
		timeout 1 $enter bash -c 'exec 3<>"/dev/tcp/$0/$1" || exit 1; l=; [ "$2" = 1 ] && IFS= read -r l <&3; printf "+%s" "$l"' "$2" "$3" "$4" 2>/dev/null || true
	}
	out=$(mktemp -d)
	while read -r id where ip port banner; do
		[ -n "$id" ] && probe "$where" "$ip" "$port" "$banner" >"$out/$id" &
	done <<<"$PROBES"
	# Outside the fleet: each must be refused by this node's firewall, and counted.
	counted() { nft list counter inet amc_fleet out | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
	wait
	before=$(counted)
	leave() { # suffix address; its echo request to socat's address: by TCP, UDP and ICMP
		probe pod "$2" 443 0 >"$out/outside-tcp$1"; tcp=$(counted)
		nsenter --net="$pod" bash -c 'echo amc >"/dev/udp/$0/53"' "$2" 2>/dev/null; udp=$(counted)
		printf "$3\000\000\000\000" | nsenter --net="$pod" socat -u - "$4" 2>/dev/null; icmp=$(counted)
		echo "counted-tcp$1 $((tcp - before))"
		echo "counted-udp$1 $((udp - tcp))"
		echo "counted-icmp$1 $((icmp - udp))"
		before=$icmp
	}
	leave "" "$OUTSIDE" '\010\000\367\377' "IP4-SENDTO:$OUTSIDE:1"
	[ -n "$OUTSIDE6" ] && leave 6 "$OUTSIDE6" '\200\000\000\000' "IP6-SENDTO:[$OUTSIDE6]:58"
	for f in "$out"/*; do echo "${f##*/} $(cat "$f")"; done
	rm -r "$out"
	;;
clear) clear_up ;;
esac
