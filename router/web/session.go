package web

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/triggers"
)

// sessionTime is how long a session lasts. It begins anew when the page is opened in its second half.
const sessionTime = 12 * time.Hour

// maxLogin bounds the body of a login.
const maxLogin = 16 << 10

type sessions struct {
	*Options
	box    cipher.AEAD
	cookie string
}

func newSessions(o *Options) (*sessions, error) {
	block, err := aes.NewCipher(o.Key[:])
	if err != nil {
		return nil, err
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &sessions{o, box, "onward"}
	if o.Secure {
		s.cookie = "__Host-onward" // Browsers take it by TLS only, and from this very host.
	}
	return s, nil
}

// seal is a token with the time until which its session lasts, as a cookie holds it.
func (s *sessions) seal(token string, until time.Time) string {
	nonce := make([]byte, s.box.NonceSize())
	rand.Read(nonce)
	text := append(binary.BigEndian.AppendUint64(nil, uint64(until.Unix())), token...)
	return base64.RawURLEncoding.EncodeToString(s.box.Seal(nonce, nonce, text, []byte(s.cookie)))
}

// open returns the token of a session that lasts.
func (s *sessions) open(sealed string) (token string, until time.Time, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if n := s.box.NonceSize(); err == nil && len(b) > n {
		if b, err = s.box.Open(nil, b[:n], b[n:], []byte(s.cookie)); err == nil && len(b) > 8 {
			until = time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
			return string(b[8:]), until, s.Now().Before(until)
		}
	}
	return "", time.Time{}, false
}

// who is whose session a request brings.
func (s *sessions) who(q *http.Request) (who access.Who, token string, until time.Time, ok bool) {
	c, err := q.Cookie(s.cookie)
	if err != nil || s.WhoHas == nil {
		return who, "", until, false
	}
	if token, until, ok = s.open(c.Value); ok {
		who, ok = s.WhoHas(token)
	}
	return who, token, until, ok
}

// known lets the API know who asks by a session. A request that brings a token of its own is its own.
func (s *sessions) known(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "" || !strings.HasPrefix(q.URL.Path, "/v1/") {
			api.ServeHTTP(w, q)
			return
		}
		who, _, _, ok := s.who(q)
		if !ok {
			api.ServeHTTP(w, q)
			return
		}
		sameOrigin(func(w http.ResponseWriter, q *http.Request) {
			api.ServeHTTP(w, q.WithContext(access.With(q.Context(), who)))
		}).ServeHTTP(w, q)
	})
}

// sameOrigin refuses what a page of another origin sends: a browser adds the session to that by itself.
func sameOrigin(h http.HandlerFunc) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusForbidden, triggers.Refuse(http.StatusForbidden, "a page of another origin may not send here", "open the router's own page"))
	}))
	return origins.Handler(h)
}

func say(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // The client has gone: nobody is left to be told.
}

// tell says who somebody is, so that the page offers what he may do; without a name and a right he has to log in.
func (s *sessions) tell(w http.ResponseWriter, q *http.Request) {
	if s.WhoHas == nil {
		say(w, http.StatusOK, access.Everything)
		return
	}
	said := struct {
		Login  bool   `json:"login"`
		Name   string `json:"name,omitempty"`
		Right  string `json:"right,omitempty"`
		Tenant string `json:"tenant,omitempty"`
	}{Login: true}
	if who, token, until, ok := s.who(q); ok {
		said.Name, said.Right, said.Tenant = who.Name, who.Right.String(), who.Tenant
		if until.Sub(s.Now()) < sessionTime/2 {
			s.set(w, token)
		}
	}
	say(w, http.StatusOK, said)
}

func (s *sessions) set(w http.ResponseWriter, token string) {
	until := s.Now().Add(sessionTime)
	http.SetCookie(w, &http.Cookie{Name: s.cookie, Value: s.seal(token, until), Path: "/", Expires: until, Secure: s.Secure, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// form shows the form of a login.
func (s *sessions) form(w http.ResponseWriter, q *http.Request, a *assets, code int, wrong, next string) {
	page, err := a.fill("login.html", map[string]any{"Wrong": wrong, "Next": own(next)})
	if err != nil {
		s.Log.Error("the page of the login cannot be written", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	send(w, q, code, page)
}

// own is an address if it is one of this router's pages, and that of the runs else: a link must not lead from the login to somewhere else.
func own(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/runs"
	}
	return u.String()
}

func (s *sessions) login(w http.ResponseWriter, q *http.Request, a *assets) {
	q.Body = http.MaxBytesReader(w, q.Body, maxLogin)
	err := q.ParseForm()
	next := q.PostForm.Get("next")
	switch tooLarge := new(http.MaxBytesError); {
	case errors.As(err, &tooLarge):
		s.form(w, q, a, http.StatusRequestEntityTooLarge, "That is too long for a token.", next)
		return
	case err != nil:
		s.form(w, q, a, http.StatusBadRequest, "The form did not arrive whole. Send it again.", next)
		return
	}
	token := strings.TrimSpace(q.PostForm.Get("token"))
	who, known := s.WhoHas(token)
	if token == "" || !known {
		s.Log.Warn("a login without a valid token is refused", "status", http.StatusUnauthorized, "from", q.RemoteAddr)
		s.form(w, q, a, http.StatusUnauthorized, "No token is like that.", next)
		return
	}
	s.Log.Info("somebody has logged in to the page", "token", who.Name, "from", q.RemoteAddr)
	s.set(w, token)
	http.Redirect(w, q, own(next), http.StatusSeeOther)
}

func (s *sessions) logout(w http.ResponseWriter, q *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: s.cookie, Path: "/", MaxAge: -1, Secure: s.Secure, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, q, "/login", http.StatusSeeOther)
}
