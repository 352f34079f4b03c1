// Command peer is a client and a server of the suite's own, for what the echo application cannot do:
// close one direction of a connection, reset it, carry large bodies, and tell what its end saw. It
// stands in for nothing and is no part of the mesh.
//
// As a server it answers exchanges by TCP, bodies by HTTP and datagrams by UDP, and remembers how each
// connection ended. As a client it makes what it is told to make by HTTP.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	cluster := flag.String("cluster", "", "the cluster that the ends of connections name")
	web, raw := flag.Int("http", 8080, "port of HTTP, and of datagrams"), flag.Int("tcp", 9090, "port of exchanges")
	flag.Parse()
	log.SetPrefix("peer: ")
	pod, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(run(newPeer(*cluster, pod), *web, *raw))
}

// run serves until one of the servers fails.
func run(p *peer, web, raw int) error {
	ended := make(chan error, 3)
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", raw))
	if err != nil {
		return err
	}
	datagrams, err := net.ListenPacket("udp", fmt.Sprintf(":%d", web))
	if err != nil {
		return err
	}
	go func() { ended <- p.serve(l) }()
	go func() { ended <- p.answerDatagrams(datagrams) }()
	go func() { ended <- http.ListenAndServe(fmt.Sprintf(":%d", web), p.handler()) }()
	return <-ended
}
