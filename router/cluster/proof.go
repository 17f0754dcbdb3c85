package cluster

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config/access"
)

// proofHeader carries what proves that a request, or the answer to the first one of a connection, is a router's of this journal: time, nonce, hash of the
// body, and a MAC over all that the request asks for. The key is derived from the journal's layout; who cannot read the journal cannot make one.
const proofHeader = "Onward-Peer"

// window is how far the clocks of two routers may be apart, and how old a request may be.
const window = time.Minute

// maxPeerBody bounds the body of a request between routers: one value of a run, with what is around it.
const maxPeerBody = 17 << 20

var errNoProof = errors.New("the proof of a router does not hold")

// A prover makes and checks proofs. What it has seen it remembers for as long as it could be sent again.
type prover struct {
	key [32]byte
	now func() time.Time

	mu           sync.Mutex
	seen, before map[string]struct{}
	turned       time.Time
}

// A proof is a proofHeader taken apart.
type proof struct{ at, nonce, body, mac string }

func (p proof) String() string { return strings.Join([]string{"1", p.at, p.nonce, p.body, p.mac}, " ") }

func parseProof(header string) (p proof, ok bool) {
	words := strings.Split(header, " ")
	if len(words) != 5 || words[0] != "1" || len(words[2]) != 26 {
		return p, false
	}
	return proof{words[1], words[2], words[3], words[4]}, true
}

// of is the MAC of fields. Each goes in with its length: no two lists of them look alike.
func (p *prover) of(fields ...string) string {
	mac := hmac.New(sha256.New, p.key[:])
	for _, f := range fields {
		fmt.Fprintf(mac, "%d:%s,", len(f), f)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// callerHeader says for whom a router asks, where he may not do everything: the one who is asked is to keep to that too.
const callerHeader = "Onward-Caller"

func (p *prover) ofRequest(q *http.Request, to string, x proof) string {
	if callers := q.Header.Values(callerHeader); len(callers) > 0 { // A router of a version that does not know of it takes no such request.
		return p.of("request for", strings.Join(callers, "\n"), q.Method, q.URL.RequestURI(), q.Header.Get("Idempotency-Key"), to, x.at, x.nonce, x.body)
	}
	return p.of("request", q.Method, q.URL.RequestURI(), q.Header.Get("Idempotency-Key"), to, x.at, x.nonce, x.body)
}

// sign proves to the router at an address that a request is a router's, made for who asks by its context. Whoever else gets hold of it can do nothing with it.
func (p *prover) sign(q *http.Request, to string, body []byte) (nonce string) {
	q.Header.Del(callerHeader)
	if who := access.Asking(q.Context()); who.Right != access.Admin || who.Tenant != "" {
		q.Header.Set(callerHeader, who.Encode())
	}
	x := proof{at: strconv.FormatInt(p.now().UnixMilli(), 10), nonce: rand.Text(), body: hashOf(body)}
	x.mac = p.ofRequest(q, to, x)
	q.Header.Set(proofHeader, x.String())
	return x.nonce
}

// answer is what proves that who answers has the key: over the nonce of the request and the address at which it was asked.
func (p *prover) answer(nonce, to string) string { return p.of("answer", nonce, to) }

// check reports whether a request has a proof, and what is wrong with it. The body of one that holds is read and can be read again.
func (p *prover) check(q *http.Request, own []string) (x proof, to string, has bool, err error) {
	header := q.Header.Get(proofHeader)
	if header == "" {
		return x, "", false, nil
	}
	x, ok := parseProof(header)
	if !ok {
		return x, "", true, errNoProof
	}
	i := slices.IndexFunc(own, func(to string) bool { return hmac.Equal([]byte(p.ofRequest(q, to, x)), []byte(x.mac)) })
	if i < 0 {
		return x, "", true, fmt.Errorf("%w: it was made with another key, or for another router's address", errNoProof)
	}
	ms, _ := strconv.ParseInt(x.at, 10, 64) // What holds has a number there.
	if apart := p.now().Sub(time.UnixMilli(ms)); apart.Abs() > window {
		return x, "", true, fmt.Errorf("%w: it was made %s ago by this router's clock; set the clocks of both", errNoProof, apart.Round(time.Second))
	}
	body, err := io.ReadAll(io.LimitReader(q.Body, maxPeerBody+1))
	if err != nil || len(body) > maxPeerBody || hashOf(body) != x.body {
		return x, "", true, fmt.Errorf("%w: another body came with it", errNoProof)
	}
	if !p.first(x.nonce) {
		return x, "", true, fmt.Errorf("%w: it has been used", errNoProof)
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	return x, own[i], true, nil
}

// callerOf is for whom a router asks, of a request whose proof holds.
func callerOf(q *http.Request) (access.Who, error) {
	if len(q.Header.Values(callerHeader)) == 0 {
		return access.Everything, nil
	}
	who, err := access.Decode(q.Header.Get(callerHeader))
	if err != nil {
		return who, fmt.Errorf("%w: %w", errNoProof, err)
	}
	return who, nil
}

// first reports whether a nonce is new. Two sets take turns, so that each nonce is known for as long as its request could be taken.
func (p *prover) first(nonce string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); p.seen == nil || now.Sub(p.turned).Abs() > 2*window {
		p.before, p.seen, p.turned = p.seen, make(map[string]struct{}), now
	}
	_, is := p.seen[nonce]
	_, was := p.before[nonce]
	p.seen[nonce] = struct{}{}
	return !is && !was
}

// peerKey marks the context of a request that a router has proved to be its.
type peerKey struct{}

// passedHeader says that a router passes on what it was asked, and does not ask for itself. No proof covers it: all that it does is that others are asked too.
const passedHeader = "Onward-Passed"

type provedBy struct {
	nonce, to string
	passedOn  bool
}

// IsPeer reports whether another router asks.
func (c *Cluster) IsPeer(ctx context.Context) bool { return isPeer(ctx) }

func isPeer(ctx context.Context) bool { return ctx.Value(peerKey{}) != nil }
