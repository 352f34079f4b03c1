// Package h2 is HTTP/2 cut down to what HBONE carries: CONNECT requests, each a full-duplex byte
// stream. It is our own because net/http cannot half-close such a stream. Framing and HPACK are
// golang.org/x/net's.
//
// In net/http's HTTP/2 a handler has to return to end its response, and returning resets a request
// that is still being read. So a destination could never half-close; Istio's pkg/hbone says the
// same of its own server. net/http also returns http2.StreamError from a body. When the reader of
// that body is the HTTP/2 connection inside a double tunnel, it takes the error for one of its own
// streams and spins. Streams of this package half-close both ways and return only its own errors.
package h2
