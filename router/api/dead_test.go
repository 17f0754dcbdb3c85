package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// A shelf has dead letters.
type shelf struct{ list []*engine.Letter }

func (s *shelf) at(id string) int {
	return slices.IndexFunc(s.list, func(x *engine.Letter) bool { return x.ID == id })
}

func (s *shelf) Get(id string) (*engine.Letter, error) {
	if i := s.at(id); i >= 0 {
		return s.list[i], nil
	}
	return nil, nil
}

func (s *shelf) Each(yield func(*engine.Letter) bool) error {
	for _, x := range s.list {
		if !yield(x) {
			break
		}
	}
	return nil
}

func (s *shelf) Remove(id string) (bool, error) {
	i := s.at(id)
	if i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
	return i >= 0, nil
}

func (s *shelf) Replace(x *engine.Letter) error {
	s.list[s.at(x.ID)] = x
	return nil
}

// neighbours are other routers, of which one has the letter "far".
type neighbours struct {
	*house
	asked []string
}

func (n *neighbours) Gather(q *http.Request, decode func() (any, func())) []string {
	n.asked = append(n.asked, q.Method+" "+q.URL.Path)
	answer := map[string]string{
		"GET /v1/dead": `[{"id":"far","trigger":"t","time":"2031-01-01T00:00:00Z"}]`, "GET /v1/dead/far": `{"id":"far"}`, "DELETE /v1/dead/far": `{"id":"far","removed":true}`,
	}[q.Method+" "+q.URL.Path]
	into, done := decode()
	if answer != "" && json.Unmarshal([]byte(answer), into) == nil {
		done()
	}
	return nil
}

// TestDeadLetters are listed, shown, sent again and removed, here or where they are.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	one := func(n uint32, function string) *engine.Letter {
		return engine.LetterOf(&engine.Dead{
			Invocation: &engine.Invocation{Run: journal.RunID{1}, N: n, Purpose: engine.Notify, Trigger: "t", Function: function, Input: lang.Of("secret")},
			Err:        lang.Failf(lang.ClassFunction, "http_500", "it broke"), Time: time.Unix(int64(n), 0),
		})
	}
	a, b := one(1, "f"), one(2, "g")
	h := &neighbours{house: new(house)}
	s := &shelf{[]*engine.Letter{b, a}}
	var redriven []string
	handler, err := New(Options{
		Intake: h, Shards: h, Endings: ends{h.house}, Cluster: h, Outbox: h, Letters: s, Set: func() *config.Set { return &config.Set{} }, Functions: func() any { return nil },
		Parked: func() []triggers.Parked { return nil }, Ready: func() error { return nil }, Metrics: prometheus.NewRegistry(), MaxBody: 64,
		Redrive: func(_ context.Context, x *engine.Letter) error {
			redriven = append(redriven, x.ID)
			if x.ID == b.ID {
				return errors.New("nobody answers")
			}
			return nil
		},
	}).Handler(func(h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	ask := asker(handler)
	for _, c := range []struct {
		method, path string
		code         int
		want, lacks  string
	}{
		{"GET", "/v1/dead", 200, `"far"`, "secret"},
		{"GET", "/v1/dead?function=f", 200, a.ID, b.ID},
		{"GET", "/v1/dead?limit=0", 400, "limit", ""},
		{"GET", "/v1/dead/" + a.ID, 200, `"data":"secret"`, ""},
		{"GET", "/v1/dead/far", 200, `"far"`, ""},
		{"GET", "/v1/dead/none", 404, "onward dead list", ""},
		{"POST", "/v1/dead/" + b.ID + "/redrive", 502, "not delivered; the letter is kept: nobody answers", ""},
		{"GET", "/v1/dead/" + b.ID, 200, `"redrives":1`, ""},
		{"POST", "/v1/dead/" + a.ID + "/redrive", 200, `"delivered":true`, ""},
		{"GET", "/v1/dead/" + a.ID, 404, "", ""},
		{"DELETE", "/v1/dead/" + b.ID, 200, `"removed":true`, ""},
		{"DELETE", "/v1/dead/" + b.ID, 404, "", ""},
		{"DELETE", "/v1/dead/far", 200, `"removed":true`, ""},
	} {
		code, body, _ := ask(c.method, c.path, "")
		if code != c.code || !strings.Contains(body, c.want) || c.lacks != "" && strings.Contains(body, c.lacks) {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, body)
		}
	}
	if len(s.list) != 0 || !slices.Equal(redriven, []string{b.ID, a.ID}) || !slices.Contains(h.asked, "DELETE /v1/dead/"+a.ID) {
		t.Errorf("%d letters are left, redriven %v, asked %v", len(s.list), redriven, h.asked)
	}
}
