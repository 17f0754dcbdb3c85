package cluster

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// provePath is asked first on each connection to another router.
const provePath = "/v1/peer"

// dial opens a connection to an address that some router is said to have, and has it proved before anything else goes over it: whoever joins the group
// and tells an address without having the journal's key gets nothing, and is believed nothing.
func (c *Cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		config, err := c.TLS()
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		config.ServerName, _, _ = net.SplitHostPort(address) // It was dialled.
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = secure
	}
	if err := c.prove(ctx, conn, address); err != nil {
		return nil, errors.Join(fmt.Errorf("who answers at %s has not proved to be a router of this journal, and is told nothing: %w", address, err), conn.Close())
	}
	return conn, nil
}

// prove asks the other end of a fresh connection for its proof.
func (c *Cluster) prove(ctx context.Context, conn net.Conn, address string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, c.scheme()+"://"+address+provePath, nil)
	if err != nil {
		return err
	}
	nonce := c.prover.sign(q, address, nil)
	deadline, _ := ctx.Deadline() // dial has set one.
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if err := q.Write(conn); err != nil {
		return err
	}
	from := bufio.NewReader(io.LimitReader(conn, 16<<10))
	resp, err := http.ReadResponse(from, q)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	switch {
	case err != nil:
		return err
	case !hmac.Equal([]byte(resp.Header.Get(proofHeader)), []byte(c.prover.answer(nonce, address))):
		if resp.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("it answered %d", resp.StatusCode)
		}
		return fmt.Errorf("it refused: %.300q", said) // Of a router, what is to be done; of anybody else, words.
	case resp.Close || from.Buffered() > 0:
		return errors.New("it proved itself and hung up")
	}
	return conn.SetDeadline(time.Time{})
}

func (c *Cluster) scheme() string {
	if c.TLS != nil {
		return "https"
	}
	return "http"
}

// isAddress reports whether what a router tells as its address is host:port and nothing else.
func isAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	return err == nil && host != "" && port != "" && !strings.ContainsAny(address, "/?#@\\ \t\r\n")
}
