package page_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium with one page. Each of its methods fails the test t that is
// running.
type browser struct {
	t   testing.TB
	tab context.Context
	mu  sync.Mutex
	did deeds
}

// deeds are what a page did since it was opened.
type deeds struct {
	requests, dialogs int
	errors            []string // exceptions, and what its policy or the browser had to say
}

// openBrowser skips the test with a sentence where no Chromium is installed; in CI that is a
// failure.
func openBrowser(t testing.TB) *browser {
	t.Helper()
	installed := slices.ContainsFunc([]string{"chromium", "chromium-browser", "google-chrome", "chrome"},
		func(n string) bool { _, err := exec.LookPath(n); return err == nil })
	if !installed {
		const say = "no Chromium is installed, so nobody looked at the page: `apt-get install -y --no-install-recommends chromium`"
		if os.Getenv("CI") != "" {
			t.Fatal(say)
		}
		t.Skip(say)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true)) // it has nobody to talk to
	if os.Geteuid() == 0 { // the sandbox refuses to work for root
		options = append(options, chromedp.NoSandbox)
	}
	all, end := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(end)
	tab, closeTab := chromedp.NewContext(all)
	t.Cleanup(closeTab)
	b := &browser{t: t, tab: tab}
	if err := chromedp.Listen(tab, b.saw); err != nil { // starts it
		t.Fatalf("Chromium: %v", err)
	}
	command(b, network.Enable, network.EnableParams{})
	command(b, log.Enable, cdp.Empty{})
	return b
}

// saw is told of each event before the action that caused it returns.
func (b *browser) saw(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.did.requests++
	case *cdppage.EventJavascriptDialogOpening:
		b.did.dialogs++
	case *runtime.EventExceptionThrown:
		b.did.errors = append(b.did.errors, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.did.errors = append(b.did.errors, e.Entry.Text)
	}
}

// seen is what the page did since it was opened.
func (b *browser) seen() deeds {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.did
}

// act runs an action.
func act[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, time.Minute)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("Chromium: %v", err)
	}
	return result
}

// command sends a command of the protocol for which there is no action.
func command[P, R any](b *browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	act(b, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
}

// open loads a page and waits until it is loaded.
func (b *browser) open(html []byte) {
	b.t.Helper()
	name := filepath.Join(b.t.TempDir(), "report.html")
	if err := os.WriteFile(name, html, 0o644); err != nil {
		b.t.Fatal(err)
	}
	act(b, chromedp.Navigate("about:blank"))
	b.mu.Lock()
	b.did = deeds{}
	b.mu.Unlock()
	act(b, chromedp.Navigate("file://"+name))
}

// eval runs a script in the page and reads its result, waiting for promises.
func (b *browser) eval(script string, result any) {
	b.t.Helper()
	value := act(b, chromedp.Evaluate[[]byte](script, chromedp.EvalAwaitPromise))
	if result == nil {
		return
	}
	if err := json.Unmarshal(value, result); err != nil {
		b.t.Fatalf("%s: %v in %s", script, err, value)
	}
}

// view sets the size of the window, and what the reader prefers.
func (b *browser) view(width, height int64, scheme, media string) {
	b.t.Helper()
	command(b, emulation.SetDeviceMetricsOverride,
		emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	command(b, emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// shot keeps a picture of what the window shows among the test's artifacts (`go test -artifacts`).
func (b *browser) shot(name string) {
	b.t.Helper()
	b.keep(name, act(b, chromedp.CaptureScreenshot()))
}

// print keeps the page as it would be on paper.
func (b *browser) print(name string) {
	b.t.Helper()
	b.keep(name, act(b, chromedp.PrintToPDF(chromedp.PDFPrintBackground())))
}

func (b *browser) keep(name string, data []byte) {
	b.t.Helper()
	dir := b.t.TempDir()
	if t, ok := b.t.(*testing.T); ok {
		dir = t.ArtifactDir()
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// key presses a key of chromedp/kb, or types a character.
func (b *browser) key(key string) {
	b.t.Helper()
	act(b, chromedp.KeyEvent(key))
}
