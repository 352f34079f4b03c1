package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Download is a body that a client gets by HTTP.
type Download struct {
	URL string `json:"url"`
	// ResetAfter lets the client reset the connection after this many bytes of the body; 0 = not at all.
	ResetAfter int64 `json:"resetAfter,omitempty"`
	// Seconds are how long it may take; default 60.
	Seconds int `json:"seconds,omitempty"`
}

// Names of the response's headers in which a server names itself.
const headerCluster, headerPod = "X-Peer-Cluster", "X-Peer-Pod"

// handler answers what clients and the suite ask by HTTP.
func (p *peer) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /body", p.body)
	m.HandleFunc("GET /seen", p.told)
	m.HandleFunc("POST /exchange", do(p.exchange))
	m.HandleFunc("POST /together", do(p.together))
	m.HandleFunc("POST /datagram", do(p.datagram))
	m.HandleFunc("POST /download", do(p.download))
	m.HandleFunc("POST /lookup", do(lookup))
	return m
}

// do lets somebody have a client do something. What could not begin has status 502.
func do[X, Y any](f func(context.Context, X) (Y, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var x X
		if err := json.NewDecoder(r.Body).Decode(&x); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		result, err := f(r.Context(), x)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(result)
	}
}

// Lookup is a name whose addresses a client looks up.
type Lookup struct {
	Host string `json:"host"`
	// Seconds are how long it may take; default 60.
	Seconds int `json:"seconds,omitempty"`
}

// lookup are the addresses of a name, sorted. The error says that there is none.
func lookup(ctx context.Context, l Lookup) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience(l.Seconds))
	defer cancel()
	all, err := net.DefaultResolver.LookupHost(ctx, l.Host)
	slices.Sort(all)
	return all, err
}

// told tells what the server's end of a connection saw. Of one that it does not know the status is
// 404.
func (p *peer) told(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	e, ok := p.seen[r.FormValue("id")]
	p.mu.Unlock()
	if !ok {
		http.Error(w, fmt.Sprintf("nothing was seen of %q", r.FormValue("id")), http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(e)
}

// body sends as many bytes as the query asks for, under its id.
func (p *peer) body(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
	id := r.FormValue("id")
	if err != nil || id == "" {
		http.Error(w, "the query wants id=WORD and bytes=NUMBER", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	w.Header().Set(headerCluster, p.cluster)
	w.Header().Set(headerPod, p.pod)
	e := p.end()
	p.remember(id, e)
	e.How = closed
	f, err := write(w, n, 0, 0)
	e.Sent, e.SentSum, e.Waited = f.bytes, f.sum, f.waited.Milliseconds()
	if err != nil {
		e.How = how(err)
	}
	p.remember(id, e)
}

// download is the client's end of a body. The error says that no answer came.
func (p *peer) download(ctx context.Context, d Download) (result Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience(d.Seconds))
	defer cancel()
	var conn *net.TCPConn
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn = c.(*net.TCPConn)
		return conn, conn.SetDeadline(time.Now().Add(patience(d.Seconds)))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, nil)
	if err != nil {
		return result, err
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return result, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return result, fmt.Errorf("%s: the answer has status %s", d.URL, answer.Status)
	}
	result.Server = End{Cluster: answer.Header.Get(headerCluster), Pod: answer.Header.Get(headerPod), How: still}
	result.Client = p.end()
	result.Client.How = closed
	f, err := read(answer.Body, d.ResetAfter)
	result.Client.Received, result.Client.ReceivedSum, result.Client.Waited = f.bytes, f.sum, f.waited.Milliseconds()
	if err != nil {
		result.Client.How = how(err)
	}
	if result.Client.How == resetUs {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
	return result, nil
}
