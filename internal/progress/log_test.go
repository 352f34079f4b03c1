package progress

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
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
		slices.Sort(got) // items that are due at the same time come in any order
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}
