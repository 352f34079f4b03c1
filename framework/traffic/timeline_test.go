package traffic

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const second = time.Second

// A target that hangs is called as often as one that answers.
func TestStreamIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Open(t.Context(), 200*time.Millisecond, func(context.Context) (Outcome, error) {
			time.Sleep(5 * second)
			return Outcome{Kind: TimedOut}, nil
		})
		begun := time.Now()
		time.Sleep(1900 * time.Millisecond)
		calls := s.Close()
		var at []time.Duration
		for _, c := range calls {
			at = append(at, c.At.Sub(begun).Round(time.Millisecond))
			if c.Took != 5*second {
				t.Errorf("a call took %s, want 5 s: those under way at the end still count", c.Took)
			}
		}
		var want []time.Duration
		for i := range 10 {
			want = append(want, time.Duration(i)*200*time.Millisecond)
		}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("calls begin (-want +got):\n%s", diff)
		}
	})
}

func TestStreamEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := Open(ctx, second, func(context.Context) (Outcome, error) { return Outcome{Kind: Reached}, nil })
		time.Sleep(1500 * time.Millisecond)
		cancel()
		time.Sleep(10 * second)
		if n := len(s.Close()); n != 2 {
			t.Errorf("got %d calls, want the 2 before the context ended", n)
		}
	})
}

func TestQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		call func(since time.Duration) (Outcome, error) // as it ends, by when it began
		want bool
	}{
		"all served":        {func(time.Duration) (Outcome, error) { return Outcome{Kind: Reached}, nil }, true},
		"lost long ago":     {func(d time.Duration) (Outcome, error) { return Outcome{Kind: lostIf(d < 2*second)}, nil }, true},
		"lost a moment ago": {func(d time.Duration) (Outcome, error) { return Outcome{Kind: lostIf(d > 8*second)}, nil }, false},
		"one is under way":  {func(d time.Duration) (Outcome, error) { hangIf(d == 8*second); return Outcome{Kind: Reached}, nil }, false},
		"not known at the end": {func(d time.Duration) (Outcome, error) {
			if d > 8*second {
				return Outcome{}, errors.New("the stream to the pod broke")
			}
			return Outcome{Kind: Reached}, nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				s := Open(t.Context(), second, func(context.Context) (Outcome, error) { return c.call(time.Since(begun)) })
				time.Sleep(10*second + 500*time.Millisecond)
				if got := s.Quiet(time.Now().Add(-5*second), second); got != c.want {
					t.Errorf("got %t, want %t", got, c.want)
				}
				s.Close()
			})
		})
	}
}

func lostIf(b bool) Kind {
	if b {
		return Reset
	}
	return Reached
}

func hangIf(b bool) {
	if b {
		time.Sleep(time.Minute)
	}
}

// timeline has a call each second from 2 s before the event on. An r is one that is reached, an x
// one that fails, a ? one of which nothing was learned.
func timeline(calls string) Timeline {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := Timeline{Who: "client -> echo", Begin: begin, End: begin.Add(2 * second)}
	for i, c := range calls {
		x := Timed{At: begin.Add(time.Duration(i-2)*second + second/4), Took: 10 * time.Millisecond}
		switch c {
		case 'r':
			x.Outcome = Outcome{Kind: Reached, Cluster: "a"}
		case 'x':
			x.Outcome = Outcome{Kind: Reset, Detail: "EOF"}
		case '?':
			x.Err = errors.New("the pod is gone")
		}
		l.Calls = append(l.Calls, x)
	}
	return l
}

func TestTimeline(t *testing.T) {
	at := func(seconds ...float64) (all []time.Duration) {
		for _, s := range seconds {
			all = append(all, time.Duration(s*float64(second)))
		}
		return all
	}
	for name, c := range map[string]struct {
		calls string
		want  Losses
		says  string
	}{
		"nothing lost": {"rrrrrrr", Losses{Made: 2, Last: at(4.25)[0]}, "0 of 2 calls failed; in all 7 x a"},
		"lost during": {"rrxrrrr", Losses{Made: 2, Last: at(4.25)[0], Lost: at(.25), Detail: "EOF"},
			"1 of 2 calls failed, begun 250ms to 250ms after, recovered after 1.25s; in all 6 x a, 1 x reset"},
		"lost after": {"rrrrrxr", Losses{Made: 4, Last: at(4.25)[0], Lost: at(3.25), Detail: "EOF"},
			"1 of 4 calls failed, begun 3.25s to 3.25s after, recovered after 4.25s; in all 6 x a, 1 x reset"},
		"lost for ever": {"rrrxxxx", Losses{Made: 5, Last: at(4.25)[0], Lost: at(1.25, 2.25, 3.25, 4.25), Detail: "EOF"},
			"4 of 5 calls failed, begun 1.25s to 4.25s after, not recovered; in all 4 x reset, 3 x a"},
		"lost before":    {"rxrrrrr", Losses{Made: 2, Last: at(4.25)[0]}, "0 of 2 calls failed; in all 6 x a, 1 x reset"},
		"unknown during": {"rr?rrrr", Losses{Made: 2, Last: at(4.25)[0]}, "0 of 2 calls failed; in all 6 x a"},
	} {
		t.Run(name, func(t *testing.T) {
			l := timeline(c.calls)
			if diff := cmp.Diff(c.want, l.Losses()); diff != "" {
				t.Errorf("losses (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.says, l.String()); diff != "" {
				t.Errorf("it says (-want +got):\n%s", diff)
			}
		})
	}
}

// A call that was under way when the event began may have been cut by it.
func TestCallUnderWayCounts(t *testing.T) {
	l := timeline("rxrrrr")
	l.Calls[1].Took = 3 * second
	want := Losses{Made: 3, Last: 3*second + second/4, Lost: []time.Duration{-750 * time.Millisecond}, Detail: "EOF"}
	if diff := cmp.Diff(want, l.Losses()); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

// Where an event is undone, or is made when it is over, the time counts from there.
func TestTimesCountFromTheChange(t *testing.T) {
	l := timeline("rrxxxrrr")
	l.Changed, l.End = l.Begin.Add(2*second), l.Begin.Add(3*second)
	want := Losses{Made: 3, Last: 3*second + second/4, Detail: "EOF",
		Lost: []time.Duration{-1750 * time.Millisecond, -750 * time.Millisecond, 250 * time.Millisecond}}
	if diff := cmp.Diff(want, l.Losses()); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
	says := "3 of 3 calls failed, begun 1.75s before to 250ms after, recovered after 3.25s; in all 5 x a, 3 x reset"
	if diff := cmp.Diff(says, l.String()); diff != "" {
		t.Errorf("it says (-want +got):\n%s", diff)
	}
}

func TestSeconds(t *testing.T) {
	l := timeline("rrx?")
	if diff := cmp.Diff([]Second{{1, 0}, {1, 0}, {1, 1}, {1, 0}}, l.Seconds(l.Calls[0].At)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnknown(t *testing.T) {
	for calls, want := range map[string]string{
		"rrxr": "<nil>",
		"rr?r": "client -> echo: nothing was learned of 1 of 4 calls: the pod is gone",
	} {
		t.Run(calls, func(t *testing.T) {
			got := "<nil>"
			if err := timeline(calls).Unknown(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
