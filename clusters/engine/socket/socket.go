// Package socket asks container engines on their Unix sockets.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Get requests a page over a Unix socket and returns at most 64 KiB of it. It waits until ctx ends:
// a daemon that is still starting accepts the connection at once and answers later.
func Get(ctx context.Context, socket, page string) (string, error) {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+page, nil)
	if err != nil {
		return "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", unwrapURL(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", page, res.Status)
	}
	return string(b), err
}

// unwrapURL drops the invented URL of the request, which would only confuse.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
