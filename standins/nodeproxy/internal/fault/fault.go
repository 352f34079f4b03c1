// Package fault has what only a mutant of this proxy does: faults that no configuration gives, by
// which the suite shows that its specs notice them. They are compiled into an image of their own, with
// the build tag mutant, that no fleet runs unless a mutant puts it there.
package fault

import (
	"errors"
	"io"
	"sync/atomic"
)

// Env is the environment variable that names the fault of a mutant.
const Env = "AMC_FAULT"

// HidesAborts says that an end never learns that the other one has broken off.
func HidesAborts() bool { return hidesAborts }

// HidesMutualTLS says that connections are not counted as mutual TLS, although they are.
func HidesMutualTLS() bool { return hidesMutualTLS }

var connections atomic.Int64

// Refuses says that a connection to another network is refused: one in twenty is.
func Refuses() bool { return refusesSome && connections.Add(1)%20 == 0 }

// Conn is a connection, or a tunnel.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Tunnel is a tunnel to another network, or one that is cut when it has been read eight times.
func Tunnel(t Conn) Conn {
	if cutsKept {
		return &cut{Conn: t}
	}
	return t
}

type cut struct {
	Conn
	reads int // by one goroutine
}

func (c *cut) Read(b []byte) (int, error) {
	if c.reads++; c.reads > 8 {
		return 0, errors.New("cut by a fault")
	}
	return c.Conn.Read(b)
}
