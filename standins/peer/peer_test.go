package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// started is a peer that serves; exchanges go to raw.
func started(t *testing.T) (p *peer, web, raw string) {
	t.Helper()
	p = newPeer("cluster1", "pod-a")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go p.serve(l)
	s := httptest.NewServer(p.handler())
	t.Cleanup(s.Close)
	return p, s.URL, l.Addr().String()
}

// post has the client do something.
func post(t *testing.T, url string, what any) (r Result) {
	t.Helper()
	b, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("status %s", answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// seen is what the server's end saw, once it has ended.
func seen(t *testing.T, url, id string) (e End) {
	t.Helper()
	for range 100 {
		answer, err := http.Get(url + "/seen?id=" + id)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(answer.Body).Decode(&e)
		answer.Body.Close()
		if err == nil && e.How != still {
			return e
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the server's end of %s has not ended", id)
	return e
}

func TestExchange(t *testing.T) {
	_, web, raw := started(t)
	for _, c := range []struct {
		name           string
		x              Exchange
		client, server string
	}{
		{"client first", Exchange{Up: 300 << 10, Down: 100}, closed, closed},
		{"server first", Exchange{ServerFirst: true, Up: 7, Down: 1 << 20}, closed, closed},
		{"small writes", Exchange{Up: 1000, Down: 1000, Write: 1}, closed, closed},
		{"nothing one way", Exchange{Down: 10}, closed, closed},
		{"with pauses", Exchange{Up: 4, Down: 1, Write: 1, Pause: 50}, closed, closed},
		{"the client resets", Exchange{ServerFirst: true, Down: 64 << 20, ResetAfter: 1 << 20}, resetUs, reset},
		{"the server resets", Exchange{Up: 64 << 20, ResetAfter: 1 << 20}, reset, resetUs},
		{"not in time", Exchange{ServerFirst: true, Down: 64 << 20, Seconds: 1, Write: 1}, timedOut, ""}, // the first to give up ends both
	} {
		t.Run(c.name, func(t *testing.T) {
			c.x.ID, c.x.To = strings.ReplaceAll(c.name, " ", "-"), raw
			begun := time.Now()
			r := post(t, web+"/exchange", c.x)
			if took, pauses := time.Since(begun), 150*time.Millisecond; c.x.Pause > 0 && took < pauses {
				t.Errorf("it took %s, want three pauses, %s", took, pauses)
			}
			s := seen(t, web, c.x.ID)
			if got := []string{r.Client.How, s.How}; c.server != "" && (got[0] != c.client || got[1] != c.server) ||
				c.server == "" && !slices.Contains(got, c.client) {
				t.Errorf("the client's end and the server's are %q, want %q and %q", got, c.client, c.server)
			}
			if r.Server.Cluster != "cluster1" || r.Server.Pod != "pod-a" {
				t.Errorf("the server is %+v", r.Server)
			}
			whole := c.client == closed
			if whole && (s.Received != c.x.Up || r.Client.Received != c.x.Down || s.ReceivedSum != r.Client.SentSum ||
				r.Client.ReceivedSum != s.SentSum) {
				t.Errorf("not all arrived: client %+v, server %+v", r.Client, s)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	got, err := lookup(t.Context(), Lookup{Host: "127.0.0.1"})
	if err != nil || !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err = lookup(t.Context(), Lookup{Host: "nobody.invalid", Seconds: 2}); err == nil {
		t.Errorf("nobody has the addresses %v", got)
	}
}

// Exchanges together are all open before any goes on: the server has seen all of them begin when the
// first one sends.
func TestTogether(t *testing.T) {
	p, web, raw := started(t)
	const n = 50
	most := 0
	ctx, stop := context.WithCancel(t.Context())
	counted := make(chan struct{})
	go func() { // looks until the client is done
		defer close(counted)
		for ctx.Err() == nil {
			open := 0
			p.mu.Lock()
			for _, e := range p.seen {
				if e.How == still {
					open++
				}
			}
			p.mu.Unlock()
			most = max(most, open)
		}
	}()
	b, err := json.Marshal(Together{Count: n, Exchange: Exchange{ID: "t", To: raw, Up: 10, Down: 10}})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(web+"/together", "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var all []Result
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		if r.Client.How != closed || r.Client.Received != 10 {
			t.Errorf("%d: %+v", i, r.Client)
		}
		seen(t, web, fmt.Sprintf("t-%d", i))
	}
	stop()
	<-counted
	if len(all) != n || most != n {
		t.Errorf("%d ended, %d were open at the same time, want %d", len(all), most, n)
	}
}

// Two bodies of the same length are not the same: an answer of another connection would be seen.
func TestBodiesDiffer(t *testing.T) {
	var a, b bytes.Buffer
	one, _ := write(&a, 1000, 0, 0)
	two, _ := write(&b, 1000, 10, 0)
	if one.sum == two.sum || bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two bodies are the same")
	}
}

func TestDownload(t *testing.T) {
	_, web, _ := started(t)
	for _, c := range []struct {
		name           string
		after          int64
		client, server string
	}{
		{"whole", 0, closed, closed},
		{"reset", 1 << 20, resetUs, reset},
	} {
		t.Run(c.name, func(t *testing.T) {
			const n = 32 << 20
			r := post(t, web+"/download", Download{URL: web + "/body?id=" + c.name + "&bytes=" + strconv.Itoa(n), ResetAfter: c.after})
			s := seen(t, web, c.name)
			if r.Client.How != c.client || s.How != c.server {
				t.Errorf("the client's end %q and the server's %q, want %q and %q", r.Client.How, s.How, c.client, c.server)
			}
			if c.after == 0 && (r.Client.Received != n || r.Client.ReceivedSum != s.SentSum) {
				t.Errorf("not all arrived: client %+v, server %+v", r.Client, s)
			}
			if r.Server.Pod != "pod-a" {
				t.Errorf("the server is %+v", r.Server)
			}
		})
	}
}

func TestDatagram(t *testing.T) {
	p, web, _ := started(t)
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go p.answerDatagrams(c)
	if r := post(t, web+"/datagram", Datagram{To: c.LocalAddr().String(), Seconds: 5}); r.Server.Pod != "pod-a" {
		t.Errorf("the server is %+v", r.Server)
	}
	c.Close()
	answer, err := http.Post(web+"/datagram", "application/json", strings.NewReader(`{"to": "`+c.LocalAddr().String()+`", "seconds": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusBadGateway {
		t.Errorf("without a server the status is %s", answer.Status)
	}
}

func TestBadRequests(t *testing.T) {
	_, web, raw := started(t)
	for path, want := range map[string]int{"/seen?id=never": http.StatusNotFound, "/body?bytes=1": http.StatusBadRequest,
		"/body?id=a&bytes=x": http.StatusBadRequest} {
		t.Run(path, func(t *testing.T) {
			answer, err := http.Get(web + path)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != want {
				t.Errorf("status %d, want %d", answer.StatusCode, want)
			}
		})
	}
	conn, err := net.Dial("tcp", raw)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("hello\n"))
	b := make([]byte, 100)
	n, _ := conn.Read(b)
	if !strings.Contains(string(b[:n]), "no exchange") {
		t.Errorf("the server said %q", b[:n])
	}
}
