package eastwest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"ambient.test/conformance/framework/traffic"
)

// HealthPort is the port on which a gateway tells its health.
const HealthPort = 15021

// scanned are ports on which parts of Istio, of Kubernetes and gateways of other kinds listen.
var scanned = []int{22, 80, 443, 2379, 6443, 8080, 8443, 9090, 10250, 10255, 10256, 15000, 15001, 15004, 15006, Port, 15009, 15010,
	15012, 15014, 15017, 15020, HealthPort, 15053, 15090, 15443, 31400}

// Ports are those of an address that are open.
type Ports struct {
	Way  string
	Open []int
}

// String is for messages.
func (p Ports) String() string { return fmt.Sprintf("%s: %v", p.Way, p.Open) }

// OpenPorts connects to ports of the address, each within a second. It says something of HTTP,
// which makes servers of HTTP answer and others end the connection.
func (a Address) OpenPorts(ctx context.Context) (Ports, error) {
	host, _, err := net.SplitHostPort(a.At)
	if err != nil {
		return Ports{}, err
	}
	open, errs := make([]bool, len(scanned)), make([]error, len(scanned))
	var all sync.WaitGroup
	for i, p := range scanned {
		all.Go(func() {
			url := "http://" + net.JoinHostPort(host, strconv.Itoa(p)) + "/"
			os, err := a.From.Do(ctx, a.From.Get(url).Within(time.Second).Call)
			if errs[i] = err; err == nil {
				open[i] = connected(os[0])
			}
		})
	}
	all.Wait()
	found := Ports{Way: a.From.Name + " at " + host}
	for i, p := range scanned {
		if open[i] {
			found.Open = append(found.Open, p)
		}
	}
	return found, errors.Join(errs...)
}

// connected says that a connection was opened, whatever came of it. A server that does not say a
// word within the second is taken for none.
func connected(o traffic.Outcome) bool {
	return o.Kind != traffic.Refused && o.Kind != traffic.TimedOut && !strings.Contains(o.Detail, "dial tcp")
}

// Health are GETs of a path at the port that tells the gateway's health.
func (a Address) Health(path string) traffic.Calls {
	host, _, _ := net.SplitHostPort(a.At)
	return a.From.Get("http://" + net.JoinHostPort(host, strconv.Itoa(HealthPort)) + path)
}
