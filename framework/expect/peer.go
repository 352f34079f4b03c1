package expect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onsi/gomega/types"

	"ambient.test/conformance/framework/peer"
)

// eachConnection is a matcher of connections between peers.
func eachConnection(says string, wrong func(peer.Ends) string) types.GomegaMatcher {
	return Value(says, func(all []peer.Ends) string {
		var bad []string
		for _, e := range all {
			if w := wrong(e); w != "" {
				bad = append(bad, w+": "+e.String())
			}
		}
		switch {
		case len(all) == 0:
			return "there are no connections"
		case len(bad) == 0:
			return ""
		}
		return fmt.Sprintf("%d of %d: %s", len(bad), len(all), bad[0])
	})
}

// CarriedWhole expects that all bytes arrived, as they were sent, at both ends, and that both saw the
// other one close in order.
func CarriedWhole(up, down int64) types.GomegaMatcher {
	return eachConnection(fmt.Sprintf("%d bytes to arrive whole at the server and %d at the client", up, down), func(e peer.Ends) string {
		switch {
		case e.Failed != "":
			return "no connection"
		case e.Client.How != peer.Closed || e.Server.How != peer.Closed:
			return fmt.Sprintf("the connection ended %q at the client and %q at the server", e.Client.How, e.Server.How)
		case e.Server.Received != up || e.Client.Received != down:
			return fmt.Sprintf("%d arrived at the server and %d at the client", e.Server.Received, e.Client.Received)
		case e.Server.ReceivedSum != e.Client.SentSum || e.Client.ReceivedSum != e.Server.SentSum:
			return "other bytes arrived than were sent"
		}
		return ""
	})
}

// BrokenOff expects that one end reset the connection and that the other one, which was sending,
// noticed within a time.
func BrokenOff(within time.Duration) types.GomegaMatcher {
	return eachConnection(fmt.Sprintf("one end to reset the connection, and the other to notice within %s", within), func(e peer.Ends) string {
		if e.Failed != "" {
			return "no connection"
		}
		by, other := e.Client, e.Server
		if other.How == peer.ByItself {
			by, other = other, by
		}
		switch waited := time.Duration(other.Waited) * time.Millisecond; {
		case by.How != peer.ByItself:
			return "neither end reset it"
		case other.How != peer.Reset:
			return fmt.Sprintf("for the other end it is %q", other.How)
		case waited > within:
			return fmt.Sprintf("the other end noticed after %s", waited)
		}
		return ""
	})
}

// CutOff expects that somebody between the ends broke the connections off while the client sent.
func CutOff() types.GomegaMatcher {
	return eachConnection("the connection to be cut", func(e peer.Ends) string {
		switch {
		case e.Failed != "" || e.Client.How != peer.Open && e.Client.Sent == 0:
			return "no connection"
		case e.Client.How != peer.Reset:
			return fmt.Sprintf("for the client it is %q", e.Client.How)
		}
		return ""
	})
}

// RefusedByReset expects that the client's connection is reset before a server has answered. What could
// not begin, such as for want of an address, says nothing of a refusal.
func RefusedByReset() types.GomegaMatcher {
	return eachConnection("the connection to be reset before a server answers", func(e peer.Ends) string {
		switch {
		case e.Failed != "":
			return "no connection"
		case e.Client.How != peer.Reset || e.Client.Sent > 0:
			return "a server answered"
		}
		return ""
	})
}

// StaysOpen expects that the connections have not ended.
func StaysOpen() types.GomegaMatcher {
	return eachConnection("the connection to stay open", func(e peer.Ends) string {
		if e.Failed != "" || e.Client.How != peer.Open {
			return "it ended"
		}
		return ""
	})
}

// Resolves expects that a name has exactly these addresses.
func Resolves(addresses ...string) types.GomegaMatcher {
	want := slices.Sorted(slices.Values(addresses))
	return Value("the addresses "+strings.Join(want, ", "), func(got peer.Addresses) string {
		if got.Failed != "" || !slices.Equal(got.All, want) {
			return "it has others: " + got.String()
		}
		return ""
	})
}

// ServedFrom expects that the server is in one of these clusters.
func ServedFrom[C fmt.Stringer](clusters ...C) types.GomegaMatcher {
	want := names(clusters)
	return eachConnection(fmt.Sprintf("the server to be in one of %v", want), func(e peer.Ends) string {
		if !slices.Contains(want, e.Server.Cluster) {
			return fmt.Sprintf("it is in %q", e.Server.Cluster)
		}
		return ""
	})
}
