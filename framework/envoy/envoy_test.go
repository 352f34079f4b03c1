package envoy

import (
	"maps"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const answer = `{"cluster_statuses": [
		{"name": "outer", "host_statuses": [
			{"address": {"socket_address": {"address": "10.0.0.1", "port_value": 15008}},
			 "stats": [{"name": "cx_total", "value": "3"}, {"name": "rq_total", "value": "42"}, {"type": "GAUGE", "name": "rq_active"}]},
			{"address": {"socket_address": {"address": "10.0.0.1", "port_value": 15008}}, "stats": [{"name": "rq_total", "value": "1"}]},
			{"address": {"socket_address": {"address": "fd00::1", "port_value": 15008}}, "stats": [{"name": "rq_total"}]}]},
		{"name": "inner", "host_statuses": [
			{"address": {"envoy_internal_address": {"server_listener_name": "outer"}}, "stats": [{"name": "rq_total", "value": "43"}]}]},
		{"name": "of two clusters", "host_statuses": [
			{"address": {"socket_address": {"address": "10.0.0.1", "port_value": 15008}}, "stats": [{"name": "rq_total", "value": "2"}]},
			{"address": {"socket_address": {"address": "fd00::1", "port_value": 15008}}, "stats": [{"name": "rq_total", "value": "5"}]}]},
		{"name": "without hosts"}]}`
	got := Requests{}
	if err := parse(strings.NewReader(answer), got); err != nil {
		t.Fatal(err)
	}
	if want := (Requests{"10.0.0.1:15008": 45, "[fd00::1]:15008": 5}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, wrong := range []string{"", "no JSON", strings.Replace(answer, `"42"`, `"x"`, 1)} {
		if err := parse(strings.NewReader(wrong), Requests{}); err == nil {
			t.Errorf("%.20q: got no error", wrong)
		}
	}
}
