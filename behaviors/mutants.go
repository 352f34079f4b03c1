package behaviors

// Mutant is a way to break a mesh on purpose. A spec that stays green on a mutant that names its
// behavior proves nothing.
type Mutant struct {
	ID    string
	Break string // what is done, to exactly one cluster unless said otherwise
}

// Mutants that behaviors name.
var Mutants = []Mutant{
	{"M00", "restart istiod and ztunnel of cluster1 and break nothing"},
	{"M01", "remove istio.io/global from the service in cluster2"},
	{"M02", "set meshConfig.serviceScopeConfigs to an empty list"},
	{"M03", "scale the east-west gateway of cluster2 to 0"},
	{"M04", "delete the remote secret in cluster1"},
	{"M05", "set AMBIENT_ENABLE_MULTI_NETWORK=false in cluster1"},
	{"M06", "drop the network label of istio-system in cluster1"},
	{"M07", "drop NETWORK from the ztunnel of cluster1"},
	{"M08", "give cluster2 a root CA of its own"},
	{"M09", "route the pod addresses between the clusters"},
	{"M10", "rename the waypoint in cluster2"},
	{"M11", "remove istio.io/global from the waypoint's Service"},
	{"M12", "delete the HTTPRoute that marks what crossed the waypoint"},
	{"M13", "take outlierDetection out of the DestinationRule"},
	{"M14", "delete the AuthorizationPolicy in cluster2"},
	{"M15", "replace the east-west gateway by a plain TCP forwarder, or by an Envoy that asks for no client certificate"},
	{"M16", "allow plaintext and take the servers out of the mesh"},
	{"M17", "set ENABLE_RESPONSE_BAGGAGE=false on ztunnel"},
	{"M18", "stop istiod of cluster1 with SIGSTOP"},
	{"M19", "set AMBIENT_ENABLE_MULTI_NETWORK_WAYPOINT=false"},
	{"M20", "run the east-west gateway under another ServiceAccount"},
	{"M21", "let the server lie about its cluster"},
	{"M22", "let something that is not the remote server answer for it"},
	{"M23", "label every service istio.io/global in all clusters, again and again"},
	{"M24", "put the network label of istio-system in cluster1 back as soon as it is taken away"},
	{"M25", "let two services of cluster2 select each other's pods"},
	{"M26", "remove istio.io/global in cluster2 once the service's pods in cluster1 are gone"},
	{"M27", "let the HTTPRoute in cluster2 mark twice, as two waypoints would"},
	{"M28", "take the preference out of the DestinationRule in cluster1"},
	{"M29", "put a proxy in front of the servers of cluster2 that cuts connections after two seconds"},
	{"M30", "lead the port of cluster2 whose server speaks first to a server that waits"},
	{"M31", "let istio.io/global in cluster2 come and go: 20 s gone, 10 s there"},
	{"M32", "replace the east-west gateway by an Envoy that hands istiod's port 15014 on"},
	{"M33", "take the servers of cluster2 out of the mesh, so that the last hop to them is plaintext"},
	{"M34", "let a pod of cluster1 speak in plaintext to an address outside the fleet, once a second"},
	{"M35", "let a restart of the east-west gateway of cluster2 take all pods away before it makes new ones"},
	{"M36", "let cluster1 lose its remote secrets when its istiod restarts"},
	{"M37", "open one more port at the address of the east-west gateway of cluster2"},
	{"M38", "let a service of cluster2 select another's pods"},
	{"M39", "put istio.io/global back on istiod's Service in cluster1 as soon as it is taken away"},
	{"M40", "put listeners that an east-west gateway of cluster2 cannot serve right as soon as they appear"},
	{"M41", "put the remote secrets of cluster1 back as they were, whenever they change"},
	{"M42", "delete the first remote secret of cluster1 that is added or changed"},
	{"M43", "scale the east-west gateway of cluster2 to 0 as soon as istiod of cluster1 is"},
	{"M44", "take every new pod of cluster1 out of the mesh"},
	{"M45", "delete PeerAuthentications of cluster1 once one of its remote secrets has changed"},
	{"M46", "set PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS=exec,tokenFile in cluster1"},
	{"M47", "label Secrets of cluster1 that are named as its remote secrets as such"},
	{"M48", "give wrong remote secrets of cluster1 their right kubeconfigs back"},
	{"M49", "take every value of istio.io/global for true"},
	{"M50", "serve a global service of cluster1 in cluster2, too, where it does not exist"},
	{"M51", "let the policies of cluster2 that admit an account admit another one"},
	{"M52", "let the east-west gateway of cluster2 refuse the services with a policy by path"},
	{"M53", "take use-waypoint: none from services in cluster2"},
	{"M54", "let the scope rules of cluster1 make the services of namespaces global that are labeled istio.io/global"},
	{"M55", "put the mesh configuration of cluster1 back as it was, two seconds after each change"},
	{"M56", "give cluster2 the mesh configuration of cluster1, whenever that changes"},
	{"M57", "remove istio.io/global from Gateways of waypoints in cluster2"},
	{"M58", "let the waypoints of cluster1 that another namespace may not use be used by all"},
	{"M59", "put the east-west gateway of cluster2 back as it was, two seconds after each change"},
	{"M60", "publish the addresses of pods that are not ready in services of cluster1"},
	{"M61", "let each service of cluster2 lead to one of its pods only"},
	{"M62", "take the traffic distribution from services in cluster1"},
	{"M63", "let a restart of a service's pods in cluster2 take all of them away before it makes new ones"},
	{"M64", "once pods of cluster2 are not ready, make those of the same service in cluster1 not ready, too"},
	{"M65", "let servers of cluster2 that serve HTTPS show another certificate"},
	{"M66", "delete PeerAuthentications of pods in cluster2 that are STRICT"},
	{"M67", "keep a waypoint of cluster1 away for 20 s once its pods are gone, and its Service local"},
	{"M68", "lead the classic gateways of cluster1 that expose istiod to the API server"},
	{"M69", "take every new pod of cluster2 out of the mesh"},
	{"M73", "delete the RequestAuthentication in cluster2"},
	{"M74", "delete the EnvoyFilter in cluster2"},
	{"M75", "delete the VirtualService in cluster2"},
	{"M77", "take services from behind their waypoints in all clusters"},
	{"M79", "let a pod of cluster1 name a service of GW-16 to the east-west gateway of cluster2 in plaintext, once a second"},
	{"M80", "let global services of cluster1 select nothing once the east-west gateway of cluster2 has no pods"},
	{"M81", "take pods of cluster1 out of the mesh that start once istio-cni has restarted"},
	{"M82", "keep cluster1 without a ztunnel for 20 s once it has restarted"},
	{"M83", "put a pod that does not speak HBONE on its port behind the east-west gateway of cluster2"},
	{"M84", "let the gateway of cluster2 lose all replicas for 20 s once it loses one"},
	{"M85", "let a pod of cluster1 outside the mesh answer in the name of cluster2"},
	{"M86", "take the pods of cluster1 that are outside the mesh into it"},
	{"M87", "lead the TCP port of services in cluster2 to another port of their pods"},
	{"M88", "scale the east-west gateway of cluster2 to 0 while cluster1 has a remote secret less"},
	{"M89", "delete the TLSRoute in cluster2"},
	{"M90", "remove istio.io/global from services of cluster2 that were there without it before"},
	{"M91", "let the gateway of cluster2 lose all replicas for 20 s once a service there becomes global"},
	{"M92", "put namespaces of specs in cluster1 back into the mesh as soon as they are taken out of it"},
	{"M93", "keep cluster1 without istiod once the east-west gateway of cluster2 has another address"},
	{"M94", "scale the gateways that specs add to cluster2 to 0 once another one there has no network"},
}

// MutantByID finds a mutant; nil if there is none of this id.
func MutantByID(id string) *Mutant {
	for i := range Mutants {
		if Mutants[i].ID == id {
			return &Mutants[i]
		}
	}
	return nil
}
