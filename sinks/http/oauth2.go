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
	"time"
)

// tokens are the access tokens of one client, the present one kept. One fetch is under way at a time, and before a token ends, whoever comes next fetches
// another while all others still send the old one.
type tokens struct {
	s      *OAuth2
	client func() (*http.Client, error)
	now    func() time.Time

	turn chan struct{} // has one while somebody fetches, or looks
	kept token
	// What went wrong last, and when: all who wait then need not ask one after another.
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
	tokenLife     = 5 * time.Minute  // of a token that does not say
	tokenMost     = 256 << 10        // bytes of an answer
)

func newTokens(s *OAuth2, client func() (*http.Client, error)) *tokens {
	return &tokens{s: s, client: client, now: time.Now, turn: make(chan struct{}, 1)}
}

// get returns a token that is good for a while.
func (t *tokens) get(ctx context.Context) (string, error) {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	kept, now := t.kept, t.now()
	switch {
	case now.Before(kept.renew):
		<-t.turn
		return kept.text, nil
	case t.failed != nil && now.Sub(t.failedAt) < tokenPause:
		err := t.failed
		<-t.turn
		if now.Before(kept.ends) {
			return kept.text, nil
		}
		return "", err
	}
	if now.Before(kept.ends) { // The others go on with what there is.
		t.kept.renew = kept.ends
		<-t.turn
		fresh, err := t.fetch(ctx)
		t.turn <- struct{}{}
		t.settle(fresh, err)
		if err != nil {
			t.kept.renew = t.now().Add(tokenPause)
			fresh = kept
		}
		<-t.turn
		return fresh.text, nil
	}
	fresh, err := t.fetch(ctx)
	t.settle(fresh, err)
	<-t.turn
	return fresh.text, err
}

// settle keeps what a fetch has given. Whose time was over meanwhile says nothing of the next.
func (t *tokens) settle(fresh token, err error) {
	switch {
	case err == nil:
		t.kept, t.failed = fresh, nil
	case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		t.failed, t.failedAt = err, t.now()
	}
}

// drop forgets a token that was refused.
func (t *tokens) drop(text string) {
	t.turn <- struct{}{}
	if t.kept.text == text {
		t.kept = token{}
	}
	<-t.turn
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
		life = time.Duration(min(n, 1e7) * float64(time.Second))
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
