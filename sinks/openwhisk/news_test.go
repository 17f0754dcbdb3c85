package openwhisk

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers/mapping"
)

// recipe is as: of the source for user events, as the recipes have it.
var recipe = sync.OnceValues(func() (*mapping.As, error) {
	text, err := os.ReadFile("../../deploy/docs/recipes.md")
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(text), "### OpenWhisk's user events")
	found := regexp.MustCompile(`(?m)^      as:\n((?:        .*\n)+)`).FindStringSubmatch(rest)
	if !ok || found == nil {
		return nil, fmt.Errorf("the recipes tell nothing of user events")
	}
	n, findings := yamldoc.Parse("recipes.md", []byte(strings.ReplaceAll(found[1], "        ", "")))
	if len(findings) > 0 {
		return nil, fmt.Errorf("%v", findings)
	}
	as := new(mapping.As)
	if findings := lang.Decode(n[0], as, nil); len(findings) > 0 {
		return nil, fmt.Errorf("%v", findings)
	}
	return as, nil
})

// asEvent is what the recipe makes of a user event.
func asEvent(t *testing.T, body string) string {
	as, err := recipe()
	if err != nil {
		t.Fatal(err)
	}
	v, err := mapping.Value([]byte(body), "")
	if err != nil {
		return err.Error() + "\n"
	}
	events, _, err := as.Read(&mapping.Message{Body: []byte(body), Source: "/kafka/events", ID: "events-0-1", Vars: lang.Vars{{Name: "body", Value: v}}}, envelope.Limits{Event: 1 << 20})
	if err != nil {
		return err.Error() + "\n"
	}
	if len(events) == 0 {
		return "none\n"
	}
	text, err := envelope.Marshal(&events[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// TestPace: when an activation's record is asked for, in milliseconds, while it is not there, and events come at some times.
func TestPace(t *testing.T) {
	t.Parallel()
	every := func(n, ms int) (at []int) {
		for i := range n {
			at = append(at, 1000+i*ms)
		}
		return at
	}
	for name, c := range map[string]struct {
		p     pace
		news  []int
		want  []int // the first looks
		until int
		most  int // looks by then
	}{
		"without events it grows":         {pace{most: time.Second, pause: firstLook, grows: true}, nil, []int{50, 150, 350, 750, 1550, 2550, 3550}, 4000, 7},
		"with them, seldom":               {pace{most: 30 * time.Second, pause: firstLook}, nil, []int{50, 30050, 60050}, 61000, 3},
		"by a successor, at once":         {pace{most: 30 * time.Second}, nil, []int{0, 30000}, 31000, 2},
		"an event, and it grows":          {pace{most: 30 * time.Second, pause: firstLook}, []int{1000}, []int{50, 1000, 1050, 1150, 1350, 1750, 2550, 4150}, 5000, 8},
		"before the first look":           {pace{most: 30 * time.Second, pause: firstLook}, []int{10}, []int{10, 60, 160, 360}, 500, 4},
		"a second one, later":             {pace{most: 30 * time.Second, pause: firstLook}, []int{1000, 30000}, []int{50, 1000, 1050, 1150, 1350, 1750, 2550, 4150, 7350, 13750, 26550, 30000, 31000}, 31500, 13},
		"without userEvents":              {pace{most: time.Second, pause: firstLook, grows: true}, []int{1600}, []int{50, 150, 350, 750, 1550, 1600, 1650, 1750}, 1800, 8},
		"a flood of them is one a second": {pace{most: 30 * time.Second, pause: firstLook}, every(6000, 10), []int{50, 1000}, 61000, 68},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				news := make(chan struct{}, 1)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(c.until)*time.Millisecond)
				defer cancel()
				go func() {
					for _, at := range c.news {
						time.Sleep(time.Until(began.Add(time.Duration(at) * time.Millisecond)))
						select {
						case news <- struct{}{}:
						default:
						}
					}
				}()
				var got []int
				for p := c.p; ; p.next(0) {
					if p.news = news; !p.wait(ctx) {
						break
					}
					got = append(got, int(time.Since(began).Milliseconds()))
				}
				if len(got) < len(c.want) || !slices.Equal(got[:len(c.want)], c.want) || len(got) > c.most {
					t.Errorf("%v (%d); want %v, at most %d", got, len(got), c.want, c.most)
				}
			})
		})
	}
}

// TestTicketIsAskedFor: a call whose activation is known is not started; its record is asked for, also once an event says that it is there, and while that is ahead of it.
func TestTicketIsAskedFor(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	codes := []int{404}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Method+" "+r.URL.Path)
		if code := codes[0]; code != 200 {
			if len(codes) > 1 {
				codes = codes[1:]
			}
			w.WriteHeader(code)
			return
		}
		_, _ = io.WriteString(w, `{"response":{"statusCode":0,"status":"success","success":true,"result":{"n":2}}}`)
	}))
	t.Cleanup(s.Close)
	k := make1(t, &Settings{Host: s.URL, Action: "a", Poll: plugin.Duration(time.Hour), Events: true})
	e := event.New()
	e.SetID("run~p.1")
	go1 := func(ticket string, news chan struct{}) chan sinks.Result {
		done := make(chan sinks.Result, 1)
		took := func(ticket string) { t.Errorf("it tells of %q, which it was told", ticket) }
		k.Deliver(t.Context(), []*sinks.Delivery{{Context: t.Context(), Outgoing: envelope.Made(&e), Function: "f", Invoke: true, Attempt: 2, Ticket: ticket, Took: took, News: news, Done: func(r sinks.Result) { done <- r }}})
		return done
	}
	looked := func(n int) {
		for ctx := t.Context(); ctx.Err() == nil; time.Sleep(time.Millisecond) {
			mu.Lock()
			have := len(seen)
			mu.Unlock()
			if have >= n {
				return
			}
		}
	}
	news := make(chan struct{}, 1)
	done := go1("abc123", news)
	looked(1) // In vain; the next look would be in an hour.
	mu.Lock()
	codes = []int{404, 503, 404, 200} // The event is ahead of the record.
	mu.Unlock()
	news <- struct{}{}
	if got := describe(<-done); got != `completed {"n":2}` {
		t.Error(got)
	}
	if want := slices.Repeat([]string{"GET /api/v1/namespaces/_/activations/abc123"}, 5); !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
	if got := describe(<-go1("a ticket of another sink", nil)); !strings.HasPrefix(got, `failed platform bad_ticket: "a ticket of another sink" is no id of an activation`) || len(seen) != 5 {
		t.Error(got, seen)
	}
}
