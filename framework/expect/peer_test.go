package expect

import (
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/peer"
)

func TestResolves(t *testing.T) {
	for _, c := range []struct {
		got  peer.Addresses
		want bool
	}{
		{peer.Addresses{All: []string{"10.0.0.1", "fd00::1"}}, true},
		{peer.Addresses{All: []string{"10.0.0.1"}}, false},
		{peer.Addresses{All: []string{"10.0.0.1", "10.0.0.2", "fd00::1"}}, false},
		{peer.Addresses{Failed: "no such host"}, false},
	} {
		if ok, err := Resolves("fd00::1", "10.0.0.1").Match(c.got); err != nil || ok != c.want {
			t.Errorf("%s: it matches: %v (%v), want %v", c.got, ok, err, c.want)
		}
	}
}

func TestConnections(t *testing.T) {
	whole := peer.Ends{
		Client: peer.End{Sent: 2, SentSum: "up", Received: 3, ReceivedSum: "down", How: peer.Closed},
		Server: peer.End{Cluster: "b", Sent: 3, SentSum: "down", Received: 2, ReceivedSum: "up", How: peer.Closed},
	}
	with := func(e peer.Ends, change func(*peer.Ends)) []peer.Ends { change(&e); return []peer.Ends{e} }
	aborted := peer.Ends{Client: peer.End{How: peer.ByItself}, Server: peer.End{How: peer.Reset, Waited: 1500}}
	for what, c := range map[string]struct {
		want types.GomegaMatcher
		seen []peer.Ends
		says string // empty: as wanted
	}{
		"whole":              {CarriedWhole(2, 3), []peer.Ends{whole, whole}, ""},
		"none":               {CarriedWhole(2, 3), nil, "no connections"},
		"one of two":         {CarriedWhole(2, 3), []peer.Ends{whole, {Failed: "refused"}}, "1 of 2: no connection: refused"},
		"too little":         {CarriedWhole(2, 4), []peer.Ends{whole}, "2 arrived at the server and 3 at the client"},
		"other bytes up":     {CarriedWhole(2, 3), with(whole, func(e *peer.Ends) { e.Server.ReceivedSum = "x" }), "other bytes"},
		"other bytes down":   {CarriedWhole(2, 3), with(whole, func(e *peer.Ends) { e.Client.ReceivedSum = "x" }), "other bytes"},
		"still open":         {CarriedWhole(2, 3), with(whole, func(e *peer.Ends) { e.Server.How = peer.Open }), `"open" at the server`},
		"reset":              {CarriedWhole(2, 3), with(whole, func(e *peer.Ends) { e.Client.How = peer.Reset }), `"reset" at the client`},
		"the client breaks":  {BrokenOff(2 * time.Second), []peer.Ends{aborted}, ""},
		"the server breaks":  {BrokenOff(2 * time.Second), []peer.Ends{{Client: aborted.Server, Server: aborted.Client}}, ""},
		"late":               {BrokenOff(time.Second), []peer.Ends{aborted}, "after 1.5s"},
		"neither breaks":     {BrokenOff(time.Second), []peer.Ends{whole}, "neither end reset it"},
		"nobody notices":     {BrokenOff(time.Second), with(aborted, func(e *peer.Ends) { e.Server.How = peer.Open }), `it is "open"`},
		"it could not begin": {BrokenOff(time.Second), []peer.Ends{{Failed: "refused"}}, "no connection"},
		"cut":                {CutOff(), []peer.Ends{{Client: peer.End{Sent: 4, How: peer.Reset}}}, ""},
		"not cut":            {CutOff(), []peer.Ends{{Client: peer.End{How: peer.Open}}}, `for the client it is "open"`},
		"cut before it was":  {CutOff(), []peer.Ends{{Client: peer.End{How: peer.Reset}}}, "no connection"},
		"nobody answers":     {RefusedByReset(), []peer.Ends{{Client: peer.End{How: peer.Reset}}}, ""},
		"it does not begin":  {RefusedByReset(), []peer.Ends{{Failed: "no such host"}}, "no connection"},
		"somebody answers":   {RefusedByReset(), []peer.Ends{whole}, "a server answered"},
		"cut afterwards":     {RefusedByReset(), []peer.Ends{{Client: peer.End{Sent: 4, How: peer.Reset}}}, "a server answered"},
		"goes on":            {StaysOpen(), []peer.Ends{{Client: peer.End{How: peer.Open}}}, ""},
		"does not go on":     {StaysOpen(), []peer.Ends{{Client: peer.End{How: peer.Reset}}}, "it ended"},
		"from there":         {ServedFrom(name("a"), name("b")), []peer.Ends{whole}, ""},
		"from elsewhere":     {ServedFrom(name("a")), []peer.Ends{whole}, `it is in "b"`},
		"from nobody knows":  {ServedFrom(name("a")), []peer.Ends{{}}, `it is in ""`},
	} {
		t.Run(what, func(t *testing.T) {
			ok, err := c.want.Match(c.seen)
			if err != nil {
				t.Fatal(err)
			}
			if ok != (c.says == "") {
				t.Fatalf("it matches: %v", ok)
			}
			if said := c.want.FailureMessage(c.seen); !ok && !strings.Contains(said, c.says) {
				t.Errorf("got %s, want it to say %q", said, c.says)
			}
		})
	}
}
