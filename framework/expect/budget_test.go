package expect

import (
	"strings"
	"testing"
	"time"

	"ambient.test/conformance/framework/traffic"
)

// timeline has a hundred calls in ten seconds; those that begin in [from, to) fail.
func timeline(from, to time.Duration) traffic.Timeline {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := traffic.Timeline{Who: "client -> echo", Begin: begin, End: begin.Add(10 * time.Second)}
	for at := time.Duration(0); at < 10*time.Second; at += 100 * time.Millisecond {
		o := traffic.Outcome{Kind: traffic.Reached, Cluster: "a"}
		if at >= from && at < to {
			o = traffic.Outcome{Kind: traffic.Reset, Detail: "EOF"}
		}
		l.Calls = append(l.Calls, traffic.Timed{At: begin.Add(at), Outcome: o})
	}
	return l
}

func TestBudgets(t *testing.T) {
	const second = time.Second
	for name, c := range map[string]struct {
		budget Budget
		of     traffic.Timeline
		want   bool
		wrong  string // in the message, when it does not match
	}{
		"none lost":             {NoneLost(), timeline(0, 0), true, ""},
		"one lost":              {NoneLost(), timeline(0, 100*time.Millisecond), false, "1 of 100 calls failed, the last 0s after the change"},
		"none after, held":      {NoneAfter(second), timeline(0, second), true, ""},
		"none after, at it":     {NoneAfter(second), timeline(0, 1100*time.Millisecond), true, ""},
		"none after, exceeded":  {NoneAfter(second), timeline(0, 2*second), false, "9 of 100 calls failed, the last 1.9s after the change"},
		"at most, held":         {AtMost(1), timeline(0, 100*time.Millisecond), true, ""},
		"at most, exceeded":     {AtMost(1), timeline(0, 200*time.Millisecond), false, "2 of 100 calls failed"},
		"at most nothing, held": {AtMost(0), timeline(0, 0), true, ""},
		"no calls":              {NoneLost(), traffic.Timeline{}, false, "no call was made"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.budget.Match(c.of)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
			if says := c.budget.FailureMessage(c.of); !c.want && !strings.Contains(says, c.wrong) {
				t.Errorf("got %q, want it to say %q", says, c.wrong)
			}
		})
	}
}

// A budget alone says nothing of calls that did not run under an event.
func TestBudgetOfOtherThings(t *testing.T) {
	if _, err := NoneLost().Match(traffic.Outcomes{}); err == nil {
		t.Error("got no error")
	}
}

// Calls ended 5.2 s after a gateway had been killed, and were said to show that none of those that begin
// later than 5 s fails.
func TestNoneAfterTheLastCall(t *testing.T) {
	_, err := NoneAfter(10 * time.Second).Match(timeline(0, 0))
	if err == nil || !strings.Contains(err.Error(), "the last call began 9.9s after the change") {
		t.Errorf("got the error %v", err)
	}
}
