package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := Wait(t.Context(), path, func(string) { t.Error("there is nobody to wait for") })
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 2)
	got := make(chan error, 1)
	go func() {
		again, err := Wait(t.Context(), path, func(holder string) { told <- holder })
		if err == nil {
			again()
		}
		got <- err
	}()
	if holder := <-told; holder != strconv.Itoa(os.Getpid()) {
		t.Errorf("the holder is said to be %q", holder)
	}
	release()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if len(told) > 0 {
		t.Error("told twice")
	}
	release, err = Wait(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	why := errors.New("no time left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err = Wait(ctx, path, nil)
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	if !strings.Contains(fmt.Sprint(err), path) {
		t.Errorf("got %v, want it to name %s", err, path)
	}
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	release, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Dir(dir)
	if want := "another amc is at work in " + dir; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	release()
	if release, err = Dir(dir); err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := Dir(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
