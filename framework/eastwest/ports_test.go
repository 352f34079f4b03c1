package eastwest

import (
	"testing"

	"ambient.test/conformance/framework/traffic"
)

func TestConnected(t *testing.T) {
	for name, c := range map[string]struct {
		outcome traffic.Outcome
		want    bool
	}{
		"answered":     {traffic.Outcome{Kind: traffic.Status, Code: 404}, true},
		"not HTTP":     {traffic.Outcome{Kind: traffic.Other, Detail: "expect to recv message with StatusCode=200, got \x15\x03\x03"}, true},
		"closed":       {traffic.Outcome{Kind: traffic.Reset, Detail: "read tcp 10.0.0.1:4->10.0.0.2:5: connection reset by peer"}, true},
		"refused":      {traffic.Outcome{Kind: traffic.Refused, Detail: "dial tcp 10.0.0.2:22: connect: connection refused"}, false},
		"unreachable":  {traffic.Outcome{Kind: traffic.Other, Detail: "dial tcp 10.0.0.2:22: connect: no route to host"}, false},
		"no answer":    {traffic.Outcome{Kind: traffic.TimedOut, Detail: "request set timed out after 1s"}, false},
		"dial expired": {traffic.Outcome{Kind: traffic.TimedOut, Detail: "dial tcp 10.0.0.2:22: i/o timeout"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := connected(c.outcome); got != c.want {
				t.Errorf("%s: got %t, want %t", c.outcome, got, c.want)
			}
		})
	}
}
