package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"
)

// Datagram is a question by UDP, which a server answers with its names.
type Datagram struct {
	To string `json:"to"`
	// Seconds are how long the answer may take; default 60.
	Seconds int `json:"seconds,omitempty"`
}

// answerDatagrams answers each datagram until the socket is closed.
func (p *peer) answerDatagrams(c net.PacketConn) error {
	answer, err := json.Marshal(p.end())
	if err != nil {
		return err
	}
	question := make([]byte, 1<<10)
	for {
		_, from, err := c.ReadFrom(question)
		switch {
		case errors.Is(err, net.ErrClosed):
			return err
		case err == nil:
			_, _ = c.WriteTo(answer, from)
		}
	}
}

// datagram is the client's end. The error says that no answer came.
func (p *peer) datagram(ctx context.Context, d Datagram) (result Result, err error) {
	c, err := new(net.Dialer).DialContext(ctx, "udp", d.To)
	if err != nil {
		return result, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience(d.Seconds)))
	if _, err := c.Write([]byte("who")); err != nil {
		return result, err
	}
	answer := make([]byte, 1<<10)
	n, err := c.Read(answer)
	if err != nil {
		return result, err
	}
	result.Client = p.end()
	result.Client.How = closed
	return result, json.Unmarshal(answer[:n], &result.Server)
}
