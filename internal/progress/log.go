package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Lines is a Reporter that writes a line for each item that ends, and a heartbeat for items that
// take long. It reads well in a CI log and on a terminal. beat is how long an item may be silent; 0
// means 20 s.
func Lines(w io.Writer, beat time.Duration) Reporter {
	if beat == 0 {
		beat = 20 * time.Second
	}
	return &lines{w: w, beat: beat, begin: time.Now()}
}

type lines struct {
	mu    sync.Mutex
	w     io.Writer
	beat  time.Duration
	begin time.Time
}

func (l *lines) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "[%s] "+format+"\n", append([]any{clock(time.Since(l.begin))}, args...)...)
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func (l *lines) Phase(name string, items int) Phase {
	return &linePhase{lines: l, name: name, items: items, begin: time.Now()}
}

type linePhase struct {
	*lines
	name  string
	items int
	begin time.Time
	done  int // guarded by mu

	left         map[string]time.Duration // what usually is needed for items that have not ended; guarded by mu
	started      map[string]time.Time     // those of them that have begun
	usual, spent time.Duration            // of items that have ended: what was expected, what it was
}

// Expect implements Estimator.
func (p *linePhase) Expect(name string, usual time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == nil {
		p.left, p.started = map[string]time.Duration{}, map[string]time.Time{}
	}
	p.left[name] = usual
}

// rest estimates how long the phase still takes, for the end of a line; empty when that is unknown
// or short. Machines differ, so the estimate is scaled by how long the ended items took here. The
// caller holds mu.
func (p *linePhase) rest() string {
	pace := 1.0
	if p.usual > 5*time.Second {
		pace = float64(p.spent) / float64(p.usual)
	}
	var rest time.Duration
	for name, usual := range p.left {
		need := time.Duration(float64(usual) * pace)
		if begin, on := p.started[name]; on {
			need = max(0, need-time.Since(begin))
		}
		rest += need
	}
	switch {
	case rest < 20*time.Second:
		return ""
	case rest < 90*time.Second:
		return fmt.Sprintf(", about %d s left", int(rest.Round(10*time.Second).Seconds()))
	}
	return fmt.Sprintf(", about %d min left", int(rest.Round(time.Minute).Minutes()))
}

func (p *linePhase) Item(name string) Item {
	i := &lineItem{phase: p, name: name, begin: time.Now(), end: make(chan struct{})}
	p.mu.Lock()
	if p.started != nil {
		p.started[name] = i.begin
	}
	p.mu.Unlock()
	go i.heartbeat()
	return i
}

func (p *linePhase) Close(err error) {
	if err != nil {
		return // who returns the error says it
	}
	p.say("%s: done in %s", p.name, seconds(time.Since(p.begin)))
}

type lineItem struct {
	phase *linePhase
	name  string
	begin time.Time
	end   chan struct{}

	mu   sync.Mutex
	note string
}

func (i *lineItem) Note(format string, args ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.note = fmt.Sprintf(format, args...)
}

// heartbeat prints a line for an item that takes long, at doubling intervals.
func (i *lineItem) heartbeat() {
	for wait := i.phase.beat; ; wait *= 2 {
		t := time.NewTimer(wait)
		select {
		case <-i.end:
			t.Stop()
			return
		case <-t.C:
		}
		i.mu.Lock()
		note := i.note
		i.mu.Unlock()
		i.phase.mu.Lock()
		rest := i.phase.rest()
		i.phase.mu.Unlock()
		i.phase.say("%s: %s ... %s %s%s", i.phase.name, i.name, seconds(time.Since(i.begin)), note, rest)
	}
}

func (i *lineItem) Done(err error) {
	close(i.end)
	p := i.phase
	p.mu.Lock()
	p.done++
	n := p.done
	if usual, expected := p.left[i.name]; expected {
		p.usual, p.spent = p.usual+usual, p.spent+time.Since(i.begin)
		delete(p.left, i.name)
	}
	rest := p.rest()
	p.mu.Unlock()
	of := ""
	if p.items > 1 {
		of = fmt.Sprintf(" %d/%d", n, p.items)
	}
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		p.say("%s:%s %s failed after %s: %s", p.name, of, i.name, seconds(time.Since(i.begin)), first)
		return
	}
	p.say("%s:%s %s %s%s", p.name, of, i.name, seconds(time.Since(i.begin)), rest)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
