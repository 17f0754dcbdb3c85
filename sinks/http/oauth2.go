package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tokens are the access tokens of one client, the present one kept. One fetch is under way at a time, whoever waits for it; before a token ends, whoever comes next
// has another fetched while all others still send the old one.
type tokens struct {
	s      *OAuth2
	client func() (*http.Client, error)
	now    func() time.Time

	life   context.Context
	die    context.CancelFunc
	beside sync.WaitGroup

	mu     sync.Mutex
	kept   token
	flight chan struct{} // closed when the fetch that is under way has ended; nil: none is
	// What went wrong last, and when: all who come then need not ask one after another.
	failed   error
	failedAt time.Time
}

type token struct {
	text        string
	renew, ends time.Time
}

const (
	tokenPatience = 10 * time.Second // of one fetch
	tokenPause    = time.Second      // after one that failed
	tokenLife     = 5 * time.Minute  // of a token that does not say, or says what cannot be
	tokenLeast    = time.Second      // that a token is used
	tokenMost     = 256 << 10        // bytes of an answer
)

func newTokens(s *OAuth2, client func() (*http.Client, error)) *tokens {
	t := &tokens{s: s, client: client, now: time.Now}
	t.life, t.die = context.WithCancel(context.Background())
	return t
}

// close ends the fetch that is under way. Of nil it does nothing.
func (t *tokens) close() {
	if t != nil {
		t.die()
		t.beside.Wait()
	}
}

var errNoToken = errors.New("there is no token yet")

// get returns a token that is good for a while. Who waits for one gives up before his time is over: nothing was sent, and that is no time-out.
func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	kept, now := t.kept, t.now()
	if now.Before(kept.renew) {
		t.mu.Unlock()
		return kept.text, nil
	}
	flight, mine := t.flight, t.flight == nil && (t.failed == nil || now.Sub(t.failedAt) >= tokenPause)
	if mine {
		flight = make(chan struct{})
		t.flight = flight
		t.beside.Go(func() { t.fly(flight) })
	}
	failed := t.failed
	t.mu.Unlock()
	if now.Before(kept.ends) && !mine {
		return kept.text, nil
	}
	if flight == nil {
		return "", failed
	}
	if at, bounded := ctx.Deadline(); bounded {
		var over context.CancelFunc
		ctx, over = context.WithTimeoutCause(ctx, time.Until(at)*3/4, errNoToken)
		defer over()
	}
	select {
	case <-flight:
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
			return "", cause
		}
		return "", errNoToken
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now().Before(t.kept.ends) {
		return t.kept.text, nil
	}
	return "", t.failed
}

// fly fetches a token, and keeps it.
func (t *tokens) fly(flight chan struct{}) {
	fresh, err := t.fetch(t.life)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed = err; err == nil {
		t.kept = fresh
	} else {
		t.failedAt = t.now()
	}
	t.flight = nil
	close(flight)
}

// drop forgets a token that was refused.
func (t *tokens) drop(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept.text == text {
		t.kept = token{}
	}
}

// fetch asks for a token. Errors tell what the endpoint says by its code only: anything else it says may hold a secret.
func (t *tokens) fetch(ctx context.Context) (token, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenPatience)
	defer cancel()
	req, err := t.request(ctx)
	if err != nil {
		return token{}, err
	}
	client, err := t.client()
	if err != nil {
		return token{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err
		}
		return token{}, fmt.Errorf("no token from %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, tokenMost))
	if err != nil {
		return token{}, fmt.Errorf("no token from %s: %w", req.URL.Host, err)
	}
	var said struct {
		Token   string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Expires json.RawMessage `json:"expires_in"`
		Error   string          `json:"error"`
	}
	err = json.Unmarshal(body, &said)
	switch {
	case resp.StatusCode != http.StatusOK:
		return token{}, fmt.Errorf("no token from %s: status %d%s", req.URL.Host, resp.StatusCode, errorWord(said.Error))
	case err != nil || said.Token == "":
		return token{}, fmt.Errorf("no token from %s: the answer has no access_token", req.URL.Host)
	case said.Type != "" && !strings.EqualFold(said.Type, "bearer"):
		return token{}, fmt.Errorf("no token from %s: the token is of a type that is not bearer", req.URL.Host)
	}
	life := tokenLife
	if n, err := strconv.ParseFloat(strings.Trim(string(said.Expires), `"`), 64); err == nil && n > 0 {
		life = max(time.Duration(min(n, 1e7)*float64(time.Second)), tokenLeast)
	}
	now := t.now()
	return token{said.Token, now.Add(max(life*4/5, life-5*time.Minute)), now.Add(life - min(10*time.Second, life/10))}, nil
}

func (t *tokens) request(ctx context.Context) (*http.Request, error) {
	id := t.s.ClientID
	secret, err := t.s.ClientSecret.Read()
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(t.s.Scopes) > 0 {
		form.Set("scope", strings.Join(t.s.Scopes, " "))
	}
	for name, v := range t.s.Params {
		form.Set(name, v)
	}
	if t.s.Style == "body" {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.s.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if t.s.Style != "body" { // RFC 6749, section 2.3.1: encoded as forms are.
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return req, nil
}

// errorWord is an error code of RFC 6749, section 5.2, if it has the form of one.
func errorWord(s string) string {
	if s == "" || len(s) > 40 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return " " + s
}
