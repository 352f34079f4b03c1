package eastwest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"ambient.test/conformance/framework/inspect"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/traffic"
)

// Port is the port on which a gateway accepts HBONE.
const Port = 15008

// Gateway is an east-west gateway of a cluster, as other networks find it.
type Gateway struct {
	inspect.Gateway
	// Endpoints are the ready pods behind its addresses.
	Endpoints []*Endpoint
}

// String names the gateway as namespace/name.
func (g *Gateway) String() string { return g.Namespace + "/" + g.Name }

// From are the gateway's addresses as a client uses them.
func (g *Gateway) From(client *traffic.Client) (all []Address) {
	for _, a := range g.Addresses {
		all = append(all, Address{From: client, At: net.JoinHostPort(a, strconv.Itoa(Port))})
	}
	return all
}

// Close ends the connections into the pods.
func (g *Gateway) Close() {
	for _, e := range g.Endpoints {
		e.Close()
	}
}

// Find returns the east-west gateways of a cluster. It goes the way that traffic goes: from the
// address in a Gateway's status to the Service that has it, and to the ready endpoints of that
// Service. Labels prove nothing, since any pod can carry them. The list is empty if there is none
// of the class.
func Find(ctx context.Context, c *mesh.Cluster, class string) (found []*Gateway, err error) {
	fault := func(what string, err error) error {
		return fmt.Errorf("%s: %s: %w: run `%s get gateways,services,endpointslices -A`", c.Name, what, err, c.Kubectl())
	}
	gateways, err := inspect.Gateways(ctx, c.Client(), class)
	if err != nil {
		return nil, fault("look for gateways", err)
	}
	for _, g := range gateways {
		x := &Gateway{Gateway: g}
		if x.Endpoints, err = Endpoints(ctx, c, g.Namespace, g.Addresses); err != nil {
			return nil, fault("gateway "+x.String(), err)
		}
		found = append(found, x)
	}
	return found, nil
}

// Pod is one of a cluster's east-west gateways. Whoever may run the suite may list pods, and need
// not be allowed to list Deployments.
func Pod(ctx context.Context, c *mesh.Cluster) (*corev1.Pod, error) {
	all, err := Pods(ctx, c)
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}

// Pods are those of a cluster's east-west gateways, at least one.
func Pods(ctx context.Context, c *mesh.Cluster) ([]corev1.Pod, error) {
	var all corev1.PodList
	if err := c.Client().List(ctx, &all, ofGateways(c)); err != nil {
		return nil, fmt.Errorf("%s: pods of east-west gateways: %w", c.Name, err)
	}
	if len(all.Items) == 0 {
		return nil, fmt.Errorf("%s: its east-west gateways have no pods: run `%s get gateways,pods -A`", c.Name, c.Kubectl())
	}
	return all.Items, nil
}

func ofGateways(c *mesh.Cluster) client.MatchingLabels {
	return client.MatchingLabels{gateway.GatewayClassNameLabelKey: c.EastWestClass()}
}

// Deployment is that of a cluster's only east-west gateway.
func Deployment(ctx context.Context, c *mesh.Cluster) (*appsv1.Deployment, error) {
	all, err := Deployments(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, wrongNumber(c, len(all), "one")
	}
	return &all[0], nil
}

// Deployments are those of a cluster's east-west gateways, at least one.
func Deployments(ctx context.Context, c *mesh.Cluster) ([]appsv1.Deployment, error) {
	var all appsv1.DeploymentList
	if err := c.Client().List(ctx, &all, ofGateways(c)); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if len(all.Items) == 0 {
		return nil, wrongNumber(c, 0, "one or more")
	}
	return all.Items, nil
}

func wrongNumber(c *mesh.Cluster, got int, want string) error {
	return fmt.Errorf("%s: it has %d Deployments of east-west gateways, expected %s: run `%s get deployments -A -l %s=%s`",
		c.Name, got, want, c.Kubectl(), gateway.GatewayClassNameLabelKey, c.EastWestClass())
}

// Endpoints are the ready pods behind the Services of a namespace that have one of the addresses.
func Endpoints(ctx context.Context, c *mesh.Cluster, namespace string, addresses []string) (all []*Endpoint, err error) {
	var services corev1.ServiceList
	if err := c.Client().List(ctx, &services, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	seen := map[string]bool{} // a dual-stack Service has a slice for each family
	for _, s := range services.Items {
		if !has(s, addresses) {
			continue
		}
		var list discoveryv1.EndpointSliceList
		if err := c.Client().List(ctx, &list, client.InNamespace(namespace),
			client.MatchingLabels{discoveryv1.LabelServiceName: s.Name}); err != nil {
			return nil, err
		}
		for _, slice := range list.Items {
			for _, e := range slice.Endpoints {
				ready := e.Conditions.Ready == nil || *e.Conditions.Ready
				if !ready || e.TargetRef == nil || e.TargetRef.Kind != "Pod" || seen[e.TargetRef.Name] {
					continue
				}
				seen[e.TargetRef.Name] = true
				pod := &corev1.Pod{}
				if err := c.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: e.TargetRef.Name}, pod); err != nil {
					return nil, err
				}
				all = append(all, &Endpoint{IP: pod.Status.PodIP, pod: portforward.Open(c, namespace, pod.Name), uid: string(pod.UID),
					restarts: restarts(pod)})
			}
		}
	}
	return all, nil
}

// has says whether one of the addresses, an IP or a host name, is the Service's.
func has(s corev1.Service, addresses []string) bool {
	own := slices.Concat(s.Spec.ClusterIPs, s.Spec.ExternalIPs, []string{s.Spec.LoadBalancerIP})
	for _, in := range s.Status.LoadBalancer.Ingress {
		own = append(own, in.IP, in.Hostname)
	}
	return slices.ContainsFunc(addresses, func(a string) bool {
		return a != "" && (slices.Contains(own, a) || strings.HasPrefix(a, s.Name+"."+s.Namespace+".svc"))
	})
}
