package eastwest

import (
	"errors"
	"testing"

	"ambient.test/conformance/framework/portforward"
	"ambient.test/conformance/framework/traffic"
)

// What the echo application says of a call is one of three: an answer, a refusal, or nothing
// learned.
func TestThreeResults(t *testing.T) {
	const answer, refusal, nothing = "an answer", "a refusal", "nothing"
	for name, c := range map[string]struct {
		outcome traffic.Outcome
		want    string
	}{
		"the application":          {traffic.Outcome{Kind: traffic.Reached, Cluster: "b"}, answer},
		"a proxy's status":         {traffic.Outcome{Kind: traffic.Status, Code: 404}, answer},
		"bytes that are no HTTP":   {traffic.Outcome{Kind: traffic.Other, Detail: `malformed HTTP response "\x15\x03\x03"`}, answer},
		"CONNECT answered 503":     {traffic.Outcome{Kind: traffic.TunnelRefused, Code: 503}, refusal},
		"closed":                   {traffic.Outcome{Kind: traffic.Reset, Detail: "EOF"}, refusal},
		"an alert":                 {traffic.Outcome{Kind: traffic.TLSAlert, Detail: "remote error: tls: certificate required"}, refusal},
		"our time is over":         {traffic.Outcome{Kind: traffic.TimedOut, Detail: "i/o timeout"}, nothing},
		"nobody listens":           {traffic.Outcome{Kind: traffic.Refused, Detail: "connection refused"}, nothing},
		"the name is not resolved": {traffic.Outcome{Kind: traffic.NoSuchHost}, nothing},
		"an error nobody knows":    {traffic.Outcome{Kind: traffic.Other, Detail: "something new"}, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			a := Address{From: &traffic.Client{Name: "plain in a", Pod: &portforward.Pod{}}, At: "10.0.0.1:15008"}
			got, err := a.answer(c.outcome)
			seen := answer
			switch {
			case err != nil:
				seen = nothing
			case got.Refusal != nil:
				seen = refusal
			}
			if seen != c.want {
				t.Errorf("got %s (%v, %v), want %s", seen, got, err, c.want)
			}
		})
	}
}

// A client's certificate is refused by an alert that says so or by closing.
func TestRefusedForCertificate(t *testing.T) {
	for name, c := range map[string]struct {
		refusal Refusal
		want    bool
	}{
		"required":        {Refusal{Hop: "outer", Err: errors.New("remote error: tls: certificate required")}, true},
		"unknown CA":      {Refusal{Err: errors.New("Get: remote error: tls: unknown certificate authority")}, true},
		"closed":          {Refusal{Hop: "outer", Err: errors.New("EOF")}, true},
		"another alert":   {Refusal{Hop: "outer", Err: errors.New("remote error: tls: internal error")}, false},
		"inner":           {Refusal{Hop: "inner", Err: errors.New("remote error: tls: certificate required")}, true},
		"expired":         {Refusal{Hop: "outer", Err: errors.New("remote error: tls: expired certificate")}, true},
		"CONNECT refused": {Refusal{Hop: "outer", Status: 403}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.refusal.OfCertificate(); got != c.want {
				t.Errorf("%v: got %t, want %t", &c.refusal, got, c.want)
			}
		})
	}
}
