package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"ambient.test/conformance/standins/nodeproxy/internal/telemetry"
)

// Ready serves /healthz/ready: 200 when every check is true, else 500 naming those that are not.
func Ready(checks map[string]func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz/ready", func(w http.ResponseWriter, _ *http.Request) {
		var pending []string
		for name, ok := range checks {
			if !ok() {
				pending = append(pending, name)
			}
		}
		if len(pending) > 0 {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, "not ready, pending: %s\n", strings.Join(pending, ", "))
			return
		}
		fmt.Fprint(w, "ready\n")
	})
	return mux
}

// Stats serves /metrics.
func Stats(m *telemetry.Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", m.Handler())
	mux.Handle("/stats/prometheus", m.Handler())
	return mux
}

// Admin serves /config_dump, /logging?level=, /quitquitquit (POST) and profiles.
func Admin(dump func() any, level *slog.LevelVar, quit func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/config_dump", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(dump())
	})
	mux.HandleFunc("/logging", func(w http.ResponseWriter, r *http.Request) {
		if l := r.URL.Query().Get("level"); l != "" {
			if r.Method != http.MethodPost {
				http.Error(w, "Invalid HTTP method: POST changes the level", http.StatusMethodNotAllowed)
				return
			}
			level.Set(telemetry.ParseLevel(l))
		}
		fmt.Fprintf(w, "current log level is %s\n", strings.ToLower(level.Level().String()))
	})
	mux.HandleFunc("/quitquitquit", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "POST it", http.StatusMethodNotAllowed)
			return
		}
		fmt.Fprint(w, "shutdown now\n")
		quit()
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	return mux
}
