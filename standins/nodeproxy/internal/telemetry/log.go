// Package telemetry writes log lines in ztunnel's shape and counts connections under ztunnel's
// metric names.
package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Bare is a value printed without quotes, as ztunnel prints addresses.
type Bare string

// handler prints `time<TAB>level<TAB>target<TAB>message<TAB>key=value ...`, or one JSON object with
// LOG_FORMAT=json.
type handler struct {
	mu     *sync.Mutex
	w      io.Writer
	json   bool
	level  slog.Leveler
	target string
	attrs  []slog.Attr
}

// NewLogger writes to w. format "json" gives JSON, anything else text; the attribute "target" of
// With names the part of the program.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	return slog.New(&handler{mu: &sync.Mutex{}, w: w, json: format == "json", level: level, target: "nodeproxy"})
}

// ParseLevel takes the first bare level of a RUST_LOG value, such as "info" or "info,access=debug";
// the default is info.
func ParseLevel(rustLog string) slog.Level {
	for _, part := range strings.Split(rustLog, ",") {
		switch strings.TrimSpace(part) {
		case "trace", "debug":
			return slog.LevelDebug
		case "warn":
			return slog.LevelWarn
		case "error":
			return slog.LevelError
		case "info":
			return slog.LevelInfo
		}
	}
	return slog.LevelInfo
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = nil
	for _, a := range append(append([]slog.Attr{}, h.attrs...), attrs...) {
		if a.Key == "target" {
			c.target = a.Value.String()
			continue
		}
		c.attrs = append(c.attrs, a)
	}
	return &c
}

func (h *handler) WithGroup(string) slog.Handler { return h }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	when := r.Time.UTC().Format("2006-01-02T15:04:05.000000Z")
	level := strings.ToLower(r.Level.String())
	each := func(f func(slog.Attr)) {
		for _, a := range h.attrs {
			f(a)
		}
		r.Attrs(func(a slog.Attr) bool { f(a); return true })
	}
	if h.json {
		fmt.Fprintf(&b, `{"level":%q,"time":%q,"scope":%s,"message":%s`, level, when, quote(h.target), quote(r.Message))
		each(func(a slog.Attr) { fmt.Fprintf(&b, ",%s:%s", quote(a.Key), jsonValue(a.Value)) })
		b.WriteString("}\n")
	} else {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s", when, level, h.target, r.Message)
		sep := "\t"
		each(func(a slog.Attr) {
			fmt.Fprintf(&b, "%s%s=%s", sep, a.Key, textValue(a.Value))
			sep = " "
		})
		b.WriteByte('\n')
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b.Bytes())
	return err
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func jsonValue(v slog.Value) string {
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindBool, slog.KindFloat64:
		return v.String()
	}
	return quote(v.String())
}

func textValue(v slog.Value) string {
	switch v.Kind() {
	case slog.KindString:
		return fmt.Sprintf("%q", v.String())
	case slog.KindDuration:
		return fmt.Sprintf("%q", v.Duration().Round(time.Millisecond).String())
	case slog.KindAny:
		if b, ok := v.Any().(Bare); ok {
			return string(b)
		}
		return fmt.Sprintf("%q", v.String())
	}
	return v.String()
}
