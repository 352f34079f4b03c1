package reports

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// browser is a headless Chromium, driven over its debugging pipe: requests on file 3, answers and events on file 4, each ended by a NUL.
type browser struct {
	t       testing.TB
	in      io.Writer
	out     *bufio.Reader
	next    int
	session string
	events  []event
}

type event struct {
	Method string
	Params json.RawMessage
}

// openBrowser skips the test with a sentence where no Chromium is installed; in CI that is a failure.
func openBrowser(t testing.TB) *browser {
	t.Helper()
	name := ""
	for _, n := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(n); err == nil {
			name = p
			break
		}
	}
	if name == "" {
		const say = "no Chromium is installed, so nobody looked at the page: `apt-get install -y --no-install-recommends chromium`"
		if os.Getenv("CI") != "" {
			t.Fatal(say)
		}
		t.Skip(say)
	}
	args := []string{"--headless", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir=" + t.TempDir(), "about:blank"}
	if os.Geteuid() == 0 { // the sandbox refuses to work for root
		args = append([]string{"--no-sandbox"}, args...)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(name, args...)
	c.ExtraFiles = []*os.File{theirIn, theirOut}
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, out: bufio.NewReaderSize(out, 1<<20)}
	t.Cleanup(func() {
		if b.session != "" {
			b.session = ""
			_, _ = fmt.Fprintf(in, `{"id":%d,"method":"Browser.close"}`+"\x00", b.next+1)
		}
		in.Close()
		timer := time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
		_, _ = io.Copy(io.Discard, b.out)
		_ = c.Wait()
		timer.Stop()
		out.Close()
		if t.Failed() && said.Len() > 0 {
			t.Logf("Chromium said: %.2000s", said.String())
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

func (b *browser) read() map[string]json.RawMessage {
	b.t.Helper()
	raw, err := b.out.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("Chromium is gone: %v", err)
	}
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw[:len(raw)-1], &m); err != nil {
		b.t.Fatal(err)
	}
	if method, ok := m["method"]; ok {
		e := event{Params: m["params"]}
		_ = json.Unmarshal(method, &e.Method)
		b.events = append(b.events, e)
	}
	return m
}

func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.next++
	msg := map[string]any{"id": b.next, "method": method}
	if params != nil {
		msg["params"] = params
	}
	if b.session != "" {
		msg["sessionId"] = b.session
	}
	data, err := json.Marshal(msg)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		m := b.read()
		if string(m["id"]) != fmt.Sprint(b.next) {
			continue
		}
		if e, ok := m["error"]; ok {
			b.t.Fatalf("%s: %s", method, e)
		}
		if result != nil {
			if err := json.Unmarshal(m["result"], result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// open loads a page and waits until it is loaded.
func (b *browser) open(html []byte) {
	b.t.Helper()
	name := filepath.Join(b.t.TempDir(), "report.html")
	if err := os.WriteFile(name, html, 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.events = nil
	b.call("Page.navigate", map[string]any{"url": "file://" + name}, nil)
	for b.seen("Page.loadEventFired") == 0 {
		b.read()
	}
}

func (b *browser) seen(method string) (n int) {
	for _, e := range b.events {
		if e.Method == method {
			n++
		}
	}
	return n
}

// eval runs a script in the page and reads its result, waiting for promises.
func (b *browser) eval(script string, result any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %.600s", script, r.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(r.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v in %s", script, err, r.Result.Value)
		}
	}
}

// view sets the size of the window, and what the reader prefers.
func (b *browser) view(width, height int, scheme, media string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shot keeps a picture of what the window shows among the test's artefacts (`go test -artifacts`).
func (b *browser) shot(name string) {
	b.t.Helper()
	var r struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &r)
	b.keep(name, r.Data)
}

func (b *browser) keep(name, data string) {
	b.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(artifacts(b.t), name), raw, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func artifacts(t testing.TB) string {
	switch t := t.(type) {
	case *testing.T:
		return t.ArtifactDir()
	case *testing.B:
		return t.ArtifactDir()
	}
	return t.TempDir()
}

func (b *browser) key(key string) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "/": 191, " ": 32}
	p := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": codes[key]}
	if key == "Enter" {
		p["text"] = "\r"
	} else if len(key) == 1 {
		p["text"] = key
	}
	b.call("Input.dispatchKeyEvent", p, nil)
	p["type"] = "keyUp"
	delete(p, "text")
	b.call("Input.dispatchKeyEvent", p, nil)
}
