package peer

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pod is a pod whose program answers by a path.
func pod(t *testing.T, name string, answers map[string]func(body string) (int, any)) *Peer {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body strings.Builder
		_ = r.Write(&body)
		answer := answers[r.URL.Path]
		if answer == nil {
			t.Errorf("%s was asked for %s", name, r.URL)
			return
		}
		status, what := answer(body.String())
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(what)
	}))
	t.Cleanup(s.Close)
	to := s.Listener.Addr().String()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	return dialed("c1", name, &http.Client{Transport: &http.Transport{DialContext: dial}})
}

func always(status int, what any) func(string) (int, any) {
	return func(string) (int, any) { return status, what }
}

// The server's end is what the server itself says, once it has ended.
func TestExchange(t *testing.T) {
	ended := End{Cluster: "c1", Pod: "server", Received: 5, How: Closed}
	asked := 0
	server := pod(t, "server", map[string]func(string) (int, any){"/seen": func(string) (int, any) {
		if asked++; asked < 3 {
			return http.StatusOK, End{Cluster: "c1", Pod: "server", How: Open}
		}
		return http.StatusOK, ended
	}})
	said := Ends{Client: End{Pod: "client", Sent: 5, How: Closed}, Server: End{Cluster: "c1", Pod: "server", How: Open}}
	client := pod(t, "client", map[string]func(string) (int, any){"/exchange": func(body string) (int, any) {
		for _, want := range []string{`"to":"svc:9090"`, `"up":5`, `"seconds":20`} {
			if !strings.Contains(body, want) {
				t.Errorf("the client was not told %s: %s", want, body)
			}
		}
		return http.StatusOK, said
	}})
	got, err := Peers{client, server}.Exchange(t.Context(), client, "svc:9090", Exchange{Up: 5})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Ends{Client: said.Client, Server: ended}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An exchange with pauses has the time for them.
func TestPauses(t *testing.T) {
	if got, want := newOrder("svc:9090", Exchange{Up: 100, Down: 1, Write: 1, Pause: 200}).Seconds, patience+20; got != want {
		t.Errorf("got %d s, want %d", got, want)
	}
}

// What could not begin is an outcome; a pod that cannot be driven is an error.
func TestFailures(t *testing.T) {
	answers := map[string]func(string) (int, any){
		"refused": always(http.StatusBadGateway, "dial tcp: connection refused"),
		"broken":  always(http.StatusInternalServerError, "it broke"),
		"unknown": always(http.StatusOK, Ends{Client: End{How: Reset}}),
	}
	for name, c := range map[string]struct {
		want Ends
		err  string
	}{
		"refused": {Ends{Failed: `"dial tcp: connection refused"`}, ""},
		"broken":  {Ends{}, "status 500"},
		"unknown": {Ends{Client: End{How: Reset}}, ""}, // no server said its name
	} {
		t.Run(name, func(t *testing.T) {
			client := pod(t, "client", map[string]func(string) (int, any){"/download": answers[name]})
			got, err := Peers{client}.Download(t.Context(), client, "svc:80", 1, 0)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got the error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTogether(t *testing.T) {
	server := pod(t, "server", map[string]func(string) (int, any){
		"/seen": func(string) (int, any) { return http.StatusOK, End{Pod: "server", How: Closed} }})
	at := End{Cluster: "c1", Pod: "server"}
	client := pod(t, "client", map[string]func(string) (int, any){
		"/together": always(http.StatusOK, []Ends{{Server: at}, {Server: at}, {}})})
	got, err := Peers{client, server}.Together(t.Context(), client, "svc:9090", 3, Exchange{})
	if err != nil {
		t.Fatal(err)
	}
	known := Ends{Server: End{Pod: "server", How: Closed}}
	if diff := cmp.Diff([]Ends{known, known, {}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDatagram(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(string) (int, any)
		want   Ends
	}{
		"answered":   {always(http.StatusOK, Ends{Server: End{Pod: "server"}}), Ends{Server: End{Pod: "server"}}},
		"unanswered": {always(http.StatusBadGateway, "i/o timeout"), Ends{Failed: `"i/o timeout"`}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pod(t, "client", map[string]func(string) (int, any){"/datagram": c.answer}).Datagram(t.Context(), "svc:53")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
