package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Lines is a Reporter that writes a line for each item that ends, and now and then one for an item
// that takes long. It reads well in a CI log and on a terminal, which is why it is not a progress
// bar of some library. beat is how long an item may be silent; 0 means 20 s.
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
}

func (p *linePhase) Item(name string) Item {
	i := &lineItem{phase: p, name: name, begin: time.Now(), end: make(chan struct{})}
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

// heartbeat reports an item that takes long, at growing intervals.
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
		i.phase.say("%s: %s ... %s %s", i.phase.name, i.name, seconds(time.Since(i.begin)), note)
	}
}

func (i *lineItem) Done(err error) {
	close(i.end)
	p := i.phase
	p.mu.Lock()
	p.done++
	n := p.done
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
	p.say("%s:%s %s %s", p.name, of, i.name, seconds(time.Since(i.begin)))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
