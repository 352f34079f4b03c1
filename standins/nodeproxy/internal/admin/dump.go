// Package admin serves the node proxy's own endpoints: readiness, metrics, and a configuration dump
// in the form istioctl ztunnel-config reads.
package admin

import (
	"encoding/pem"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"crypto/x509"

	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"

	"ambient.test/conformance/standins/nodeproxy/internal/identity"
	"ambient.test/conformance/standins/nodeproxy/internal/proxy"
	"ambient.test/conformance/standins/nodeproxy/internal/state"
)

type object = map[string]any

// Dump describes everything the proxy knows and holds, without keys.
func Dump(store *state.Store, certs []identity.Dump, pods map[string]proxy.PodState, open []proxy.ConnectionInfo) any {
	ws, vs, ps := store.All()
	slices.SortFunc(ws, func(a, b *workloadapi.Workload) int { return strings.Compare(a.Uid, b.Uid) })
	slices.SortFunc(vs, func(a, b *workloadapi.Service) int {
		return strings.Compare(state.ServiceKey(a), state.ServiceKey(b))
	})
	slices.SortFunc(ps, func(a, b *security.Authorization) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	out := object{"workloads": each(ws, workload), "policies": each(ps, policy), "certificates": each(certs, certificate)}
	out["services"] = each(vs, func(v *workloadapi.Service) any { return service(store, v) })
	states := object{}
	for uid, p := range pods {
		conns := map[string][]object{"inbound": {}, "outbound": {}}
		for _, c := range open {
			if c.Pod == p.Info.Namespace+"/"+p.Info.Name {
				conns[c.Direction] = append(
					conns[c.Direction],
					object{"src": c.Src, "originalDst": c.OriginalDst, "actualDst": c.ActualDst, "protocol": c.Protocol},
				)
			}
		}
		states[uid] = object{
			"state": p.State, "connections": conns,
			"info": object{"name": p.Info.Name, "namespace": p.Info.Namespace, "serviceAccount": p.Info.ServiceAccount, "trustDomain": ""},
		}
	}
	out["workloadState"] = states
	return out
}

func each[T any](in []T, f func(T) any) []any {
	out := make([]any, 0, len(in))
	for _, x := range in {
		out = append(out, f(x))
	}
	return out
}

func ip(b []byte) string {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap().String()
}

func gateway(g *workloadapi.GatewayAddress) any {
	if g == nil {
		return nil
	}
	to := ""
	if h := g.GetHostname(); h != nil {
		to = h.Namespace + "/" + h.Hostname
	} else if a := g.GetAddress(); a != nil {
		to = a.Network + "/" + ip(a.Address)
	}
	return object{"destination": to, "hboneMtlsPort": g.HboneMtlsPort}
}

func workload(w *workloadapi.Workload) any {
	protocol, status, capacity := "TCP", "Healthy", uint32(1)
	if w.TunnelProtocol == workloadapi.TunnelProtocol_HBONE {
		protocol = "HBONE"
	}
	if w.Status != workloadapi.WorkloadStatus_HEALTHY {
		status = "Unhealthy"
	}
	if w.Capacity != nil {
		capacity = w.Capacity.Value
	}
	ips := []string{}
	for _, a := range w.Addresses {
		ips = append(ips, ip(a))
	}
	services := []string{}
	for k := range w.Services {
		services = append(services, k)
	}
	slices.Sort(services)
	o := object{
		"uid":                   w.Uid,
		"workloadIps":           ips,
		"protocol":              protocol,
		"name":                  w.Name,
		"namespace":             w.Namespace,
		"serviceAccount":        w.ServiceAccount,
		"workloadName":          w.WorkloadName,
		"workloadType":          strings.ToLower(w.WorkloadType.String()),
		"canonicalName":         w.CanonicalName,
		"canonicalRevision":     w.CanonicalRevision,
		"clusterId":             w.ClusterId,
		"trustDomain":           strings.Split(strings.TrimPrefix(state.Identity(w), "spiffe://"), "/")[0],
		"locality":              object{"region": w.Locality.GetRegion(), "zone": w.Locality.GetZone(), "subzone": w.Locality.GetSubzone()},
		"node":                  w.Node,
		"network":               w.Network,
		"status":                status,
		"hostname":              w.Hostname,
		"capacity":              capacity,
		"services":              services,
		"networkMode":           w.NetworkMode.String(),
		"authorizationPolicies": append([]string{}, w.AuthorizationPolicies...),
	}
	if w.Waypoint != nil {
		o["waypoint"] = gateway(w.Waypoint)
	}
	if w.NetworkGateway != nil {
		o["networkGateway"] = gateway(w.NetworkGateway)
	}
	if t := w.ApplicationTunnel; t != nil {
		o["applicationTunnel"] = object{"protocol": t.Protocol.String(), "port": t.Port}
	}
	return o
}

func ports(list []*workloadapi.Port) object {
	o := object{}
	for _, p := range list {
		o[strconv.Itoa(int(p.ServicePort))] = p.TargetPort
	}
	return o
}

func service(store *state.Store, v *workloadapi.Service) any {
	vips, cidrs := []string{}, []string{}
	for _, a := range v.Addresses {
		s := a.Network + "/" + ip(a.Address)
		if a.Length != nil && int(*a.Length) < len(a.Address)*8 {
			cidrs = append(cidrs, s+"/"+strconv.Itoa(int(*a.Length)))
			continue
		}
		vips = append(vips, s)
	}
	endpoints := object{}
	for _, w := range store.Endpoints(v) {
		if w.Status != workloadapi.WorkloadStatus_HEALTHY && v.LoadBalancing.GetHealthPolicy() != workloadapi.LoadBalancing_ALLOW_ALL {
			continue // as ztunnel's dump: those that may be chosen
		}
		endpoints[w.Uid] = object{
			"workloadUid": w.Uid,
			"service":     v.Hostname,
			"port":        ports(w.Services[state.ServiceKey(v)].GetPorts()),
			"status":      w.Status.String(),
		}
	}
	families := map[workloadapi.IPFamilies]string{
		workloadapi.IPFamilies_IPV4_ONLY: "IPv4",
		workloadapi.IPFamilies_IPV6_ONLY: "IPv6",
		workloadapi.IPFamilies_DUAL:      "Dual",
	}
	o := object{
		"name":      v.Name,
		"namespace": v.Namespace,
		"hostname":  v.Hostname,
		"vips":      vips,
		"ports":     ports(v.Ports),
		"endpoints": endpoints,
		"subjectAltNames": append(
			[]string{},
			v.SubjectAltNames...),
		"ipFamilies": families[v.IpFamilies],
		"canonical":  v.Canonical,
		"visibility": v.Visibility.String(),
	}
	if len(cidrs) > 0 {
		o["cidrVips"] = cidrs
	}
	if v.Waypoint != nil {
		o["waypoint"] = gateway(v.Waypoint)
	}
	if lb := v.LoadBalancing; lb != nil {
		prefs := []string{}
		for _, s := range lb.RoutingPreference {
			prefs = append(prefs, title(s.String()))
		}
		mode := title(lb.Mode.String())
		if lb.Mode == workloadapi.LoadBalancing_UNSPECIFIED_MODE {
			mode = "Standard"
		}
		health := "OnlyHealthy"
		if lb.HealthPolicy == workloadapi.LoadBalancing_ALLOW_ALL {
			health = "AllowAll"
		}
		o["loadBalancer"] = object{"mode": mode, "routingPreferences": prefs, "healthPolicy": health}
	}
	return o
}

// title turns WORKLOAD_SELECTOR into WorkloadSelector.
func title(s string) string {
	var b strings.Builder
	for _, w := range strings.Split(strings.ToLower(s), "_") {
		if w != "" {
			b.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return b.String()
}

func policy(p *security.Authorization) any {
	groups := [][][]object{}
	for _, g := range p.Groups {
		rules := [][]object{}
		for _, r := range g.Rules {
			ms := []object{}
			for _, m := range r.Matches {
				ms = append(ms, match(m))
			}
			rules = append(rules, ms)
		}
		groups = append(groups, rules)
	}
	return object{
		"name":      p.Name,
		"namespace": p.Namespace,
		"scope":     title(p.Scope.String()),
		"action":    title(p.Action.String()),
		"rules":     groups,
		"dryRun":    p.DryRun,
	}
}

func match(m *security.Match) object {
	o := object{}
	strs := func(k string, list []*security.StringMatch) {
		var out []object
		for _, s := range list {
			switch t := s.MatchType.(type) {
			case *security.StringMatch_Exact:
				out = append(out, object{"Exact": t.Exact})
			case *security.StringMatch_Prefix:
				out = append(out, object{"Prefix": t.Prefix})
			case *security.StringMatch_Suffix:
				out = append(out, object{"Suffix": t.Suffix})
			case *security.StringMatch_Presence:
				out = append(out, object{"Presence": object{}})
			}
		}
		if out != nil {
			o[k] = out
		}
	}
	cidrs := func(k string, list []*security.Address) {
		var out []string
		for _, a := range list {
			out = append(out, ip(a.Address)+"/"+strconv.Itoa(int(a.Length)))
		}
		if out != nil {
			o[k] = out
		}
	}
	sas := func(k string, list []*security.ServiceAccountMatch) {
		var out []object
		for _, s := range list {
			out = append(out, object{"namespace": s.Namespace, "serviceAccount": s.ServiceAccount})
		}
		if out != nil {
			o[k] = out
		}
	}
	strs("namespaces", m.Namespaces)
	strs("notNamespaces", m.NotNamespaces)
	strs("principals", m.Principals)
	strs("notPrincipals", m.NotPrincipals)
	sas("serviceAccounts", m.ServiceAccounts)
	sas("notServiceAccounts", m.NotServiceAccounts)
	cidrs("sourceIps", m.SourceIps)
	cidrs("notSourceIps", m.NotSourceIps)
	cidrs("destinationIps", m.DestinationIps)
	cidrs("notDestinationIps", m.NotDestinationIps)
	if len(m.DestinationPorts) > 0 {
		o["destinationPorts"] = m.DestinationPorts
	}
	if len(m.NotDestinationPorts) > 0 {
		o["notDestinationPorts"] = m.NotDestinationPorts
	}
	return o
}

func certificate(d identity.Dump) any {
	o := object{"identity": d.Identity, "state": "Initializing", "certChain": []object{}, "rootCerts": []object{}}
	if d.Err != nil {
		o["state"] = "Unavailable: " + d.Err.Error()
	}
	if d.Cert != nil {
		o["state"] = "Available"
		o["certChain"], o["rootCerts"] = each(d.Cert.Chain, x509Dump), each(d.Cert.Roots, x509Dump)
	}
	return o
}

func x509Dump(c *x509.Certificate) any {
	return object{
		"pem":            string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
		"serialNumber":   c.SerialNumber.String(),
		"validFrom":      c.NotBefore.UTC().Format(time.RFC3339),
		"expirationTime": c.NotAfter.UTC().Format(time.RFC3339),
	}
}
