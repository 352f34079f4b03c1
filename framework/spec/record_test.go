package spec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/eastwest"
	"ambient.test/conformance/framework/traffic"
)

func TestAnswersAsOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		answer eastwest.Answer
		want   string
	}{
		"served":          {eastwest.Answer{Cluster: "a", Code: 200}, "a"},
		"a proxy's error": {eastwest.Answer{Code: 503}, "status 503"},
		"CONNECT refused": {eastwest.Answer{Refusal: &eastwest.Refusal{Status: 503}}, "tunnel refused with 503"},
		"ended":           {eastwest.Answer{Refusal: &eastwest.Refusal{Err: errors.New("EOF")}}, string(traffic.Reset)},
		"bytes":           {eastwest.Answer{Raw: []byte("hi"), Err: errors.New("EOF")}, "other (hi)"},
		"silence":         {eastwest.Answer{Err: errors.New("timeout")}, string(traffic.TimedOut)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := asOutcome(c.answer).String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A Service has pods where it is told to, and the same ports everywhere.
func TestServiceWithPodsElsewhere(t *testing.T) {
	a, b := &Cluster{}, &Cluster{}
	s := &Service{Namespace: "ns", Name: "s", App: "echo", in: Clusters{b}, udp: 53, t: &T{Behavior: &behaviors.Behavior{ID: "GW-12"}}}
	udp := corev1.ServicePort{Name: "udp", Protocol: corev1.ProtocolUDP, Port: 53, TargetPort: intstr.FromInt32(traffic.HTTP)}
	for app, c := range map[string]*Cluster{"echo-elsewhere": a, "echo": b} {
		t.Run(app, func(t *testing.T) {
			o := s.Object(c).(*corev1.Service)
			if diff := cmp.Diff(map[string]string{"app": app}, o.Spec.Selector); diff != "" {
				t.Errorf("selector (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(udp, o.Spec.Ports[len(o.Spec.Ports)-1]); diff != "" {
				t.Errorf("last port (-want +got):\n%s", diff)
			}
		})
	}
}
