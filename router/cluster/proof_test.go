package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/router/cluster"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// asks sends what a router asks another one for a run: a forwarded request with secrets, a fact, an end.
func asks(t *testing.T, address string) (said string) {
	t.Helper()
	p := &peers{list: []journal.Peer{{ID: "a", Self: true, Partitions: []int{0}}, {ID: "b", Address: address, Partitions: []int{1}}}}
	c := cluster.New(cluster.Options{Journal: p, Layout: layout, Shards: here{}, Addresses: func() []string { return nil }})
	defer c.Close()
	q := httptest.NewRequest("POST", "/v1/runs/"+theirs.String()+"/signals/go", strings.NewReader("the data"))
	q.Header.Set("Authorization", "Bearer hush")
	w := httptest.NewRecorder()
	if _, err := c.Forward(w, q, theirs, func(_ http.ResponseWriter, err error) { said += err.Error() }); err != nil {
		said += err.Error()
	}
	said += w.Body.String()
	rec := engine.Record(journal.Signal, theirs, &engine.SignalFact{Name: "go"})
	if fates, err := c.Hand(t.Context(), []journal.Record{rec}); err == nil {
		said += " handed: " + fates[0]
	}
	if end := c.Find(t.Context(), theirs); end != nil {
		said += " believed: " + end.State
	}
	return said
}

// TestAnAddressWithoutTheKeyGetsNothing: whoever joins the group may tell an address; without the journal's key he is sent neither data nor tokens, and
// what he answers is not believed.
func TestAnAddressWithoutTheKeyGetsNothing(t *testing.T) {
	t.Parallel()
	genuine := listen(t, layout, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"became":["applied"],"state":"succeeded"}`)
	})
	if said := asks(t, genuine); !strings.Contains(said, `"became":["applied"]`) || !strings.Contains(said, "handed: applied") {
		t.Fatalf("a router of this journal: %q", said)
	}
	lie := func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, `{"became":["applied"],"state":"lied"}`) }
	echo := func(w http.ResponseWriter, q *http.Request) { // It sends back what it was shown.
		w.Header().Set("Onward-Peer", q.Header.Get("Onward-Peer"))
		lie(w, q)
	}
	relay := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: genuine})
	relay.ErrorLog = nil
	for name, h := range map[string]http.HandlerFunc{
		"a liar": lie, "one who echoes": echo, "one who passes it on to a router": relay.ServeHTTP, "one who says nothing": func(http.ResponseWriter, *http.Request) {},
		"one who redirects to a router": func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "http://"+genuine+q.URL.RequestURI(), http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			var mu sync.Mutex
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				dump, _ := httputil.DumpRequest(q, true)
				mu.Lock()
				got.Write(dump)
				mu.Unlock()
				h(w, q)
			}))
			defer s.Close()
			said := asks(t, strings.TrimPrefix(s.URL, "http://"))
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(said, "lied") || strings.Contains(said, "handed") || strings.Contains(said, "believed") || !strings.Contains(said, "has not proved to be a router") {
				t.Errorf("%q is believed", said)
			}
			for _, secret := range []string{"hush", "the data", theirs.String(), "signals", "facts"} {
				if strings.Contains(got.String(), secret) {
					t.Errorf("it got %q in\n%s", secret, got.String())
				}
			}
		})
	}
	other := journal.Layout{Partitions: 2, Key: [32]byte{2}}
	if said := asks(t, listen(t, other, lie)); !strings.Contains(said, "has not proved") || strings.Contains(said, "lied") {
		t.Errorf("a router of another journal: %q", said)
	}
	for _, address := range []string{"", "8080", "evil.example/x:80", "user@127.0.0.1:80", "127.0.0.1:80?x", "127.0.0.1", ":80", "http://127.0.0.1:80", "a b:80"} {
		if said := asks(t, address); !strings.Contains(said, "set advertise there") {
			t.Errorf("%q: %q", address, said)
		}
	}
}

// TestASilentAddressHoldsNobody: what takes connections and says nothing, or no end, costs its patience at most.
func TestASilentAddressHoldsNobody(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{"nothing": "", "no end": "HTTP/1.1 200 OK\r\nOnward-Peer: " + strings.Repeat("x", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			defer all.Wait()
			defer l.Close()
			all.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					all.Go(func() {
						_, _ = io.WriteString(c, says)
						_, _ = io.Copy(io.Discard, c) // Until the other end has enough.
						_ = c.Close()
					})
				}
			})
			p := &peers{list: []journal.Peer{{ID: "b", Address: l.Addr().String(), Partitions: []int{1}}}}
			c := cluster.New(cluster.Options{Journal: p, Layout: layout, Shards: here{}})
			defer c.Close()
			begin := time.Now()
			if c.Find(t.Context(), theirs) != nil || time.Since(begin) > 5*time.Second {
				t.Errorf("it took %s", time.Since(begin))
			}
		})
	}
}

// A wire is a router whose requests are kept as they came, to be sent again.
type wire struct {
	address string
	got     []*http.Request
	bodies  [][]byte
	router  *cluster.Cluster
	now     time.Time
	asked   func(*http.Request) // may be nil
}

func tap(t *testing.T) (*wire, *cluster.Cluster) {
	t.Helper()
	w := &wire{now: time.Unix(1_700_000_000, 0)}
	clock := func() time.Time { return w.now }
	w.router = cluster.New(cluster.Options{Journal: new(peers), Layout: layout, Shards: here{}, Now: clock, Addresses: func() []string { return []string{"other:1", w.address} }})
	inside := answering(w.router, func(rw http.ResponseWriter, q *http.Request) {
		if w.asked != nil {
			w.asked(q)
		}
		fmt.Fprint(rw, `{"became":["applied"]}`)
	})
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		q.Body = io.NopCloser(bytes.NewReader(b))
		w.got, w.bodies = append(w.got, q), append(w.bodies, b)
		inside(rw, q)
	}))
	t.Cleanup(s.Close)
	w.address = strings.TrimPrefix(s.URL, "http://")
	p := &peers{list: []journal.Peer{{ID: "b", Address: w.address, Partitions: []int{1}}}}
	c := cluster.New(cluster.Options{Journal: p, Layout: layout, Shards: here{}, Now: clock})
	t.Cleanup(c.Close)
	return w, c
}

// again sends the last request once more, changed.
func (w *wire) again(change func(*http.Request)) string {
	i := len(w.got) - 1
	q := w.got[i].Clone(context.Background())
	q.Body = io.NopCloser(bytes.NewReader(w.bodies[i]))
	if change != nil {
		change(q)
	}
	rec := httptest.NewRecorder()
	answering(w.router, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "taken") })(rec, q)
	return fmt.Sprint(rec.Code, " ", strings.TrimSpace(rec.Body.String()))
}

// TestARequestCountsOnceAndAsItWasSigned: replayed, changed, late and early it is refused; a sound one is not.
func TestARequestCountsOnceAndAsItWasSigned(t *testing.T) {
	t.Parallel()
	w, c := tap(t)
	rec := engine.Record(journal.Signal, theirs, &engine.SignalFact{Name: "go"})
	send := func() {
		t.Helper()
		if fates, err := c.Hand(t.Context(), []journal.Record{rec}); err != nil || fates[0] != "applied" {
			t.Fatal(fates, err)
		}
	}
	send()
	if got := w.again(nil); !strings.HasPrefix(got, "401") || !strings.Contains(got, "it has been used") {
		t.Errorf("a replay: %s", got)
	}
	for name, change := range map[string]func(q *http.Request){
		"another method": func(q *http.Request) { q.Method = "PUT" }, "another run": func(q *http.Request) { q.URL.Path = strings.Replace(q.URL.Path, theirs.String(), mine.String(), 1) },
		"a query": func(q *http.Request) { q.URL.RawQuery = "x=1" }, "another body": func(q *http.Request) { q.Body = io.NopCloser(strings.NewReader("x")) },
		"no body": func(q *http.Request) { q.Body = http.NoBody }, "a key": func(q *http.Request) { q.Header.Set("Idempotency-Key", "k") },
		"an endless body": func(q *http.Request) { q.Body = io.NopCloser(endless{}) },
		"another nonce":   func(q *http.Request) { edit(q, 2, strings.Repeat("A", 26)) }, "a short nonce": func(q *http.Request) { edit(q, 2, "A") },
		"another time": func(q *http.Request) { edit(q, 1, "1700000000001") }, "no number": func(q *http.Request) { edit(q, 1, "now") },
		"another hash": func(q *http.Request) { edit(q, 3, strings.Repeat("0", 64)) }, "no mac": func(q *http.Request) { edit(q, 4, "") },
		"another version": func(q *http.Request) { edit(q, 0, "2") }, "garbage": func(q *http.Request) { q.Header.Set("Onward-Peer", "\xff") },
		"two proofs": func(q *http.Request) {
			q.Header["Onward-Peer"] = []string{"1 2 3 4 5", q.Header.Get("Onward-Peer")}
		},
	} {
		if got := w.again(change); !strings.HasPrefix(got, "401") {
			t.Errorf("%s: %s", name, got)
		}
	}
	send()
	w.now = w.now.Add(2 * time.Minute)
	if got := w.again(nil); !strings.Contains(got, "it was made 2m0s ago by this router's clock; set the clocks of both") {
		t.Errorf("late: %s", got)
	}
	send() // The nonces of before are set aside, and known on.
	w.now = w.now.Add(59 * time.Second)
	if got := w.again(nil); !strings.Contains(got, "it has been used") {
		t.Errorf("a replay just before it is late: %s", got)
	}
	if got := w.again(func(q *http.Request) { q.Header.Del("Onward-Peer") }); !strings.HasPrefix(got, "401 <nil>") {
		t.Errorf("without a proof it is nobody's: %s", got)
	}
}

// TestForWhomARouterAsks is carried with its request, and nobody in between makes more of him.
func TestForWhomARouterAsks(t *testing.T) {
	t.Parallel()
	w, c := tap(t)
	rec := engine.Record(journal.Signal, theirs, &engine.SignalFact{Name: "go"})
	var seen access.Who
	w.asked = func(q *http.Request) { seen = access.Asking(q.Context()) }
	for _, who := range []access.Who{{Name: "ci", Right: access.Operate, Tenant: "shop"}, {Name: "reader", Right: access.Read}, access.Everything} {
		if fates, err := c.Hand(access.With(t.Context(), who), []journal.Record{rec}); err != nil || fates[0] != "applied" || seen != who {
			t.Errorf("%+v asks, and it is for %+v; %v, %v", who, seen, fates, err)
		}
		for name, change := range map[string]func(http.Header){
			"nobody is said": func(h http.Header) { h.Del("Onward-Caller") }, "another": func(h http.Header) { h.Set("Onward-Caller", access.Who{Right: access.Operate, Name: "x"}.Encode()) },
			"two": func(h http.Header) { h.Add("Onward-Caller", access.Everything.Encode()) }, "garbage": func(h http.Header) { h.Set("Onward-Caller", "root") },
		} {
			got := w.again(func(q *http.Request) { change(q.Header) })
			if unchanged := who == access.Everything && name == "nobody is said"; !strings.HasPrefix(got, "401") || !unchanged && !strings.Contains(got, "made with another key") {
				t.Errorf("%+v, %s: %s", who, name, got)
			}
		}
	}
}

// edit changes a word of a proof.
func edit(q *http.Request, i int, word string) {
	words := strings.Split(q.Header.Get("Onward-Peer"), " ")
	words[i] = word
	q.Header.Set("Onward-Peer", strings.Join(words, " "))
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestWhatIsForAnotherRouterIsNotTaken: a request that was signed for one address cannot be brought to another.
func TestWhatIsForAnotherRouterIsNotTaken(t *testing.T) {
	t.Parallel()
	w, c := tap(t)
	rec := engine.Record(journal.Signal, theirs, &engine.SignalFact{Name: "go"})
	if _, err := c.Hand(t.Context(), []journal.Record{rec}); err != nil {
		t.Fatal(err)
	}
	third := cluster.New(cluster.Options{Journal: new(peers), Layout: layout, Shards: here{}, Now: func() time.Time { return w.now }, Addresses: func() []string { return []string{"third:1"} }})
	defer third.Close()
	w.router = third
	if got := w.again(nil); !strings.HasPrefix(got, "401") || !strings.Contains(got, "for another router's address") {
		t.Error(got)
	}
}

// TestRoutersSpeakTLS: the proof comes after the certificate, and a certificate alone proves nothing.
func TestRoutersSpeakTLS(t *testing.T) {
	t.Parallel()
	var address string
	inside := cluster.New(cluster.Options{Journal: new(peers), Layout: layout, Shards: here{}, Addresses: func() []string { return []string{address} }})
	genuine := httptest.NewUnstartedServer(answering(inside, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"became":["applied"]}`) }))
	genuine.Config.ErrorLog = log.New(io.Discard, "", 0) // One who does not trust it is tried, too.
	genuine.StartTLS()
	defer genuine.Close()
	address = strings.TrimPrefix(genuine.URL, "https://")
	foreign := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"became":["applied"]}`) }))
	defer foreign.Close()
	pool := x509.NewCertPool()
	pool.AddCert(genuine.Certificate())
	for name, c := range map[string]struct {
		address string
		roots   *x509.CertPool
		want    string
	}{
		"a router": {address, pool, ""}, "whose certificate is not trusted": {address, x509.NewCertPool(), "certificate"},
		"one with a certificate and no key": {strings.TrimPrefix(foreign.URL, "https://"), pool, "has not proved"},
	} {
		p := &peers{list: []journal.Peer{{ID: "b", Address: c.address, Partitions: []int{1}}}}
		us := cluster.New(cluster.Options{Journal: p, Layout: layout, Shards: here{}, TLS: func() (*tls.Config, error) { return &tls.Config{RootCAs: c.roots}, nil }})
		rec := engine.Record(journal.Signal, theirs, &engine.SignalFact{Name: "go"})
		fates, err := us.Hand(t.Context(), []journal.Record{rec})
		if (c.want == "") != (err == nil && fates[0] == "applied") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", name, fates, err)
		}
		us.Close()
	}
}
