// Package protocols proves that application protocols survive the double tunnel.
package protocols

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"ambient.test/conformance/behaviors"
	"ambient.test/conformance/framework/expect"
	"ambient.test/conformance/framework/prove"
	"ambient.test/conformance/framework/traffic"
	"ambient.test/conformance/framework/workload"
)

func init() {
	prove.Proves(behaviors.HTTP1CrossesClusters, func(s *prove.Spec) {
		echo := across(s)
		big := strings.Repeat("h", 60<<10)
		s.Each(func(from *prove.Site) {
			both := expect.ReachAll(s.Names()...)
			get := echo.HTTP(from.Client, 40)
			s.Then(get, expect.And(both, protocol("HTTP/1.1")))
			post := get
			post.Call.Method = "POST"
			s.Then(post, both)
			headers := get
			headers.Call.Headers = map[string]string{"X-Big": big}
			s.Then(headers, expect.And(both, expect.Each("to have carried 60 KiB of header", func(o traffic.Outcome) bool { return o.Request.Get("X-Big") == big })))
			slow := get
			slow.Call.URL += "?delay=300ms"
			s.Then(slow, both)
			// An error of the application is its own: it must come through, and not be turned into a failure of the mesh.
			teapot := get
			teapot.Call.URL += "?codes=418"
			s.Twin(teapot, expect.And(expect.Answer(418), expect.Each("to come from an echo server", func(o traffic.Outcome) bool { return o.Kind == traffic.Reached })))
		})
	})

	prove.Proves(behaviors.HTTP2AndGRPCCrossClusters, func(s *prove.Spec) {
		echo := across(s)
		s.Each(func(from *prove.Site) {
			both := expect.ReachAll(s.Names()...)
			h2 := echo.HTTP(from.Client, 40)
			h2.Call.HTTP2 = true
			s.Then(h2, expect.And(both, protocol("HTTP/2.0")))
			grpc := prove.Calls{From: from.Client, Call: traffic.Call{URL: "grpc://" + echo.Host() + ":" + strconv.Itoa(workload.GRPC), Times: s.Calls(40), Message: "amc"}}
			s.Then(grpc, both)
			// ztunnel balances connections, not requests: one channel stays with one pod, its neighbors do not (the twin of the spread above).
			channel := grpc
			channel.Call.Reuse, channel.Call.Timeout = 500, 20*time.Second
			s.Twin(channel, expect.OnePod())
			stream := h2
			stream.Call.Reuse, stream.Call.Timeout = 200, 20*time.Second
			s.Twin(stream, expect.OnePod())
		})
	})

	prove.Proves(behaviors.ServerFirstTCPCrossesClusters, func(s *prove.Spec) {
		echo := across(s)
		s.Each(func(from *prove.Site) {
			first := prove.Calls{From: from.Client, Call: traffic.Call{URL: fmt.Sprintf("tcp://%s:%d", echo.Host(), workload.ServerFirst), Times: s.Calls(40), ServerFirst: true}}
			s.Then(first, expect.And(expect.ReachAll(s.Names()...), expect.Each("to come within a second", func(o traffic.Outcome) bool { return o.Took < time.Second })))
			// Twin: on the port whose server waits for the client, a client that waits for the banner waits in vain.
			waits := echo.TCP(from.Client, 2)
			waits.Call.ServerFirst, waits.Call.Timeout = true, time.Second
			s.Twin(waits, expect.Fail(traffic.TimedOut))
		})
	}, prove.Timed)
}

// across is a global service that both clusters have been seen to answer.
func across(s *prove.Spec) *prove.Service {
	echo := s.Service("echo")
	echo.Global(s.Sites...)
	return echo
}

func protocol(p string) expect.Expectation {
	return expect.Each("to have arrived as "+p, func(o traffic.Outcome) bool { return o.Protocol == p })
}
