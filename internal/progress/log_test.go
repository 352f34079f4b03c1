package progress

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func TestLinesSayWhatHowFarHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		p := Lines(&out, 20*time.Second).Phase("images", 2)
		a, b := p.Item("k8s"), p.Item("runc")
		a.Note("go build")
		time.Sleep(30 * time.Second) // the bubble's clock
		b.Done(nil)
		time.Sleep(35 * time.Second) // the next beat of a comes after twice the time
		a.Done(errors.New("out of paint\nand more"))
		p.Close(nil)
		synctest.Wait()
		want := []string{
			"[00:20] images: k8s ... 20.0 s go build",
			"[00:20] images: runc ... 20.0 s ",
			"[00:30] images: 1/2 runc 30.0 s",
			"[01:00] images: k8s ... 60.0 s go build",
			"[01:05] images: 2/2 k8s failed after 65.0 s: out of paint",
			"[01:05] images: done in 65.0 s",
		}
		got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		for _, w := range want {
			found := false
			for _, g := range got {
				found = found || g == w
			}
			if !found {
				t.Errorf("no line %q in\n%s", w, out.String())
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d lines, want %d:\n%s", len(got), len(want), out.String())
		}
	})
}

// What has ended says how fast this machine is: half as fast as usual, so what is left takes twice
// as long.
func TestLinesEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		p := Lines(&out, time.Hour).Phase("images", 3)
		for name, usual := range map[string]time.Duration{"quick": 30 * time.Second, "long": 4 * time.Minute, "last": 5 * time.Second} {
			p.(Estimator).Expect(name, usual)
		}
		quick, long := p.Item("quick"), p.Item("long")
		time.Sleep(time.Minute)
		quick.Done(nil) // 2*240-60 + 2*5 s
		time.Sleep(6 * time.Minute)
		long.Done(nil)
		p.Item("last").Done(nil)
		want := "[01:00] images: 1/3 quick 60.0 s, about 7 min left\n[07:00] images: 2/3 long 420.0 s\n[07:00] images: 3/3 last 0.0 s\n"
		if got := out.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}
