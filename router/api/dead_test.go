package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/prometheus/client_golang/prometheus"
)

// A shelf has dead letters.
type shelf struct {
	list []*engine.Letter
	gone map[string]bool
}

func (s *shelf) at(id string) int {
	return slices.IndexFunc(s.list, func(x *engine.Letter) bool { return x.ID == id })
}

func (s *shelf) Get(id string) (*engine.Letter, error) {
	if i := s.at(id); i >= 0 {
		return s.list[i], nil
	}
	return nil, nil
}

// chosen is the letters of a list that a query chooses, the latest first.
func chosen(list []*engine.Letter, q *engine.LetterQuery) []*engine.Letter {
	is := func(want string, has ...string) bool { return want == "" || slices.Contains(has, want) }
	list = slices.DeleteFunc(slices.Clone(list), func(x *engine.Letter) bool {
		return !is(q.Trigger, x.Trigger) || !is(q.Tenant, x.Tenant) || !is(q.Run, x.Run) || !is(q.Kind, x.Kind()) || !is(q.Function, x.To, x.Starts) ||
			!is(q.Error, x.Fault().Type, x.Fault().Class.String()) || x.Time.Before(q.Since) || !q.Until.IsZero() && !x.Time.Before(q.Until) || q.Match != nil && !q.Match(x)
	})
	slices.SortFunc(list, func(x, y *engine.Letter) int { return cmp.Or(y.Time.Compare(x.Time), cmp.Compare(y.ID, x.ID)) })
	return list
}

func findIn(list []*engine.Letter, q *engine.LetterQuery) (*engine.FoundLetters, error) {
	list = chosen(list, q)
	found := &engine.FoundLetters{Total: len(list)}
	for _, x := range list {
		if y := x.Cursor(); (q.After == engine.Cursor{} || y.N < q.After.N || y.N == q.After.N && y.ID < q.After.ID) {
			head := *x
			head.Data = lang.Value{}
			found.Letters = append(found.Letters, &head)
		}
	}
	found.Cut(q.Limit)
	return found, nil
}

func causesIn(list []*engine.Letter, q *engine.LetterQuery) (all []*engine.LetterCause, _ error) {
	for _, x := range chosen(list, q) { // One each: who asks adds them up.
		all = append(all, &engine.LetterCause{
			Kind: x.Kind(), Trigger: x.Trigger, Function: x.To + x.Starts, Error: x.Fault().Type, Count: 1, First: x.Time, Last: x.Time, Letter: x.ID, Message: x.Fault().Message,
		})
	}
	return all, nil
}

func (s *shelf) Page(q *engine.LetterQuery) (*engine.FoundLetters, error) { return findIn(s.list, q) }

func (s *shelf) Causes(q *engine.LetterQuery) ([]*engine.LetterCause, error) {
	return causesIn(s.list, q)
}

func (s *shelf) Remove(id string) (bool, error) {
	i := s.at(id)
	if i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
		s.gone[id] = true
	}
	return i >= 0, nil
}

func (s *shelf) Gone(id string) (bool, error) { return s.gone[id], nil }

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
		"GET /v1/dead": `{"letters":[{"letter":"far","trigger":"t","time":"2031-01-01T00:00:00Z"}],"total":1}`, "GET /v1/dead/far": `{"letter":"far"}`, "DELETE /v1/dead/far": `{"letter":"far","became":"removed"}`,
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
	s := &shelf{[]*engine.Letter{b, a}, make(map[string]bool)}
	var redriven []string
	handler, err := New(Options{
		Intake: h, Shards: h, Endings: ends{h.house}, Cluster: h, Outbox: h, Letters: s, Set: func() *config.Set { return &config.Set{} }, Functions: func() []control.FunctionStatus { return nil },
		Parked: func() []triggers.Parked { return nil }, Ready: func() error { return nil }, Starts: func() error { return nil }, Metrics: prometheus.NewRegistry(), MaxBody: 64,
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
		{"GET", "/v1/dead?limit=1", 200, `"far"`, a.ID},
		{"GET", "/v1/dead?limit=0", 400, "limit", ""},
		{"GET", "/v1/dead/" + a.ID, 200, `"data":"secret"`, ""},
		{"GET", "/v1/dead/far", 200, `"far"`, ""},
		{"GET", "/v1/dead/none", 404, "onward dead list", ""},
		{"POST", "/v1/dead/" + b.ID + "/redrive", 502, "not delivered; the letter is kept: nobody answers", ""},
		{"GET", "/v1/dead/" + b.ID, 200, `"redrives":1`, ""},
		{"POST", "/v1/dead/" + a.ID + "/redrive", 200, `"became":"delivered"`, ""},
		{"GET", "/v1/dead/" + a.ID, 404, "", ""},
		{"POST", "/v1/dead/" + a.ID + "/redrive", 200, `"became":"gone"`, ""},
		{"POST", "/v1/dead/none/redrive", 404, "no such dead letter", ""},
		{"DELETE", "/v1/dead/" + b.ID, 200, `"became":"removed"`, ""},
		{"DELETE", "/v1/dead/" + b.ID, 404, "", ""},
		{"DELETE", "/v1/dead/far", 200, `"became":"removed"`, ""},
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

// A loner has no other routers.
type loner struct{ *house }

func (loner) Gather(*http.Request, func() (any, func())) []string { return nil }

// lettersOf is an API with these letters, and nobody else's.
func lettersOf(t *testing.T, s *shelf, redrive func(context.Context, *engine.Letter) error) func(method, path, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	h := loner{new(house)}
	handler, err := New(Options{
		Intake: h, Shards: h, Endings: ends(h), Cluster: h, Outbox: h, Letters: s, Set: func() *config.Set { return &config.Set{} }, Functions: func() []control.FunctionStatus { return nil },
		Parked: func() []triggers.Parked { return nil }, Ready: func() error { return nil }, Starts: func() error { return nil }, Metrics: prometheus.NewRegistry(), MaxBody: 64, Redrive: redrive,
	}).Handler(func(h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	return asker(handler)
}

// TestDeadLettersAreChosen by each of what they have, in pages of which none lacks or repeats one, whatever the order in which they came.
func TestDeadLettersAreChosen(t *testing.T) {
	t.Parallel()
	s := &shelf{gone: make(map[string]bool)}
	begin := time.Now().Add(-10 * time.Hour).UTC()
	for n := range uint32(30) {
		inv := &engine.Invocation{Run: journal.RunID{1}, N: n, Purpose: engine.Call, Trigger: "t", Tenant: "acme", Function: "f", Input: lang.Of("Blue")}
		e := lang.Failf(lang.ClassFunction, "boom", "it broke %d", n)
		if n%3 == 0 {
			inv.Run, inv.Purpose, inv.Trigger, inv.Tenant, inv.Function, inv.ToTrigger, e = journal.RunID{2}, engine.Route, "u", "other", "", "g", lang.Failf(lang.ClassPlatform, "away", "nobody is there")
			inv.Input = lang.Of("green")
		}
		x := engine.LetterOf(&engine.Dead{Invocation: inv, Err: e, Time: begin.Add(time.Duration(n*7%30/2) * time.Hour / 2)})
		s.list = append(s.list, x)
	}
	s.list = append(s.list, &engine.Letter{ID: "bare", What: engine.LetterParked, Time: begin}) // Without an error.
	ask := lettersOf(t, s, nil)
	list := func(query string) (got []*engine.Letter, next string) {
		var said LetterList
		code, body, _ := ask("GET", "/v1/dead?"+query, "")
		if err := json.Unmarshal([]byte(body), &said); code != 200 || err != nil || said.Total < len(said.Letters) {
			t.Fatalf("%s: %d %s", query, code, body)
		}
		return said.Letters, said.Next
	}
	for query, want := range map[string]int{
		"": 31, "trigger=t": 20, "trigger=u&function=g": 10, "function=f": 20, "tenant=other": 10, "kind=invocation": 20, "kind=destination": 10, "kind=event": 0, "kind=parked": 1,
		"error=boom": 20, "error=platform": 10, "text=BLUE": 20, "text=nobody": 10, "text=broke+29": 1, "run=" + journal.RunID{2}.String(): 10, "run=" + strings.ToUpper(journal.RunID{2}.String()): 10,
		"trigger=t&error=away": 0, "since=100h": 31, "until=100h": 0, "since=" + begin.Add(time.Hour).Format(time.RFC3339Nano): 26, "until=" + begin.Add(time.Hour).Format(time.RFC3339Nano): 5,
	} {
		if got, next := list(query); len(got) != want || next != "" {
			t.Errorf("%s: %d letters, next %q; want %d", query, len(got), next, want)
		}
	}
	for _, limit := range []string{"1", "7", "30", "31"} {
		seen := make(map[string]bool)
		last := begin.Add(100 * time.Hour)
		for after := ""; ; {
			got, next := list("limit=" + limit + "&after=" + url.QueryEscape(after))
			if next != "" && fmt.Sprint(len(got)) != limit {
				t.Fatalf("limit %s: a page of %d", limit, len(got))
			}
			for _, x := range got {
				if seen[x.ID] || x.Time.After(last) {
					t.Fatalf("limit %s: %s comes again or too late", limit, x.ID)
				}
				seen[x.ID], last = true, x.Time
			}
			if after = next; after == "" {
				break
			}
		}
		if len(seen) != 31 {
			t.Errorf("limit %s: %d letters", limit, len(seen))
		}
	}
	var by Causes
	if code, body, _ := ask("GET", "/v1/dead?group=cause", ""); code != 200 || json.Unmarshal([]byte(body), &by) != nil || by.Total != 31 || len(by.Causes) != 3 ||
		by.Causes[0].Count != 20 || by.Causes[0].Error != "boom" || by.Causes[0].Function != "f" || by.Causes[1].Count != 10 || by.Causes[1].Function != "g" || !by.Causes[1].First.Before(by.Causes[1].Last) {
		t.Errorf("%d %s", code, body)
	}
	for query, want := range map[string]string{
		"tigger=t": `did you mean \"trigger\"`, "kind=x": "write invocation, destination", "since=soon": "is no time; write", "until=soon": "is no time; write", "after=x": "take next from the answer before",
		"group=x": "write cause", "limit=x": "number from 1",
	} {
		if code, body, _ := ask("GET", "/v1/dead?"+query, ""); code != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, code, body)
		}
	}
}

// TestTodayIsADay of UTC.
func TestTodayIsADay(t *testing.T) {
	t.Parallel()
	at, err := whenOf("since", "today", time.Date(2026, 11, 27, 1, 0, 0, 0, time.FixedZone("east", 7200)))
	if want := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC); err != nil || !at.Equal(want) {
		t.Errorf("%v, %v; want %v", at, err, want)
	}
}

// TestCausesAreBounded: what is beyond is counted as one, and nothing is lost of the sum.
func TestCausesAreBounded(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	for n := range 3 * causesMost {
		s.list = append(s.list, &engine.Letter{ID: fmt.Sprint(n), Error: lang.Failf(lang.ClassFunction, fmt.Sprint("e", n), "x"), Time: time.Unix(int64(n), 0)})
	}
	var by Causes
	_, body, _ := lettersOf(t, s, nil)("GET", "/v1/dead?group=cause", "")
	if err := json.Unmarshal([]byte(body), &by); err != nil || by.Total != 3*causesMost || len(by.Causes) != causesMost+1 || by.Causes[0].Error != "others" || by.Causes[0].Count != 2*causesMost {
		t.Errorf("%v, %d in all, %d causes", err, by.Total, len(by.Causes))
	}
}

// TestALetterIsSentOnceAtATime, and who asks when it has arrived is told that it is gone.
func TestALetterIsSentOnceAtATime(t *testing.T) {
	t.Parallel()
	s := &shelf{[]*engine.Letter{{ID: "x"}}, make(map[string]bool)}
	begun, go1 := make(chan bool), make(chan bool)
	ask := lettersOf(t, s, func(context.Context, *engine.Letter) error {
		close(begun) // A second time panics.
		<-go1
		return nil
	})
	done := make(chan string)
	go func() {
		_, body, _ := ask("POST", "/v1/dead/x/redrive", "")
		done <- body
	}()
	<-begun
	if code, body, _ := ask("POST", "/v1/dead/x/redrive", ""); code != 502 || !strings.Contains(body, "being sent again already") {
		t.Errorf("%d %s", code, body)
	}
	close(go1)
	if body := <-done; !strings.Contains(body, `"became":"delivered"`) {
		t.Error(body)
	}
	if code, body, _ := ask("POST", "/v1/dead/x/redrive", ""); code != 200 || !strings.Contains(body, `"became":"gone"`) {
		t.Errorf("%d %s", code, body)
	}
}
