package spec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

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
	want := map[*Cluster]string{a: "echo-elsewhere", b: "echo"}
	for c, app := range want {
		o := s.Object(c).(*corev1.Service)
		if diff := cmp.Diff(map[string]string{"app": app}, o.Spec.Selector); diff != "" {
			t.Errorf("selector (-want +got):\n%s", diff)
		}
		if got := o.Spec.Ports[len(o.Spec.Ports)-1]; got.Protocol != "UDP" || got.Port != 53 || got.TargetPort.IntVal != traffic.HTTP {
			t.Errorf("got last port %+v, want UDP 53 to the HTTP port of the pods", got)
		}
	}
}
