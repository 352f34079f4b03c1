package traffic

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Timed is one call of a [Timeline].
type Timed struct {
	At      time.Time // when it began
	Took    time.Duration
	Outcome Outcome
	// Err is set where nothing was learned: the pod could not be driven. It is no loss.
	Err error
}

// lost says that the call failed, and that this is known.
func (c Timed) lost() bool { return c.Err == nil && Lost(c.Outcome) }

// Stream makes calls at a fixed rate, whether earlier ones have ended or not: a mesh that hangs is
// called as often as one that answers. A loop that waits for each answer would count one loss where
// users have many.
type Stream struct {
	stop chan struct{}
	loop sync.WaitGroup

	mu    sync.Mutex
	calls []Timed
	under map[int]bool // indexes of the calls that have not ended
}

// Open begins to make a call each interval, until [Stream.Close] or until ctx ends.
func Open(ctx context.Context, every time.Duration, call func(context.Context) (Outcome, error)) *Stream {
	s := &Stream{stop: make(chan struct{}), under: map[int]bool{}}
	s.loop.Go(func() {
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			s.loop.Go(func() { s.make(ctx, call) })
			select {
			case <-ticks.C:
			case <-s.stop:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	return s
}

func (s *Stream) make(ctx context.Context, call func(context.Context) (Outcome, error)) {
	at := time.Now()
	s.mu.Lock()
	i := len(s.calls)
	s.calls = append(s.calls, Timed{At: at})
	s.under[i] = true
	s.mu.Unlock()

	o, err := call(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[i].Took, s.calls[i].Outcome, s.calls[i].Err = time.Since(at), o, err
	delete(s.under, i)
}

// Close ends the stream once the calls under way have ended, and returns all of them in the order
// in which they began.
func (s *Stream) Close() []Timed {
	close(s.stop)
	s.loop.Wait()
	slices.SortStableFunc(s.calls, func(a, b Timed) int { return a.At.Compare(b.At) })
	return s.calls
}

// Quiet says that since a moment every call has been answered, and promptly: none is under way for
// longer than slow.
func (s *Stream) Quiet(since time.Time, slow time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.calls {
		if s.under[i] {
			if time.Since(c.At) > slow {
				return false
			}
		} else if (c.lost() || c.Err != nil) && c.At.Add(c.Took).After(since) {
			return false
		}
	}
	return true
}

// Timeline is what a client saw of a target while something happened to the mesh.
type Timeline struct {
	Who   string // client and URL
	Calls []Timed
	// Begin is when it began to happen; End is when it was over, and undone.
	Begin, End time.Time
	// Changed is when the change counts as made, for budgets with a grace; zero stands for Begin.
	Changed time.Time
}

// Losses are the calls that failed after a change.
type Losses struct {
	// Made is how many calls were made until the change was over, or until the last one failed.
	Made int
	// Lost are the times of those that failed, from the change to their begin: negative for those that
	// began before it was made.
	Lost []time.Duration
	// Last is the time from the change to the begin of the last call of which something was learned.
	Last time.Duration
	// Detail is what one of them said.
	Detail string
}

// Losses are those since the event began, calls under way then included.
func (l Timeline) Losses() (all Losses) {
	from := l.Changed
	if from.IsZero() {
		from = l.Begin
	}
	end := l.End
	for _, c := range l.Calls {
		if c.Err == nil {
			all.Last = c.At.Sub(from)
		}
		if c.lost() && c.At.After(end) {
			end = c.At
		}
	}
	for _, c := range l.Calls {
		if l.before(c) || c.At.After(end) {
			continue
		}
		all.Made++
		if c.lost() {
			all.Lost = append(all.Lost, c.At.Sub(from))
			if all.Detail == "" {
				all.Detail = c.Outcome.FirstLine()
			}
		}
	}
	return all
}

// before says that a call ended before the event. One that was under way may have been cut by it.
func (l Timeline) before(c Timed) bool { return c.At.Add(c.Took).Before(l.Begin) }

// Before are the outcomes of the calls that ended before the event.
func (l Timeline) Before() (os Outcomes) {
	for _, c := range l.Calls {
		if c.Err == nil && l.before(c) {
			os = append(os, c.Outcome)
		}
	}
	return os
}

// Outcomes are those of all calls of which something was learned.
func (l Timeline) Outcomes() (os Outcomes) {
	for _, c := range l.Calls {
		if c.Err == nil {
			os = append(os, c.Outcome)
		}
	}
	return os
}

// Unknown is why nothing was learned of some calls; nil when all are known.
func (l Timeline) Unknown() error {
	n := 0
	var first error
	for _, c := range l.Calls {
		if c.Err != nil {
			if n++; first == nil {
				first = c.Err
			}
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%s: nothing was learned of %d of %d calls: %w", l.Who, n, len(l.Calls), first)
}

// Gap is the longest time between the begins of two calls in a row. Where it is longer than the rate
// says, it was the suite that came late.
func (l Timeline) Gap() (longest time.Duration) {
	for i := range l.Calls {
		if i > 0 {
			longest = max(longest, l.Calls[i].At.Sub(l.Calls[i-1].At))
		}
	}
	return longest
}

// Waited says that every call that failed ended because nobody answered in its time.
func (l Timeline) Waited() bool {
	for _, c := range l.Calls {
		if c.lost() && c.Outcome.Kind != TimedOut {
			return false
		}
	}
	return true
}

// Recovery is the time from the event's begin until no call failed any more, by when calls began; 0
// when none failed. It is false when calls failed to the end.
func (l Timeline) Recovery() (time.Duration, bool) {
	last := -1
	for i, c := range l.Calls {
		if c.lost() && !l.before(c) {
			last = i
		}
	}
	if last < 0 {
		return 0, true
	}
	for _, c := range l.Calls[last+1:] {
		if c.Err == nil {
			return c.At.Sub(l.Begin), true
		}
	}
	return 0, false
}

// Second is one second of a timeline.
type Second struct{ Made, Lost int }

// Seconds count calls by the second in which they began, from a moment on.
func (l Timeline) Seconds(since time.Time) (all []Second) {
	for _, c := range l.Calls {
		i := max(0, int(c.At.Sub(since)/time.Second))
		for len(all) <= i {
			all = append(all, Second{})
		}
		all[i].Made++
		if c.lost() {
			all[i].Lost++
		}
	}
	return all
}

// String says how many calls failed, when, and who answered the others.
func (l Timeline) String() string {
	x := l.Losses()
	s := fmt.Sprintf("%d of %d calls failed", len(x.Lost), x.Made)
	if len(x.Lost) > 0 {
		first, last := slices.Min(x.Lost), slices.Max(x.Lost)
		if first >= 0 {
			s += fmt.Sprintf(", begun %s to %s", round(first), After(last))
		} else {
			s += fmt.Sprintf(", begun %s to %s", After(first), After(last))
		}
		if took, ok := l.Recovery(); ok {
			s += fmt.Sprintf(", recovered after %s", round(took))
		} else {
			s += ", not recovered"
		}
	}
	return fmt.Sprintf("%s; in all %s", s, l.Outcomes())
}

// After says how long after the change something was, or before it.
func After(d time.Duration) string {
	if d = round(d); d < 0 {
		return (-d).String() + " before"
	}
	return d.String() + " after"
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// Once makes one call, on a connection of its own, at once: a row of calls at a fixed rate must not
// wait for others. See [Client.Do] for the error.
func (c Calls) Once(ctx context.Context) (Outcome, error) {
	one := c.Call
	one.Times, one.Reuse = 1, 0
	os, err := c.From.forward(ctx, one, 1)
	if err != nil {
		return Outcome{}, err
	}
	return os[0], nil
}
