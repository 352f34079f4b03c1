// Package h2 is HTTP/2 cut down to what HBONE carries: CONNECT requests, each a full-duplex byte stream.
//
// net/http's HTTP/2 cannot serve here: a handler has to return to end its response, and returning resets a request
// that is still being read, so a destination could never half-close. It also hands http2.StreamError to whoever reads a
// body; when that reader is the HTTP/2 connection inside a double tunnel it takes the error for one of its own streams
// and spins. Streams of this package half-close both ways and return only errors of this package.
package h2
