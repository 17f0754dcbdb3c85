package router_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/onward-router/onward/router"
)

// A listener between two routers keeps what the one has asked of the other, and what was answered.
type between struct {
	mu    sync.Mutex
	asked []exchange
}

type exchange struct {
	q      *http.Request
	resp   *http.Response
	body   []byte
	answer []byte
}

func (b *between) RoundTrip(q *http.Request) (*http.Response, error) {
	var body []byte
	if q.Body != nil {
		var err error
		if body, err = io.ReadAll(q.Body); err != nil {
			return nil, err
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, exchange{q, resp, body, answer})
	return resp, nil
}

// find gives the exchanges of a path that went well.
func (b *between) find(path string) (found []exchange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.asked {
		if x.q.URL.Path == path && x.resp.StatusCode < 300 {
			found = append(found, x)
		}
	}
	return found
}

// TestPeersAskAsDescribed: what routers hand one another is as the description says, too, where it goes well.
func TestPeersAskAsDescribed(t *testing.T) {
	t.Parallel()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	defer far.Close()
	b, target := new(between), ""
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: b, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: target})
		r.Out.Host = r.In.Host // It is a part of the proof.
	}})
	defer proxy.Close()
	at := strings.TrimPrefix(proxy.URL, "http://")
	c := openCluster(t, 2, fmt.Sprintf("version: 1\nsources: { in: { webhook: {} } }\nfunctions: { later: { http: { url: %q } } }\ntriggers: { asks: { flow: { sequence: [{ signal: go }, { function: later, heartbeat: 1h }] } } }\n", far.URL), func(_ int, o *router.Options) {
		o.Advertise, o.Hosts = at, []string{at}
	})
	c.mu.Lock()
	target, c.members[1].address = c.members[1].address, at
	c.mu.Unlock()
	asked, id := c.members[0], c.asks(1)
	k := &critic{t: t, address: "http://" + asked.Router.Addr(), did: make(map[string]map[int]bool)}
	_, text := k.ask("GET", "/v1/openapi.json", "", false)
	k.says = readDescription(t, text)

	give := func(kind, attribute, value, data string) {
		t.Helper()
		body := fmt.Sprintf(`{"specversion":"1.0","id":"of %[1]s","source":"/test","type":%[1]q,"subject":"go",%[2]q:%[3]q,"data":%[4]s}`, kind, attribute, value, data)
		if code, said := k.ask("POST", "/events", body, false, "Content-Type", "application/cloudevents+json"); code != 202 && code != 200 {
			t.Fatal(kind, code, said)
		}
	}
	give("dev.onward.signal", "correlationid", id.String(), "1")
	call := ""
	eventually(t, func() error {
		_, body := k.ask("GET", "/v1/runs/"+id.String(), "", false)
		_, call, _ = strings.Cut(body, `"invocation":{"id":"`)
		if call, _, _ = strings.Cut(call, `"`); call == "" {
			return fmt.Errorf("no call: %s", body)
		}
		return nil
	})
	give("dev.onward.function.heartbeat", "causationid", call, "7")
	for _, path := range []string{"/v1/peer", "/v1/facts", "/v1/beats", "/v1/load"} {
		eventually(t, func() error {
			found := b.find(path)
			if len(found) == 0 {
				return fmt.Errorf("%s is never asked with success", path)
			}
			for _, x := range found {
				pattern, op := k.operation(x.q.Method, path)
				if op == nil {
					t.Fatalf("%s is not described", path)
				}
				if err := k.takes(x.q, pattern, op, string(x.body)); err != nil {
					t.Errorf("%s: the request: %v", path, err)
				}
				if err := k.answers(x.resp, pattern, op, x.q.Method, string(x.answer)); err != nil {
					t.Errorf("%s: the answer %d %.300s: %v", path, x.resp.StatusCode, x.answer, err)
				}
			}
			return nil
		})
	}
}
