package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config/access"
)

//go:embed static
var static embed.FS

// Options are what the page is made of.
type Options struct {
	API   http.Handler                    // what is asked for under /v1, and all else that is no page
	Guard func(http.Handler) http.Handler // for what nobody has to prove himself for
	// WhoHas says whose a token is; nil: nobody has to prove who he is.
	WhoHas func(token string) (access.Who, bool)
	Key    [32]byte // seals sessions; the same at all routers that answer for one another
	Secure bool     // the listener speaks TLS: browsers are to send the session over nothing else
	Log    *slog.Logger
	Now    func() time.Time // nil is the machine's
}

// pages are the addresses of the frame, with the modules that each needs at once.
var pages = map[string][]string{
	"/{$}": {"runs"}, "/runs": {"runs"}, "/runs/{run}": {"run", "flow", "field", "fingers", "time", "drawer", "waits"}, "/waits": {"waits"}, "/dead": {"dead"}, "/events": {"events"},
	"/triggers": {"parts", "flow"}, "/functions": {"parts", "flow"}, "/routers": {"parts", "flow"},
}

// policy is what browsers are to refuse: all that does not come from the router itself, every script in markup, and being framed.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler is the API with the page around it.
func Handler(o Options) (http.Handler, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	a, err := pack()
	if err != nil {
		return nil, err
	}
	s, err := newSessions(&o)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	guard := o.Guard
	if o.WhoHas != nil { // Who asks has to prove it, under whatever name the router is reached; in the pages themselves is nothing of anybody.
		guard = func(h http.Handler) http.Handler { return h }
	}
	for p, modules := range pages {
		frame, err := a.fill("index.html", map[string]any{"Modules": append([]string{"dom", "api", "ask"}, modules...), "Login": o.WhoHas != nil})
		if err != nil {
			return nil, err
		}
		mux.Handle("GET "+p, guard(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { send(w, q, http.StatusOK, frame) })))
	}
	mux.Handle("GET /assets/{digest}/{name}", http.HandlerFunc(a.serve))
	mux.Handle("GET /session", guard(http.HandlerFunc(s.tell)))
	if o.WhoHas != nil {
		mux.Handle("GET /login", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			s.form(w, q, a, http.StatusOK, "", q.URL.Query().Get("next"))
		}))
		mux.Handle("POST /login", sameOrigin(func(w http.ResponseWriter, q *http.Request) { s.login(w, q, a) }))
		mux.Handle("POST /logout", sameOrigin(s.logout))
	}
	nowhere, err := a.fill("index.html", map[string]any{"Modules": []string{"dom", "api", "ask"}, "Login": o.WhoHas != nil})
	if err != nil {
		return nil, err
	}
	api := s.known(o.API)
	mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.Contains(q.Header.Get("Accept"), "text/html") {
			w = &person{ResponseWriter: w, q: q, nowhere: nowhere}
		}
		api.ServeHTTP(w, q)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		head := w.Header()
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Referrer-Policy", "same-origin")
		mux.ServeHTTP(w, q)
	}), nil
}

// send answers with a page of ours.
func send(w http.ResponseWriter, q *http.Request, code int, page []byte) {
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", policy)
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cache-Control", "no-store")
	head.Set("Vary", "Accept-Encoding")
	if packs(q) {
		head.Set("Content-Encoding", "gzip")
		page = zip(page)
	}
	w.WriteHeader(code)
	_, _ = w.Write(page) // The client has gone: nobody is left to be told.
}

// A person is answered with a page where there is nothing: it leads on to what there is.
type person struct {
	http.ResponseWriter
	q       *http.Request
	nowhere []byte
	lost    bool
}

func (p *person) WriteHeader(code int) {
	if p.lost = code == http.StatusNotFound && strings.HasPrefix(p.Header().Get("Content-Type"), "text/plain"); p.lost {
		p.Header().Del("Content-Length")
		send(p.ResponseWriter, p.q, code, p.nowhere)
		return
	}
	p.ResponseWriter.WriteHeader(code)
}

func (p *person) Write(b []byte) (int, error) {
	if p.lost {
		return len(b), nil
	}
	return p.ResponseWriter.Write(b)
}

// Unwrap lets streams flush.
func (p *person) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// packs reports whether a client takes what is packed.
func packs(q *http.Request) bool {
	return slices.Contains(strings.FieldsFunc(q.Header.Get("Accept-Encoding"), func(r rune) bool { return r == ',' || r == ' ' }), "gzip")
}

func zip(text []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // A level that there is, into memory.
	_, _ = z.Write(text)
	_ = z.Close()
	return b.Bytes()
}

// An asset is a file that browsers keep.
type asset struct {
	kind   string
	plain  []byte
	zipped func() []byte // packed by who first asks for it: a router starts without
}

// assets are all of them, under a digest of all: who has an old page gets none of the new.
type assets struct {
	digest string
	byName map[string]asset
	pages  *template.Template
}

// pack takes what is embedded, as browsers get it.
func pack() (*assets, error) {
	a := &assets{byName: make(map[string]asset)}
	sum := sha256.New()
	files, err := fs.Glob(static, "static/*")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := static.ReadFile(file)
		if err != nil {
			return nil, err
		}
		sum.Write(text)
		name := path.Base(file)
		if strings.HasSuffix(name, ".html") {
			continue
		}
		kind := mime.TypeByExtension(path.Ext(name))
		if strings.HasSuffix(name, ".js") {
			kind = "text/javascript; charset=utf-8"
		}
		text = slim(text)
		a.byName[name] = asset{kind, text, sync.OnceValue(func() []byte { return zip(text) })}
	}
	a.digest = hex.EncodeToString(sum.Sum(nil)[:8])
	a.pages, err = template.ParseFS(static, "static/*.html")
	return a, err
}

// slim leaves out what only people read: indentation, and comments that are lines of their own. No text of the page goes over lines.
func slim(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimLeft(line, " \t\n")
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("//")) {
			out = append(out, line...)
		}
	}
	return out
}

// fill writes a page.
func (a *assets) fill(name string, said map[string]any) ([]byte, error) {
	said["Assets"] = "/assets/" + a.digest
	var b bytes.Buffer
	if err := a.pages.ExecuteTemplate(&b, name, said); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b.Bytes(), nil
}

func (a *assets) serve(w http.ResponseWriter, q *http.Request) {
	x, known := a.byName[q.PathValue("name")]
	if !known || q.PathValue("digest") != a.digest {
		http.NotFound(w, q)
		return
	}
	head := w.Header()
	head.Set("Content-Type", x.kind)
	head.Set("Cache-Control", "public, max-age=31536000, immutable")
	head.Set("Vary", "Accept-Encoding")
	body := x.plain
	if packs(q) {
		head.Set("Content-Encoding", "gzip")
		body = x.zipped()
	}
	_, _ = w.Write(body) // The client has gone: nobody is left to be told.
}
