package router_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/engine"
)

// A sight is what somebody who looks on is told.
type sight struct {
	name, id string
	run      struct {
		Run     struct{ State string }
		Reasons []api.Reason
		Steps   []*api.StepCount
	}
	field api.RunField
}

// look streams what is told of a run, until f says that it is enough or the stream ends.
func (r *running) look(path, last string, f func(*sight) bool) (ended bool) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.Addr()+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if last != "" {
		q.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	var x sight
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "event":
			x.name = value
		case "id":
			x.id = value
		case "data":
			var into any = &x.run
			if x.name == "field" {
				into = &x.field
			}
			if err := json.Unmarshal([]byte(value), into); err != nil {
				r.t.Fatalf("%s: %v", value, err)
			}
			if f(&x) {
				return false
			}
			x = sight{}
		}
	}
	return true
}

// TestLive: who looks on is told of the run and of one step's activations until the run has ended; who was cut off goes on where he was, and comes to the
// same as who asks anew.
func TestLive(t *testing.T) {
	t.Parallel()
	address, letGo := holding(t)
	r := start(t, t.TempDir(), fmt.Sprintf(fieldDocument, address))
	run, err := r.Start(t.Context(), "t", startEvent("1"))
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/runs/" + run.String()
	var first api.RunField
	eventually(t, func() error {
		first = api.RunField{}
		r.get(path+"/field?step=many/f", &first)
		if c := first.Counts; c == nil || c.Running != 8 {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	is, cursor := states(&first), first.Cursor
	take := func(f *api.RunField) {
		if f.States != nil {
			is = states(f)
		}
		for i := 0; i+1 < len(f.Changed); i += 2 {
			is[f.Changed[i]] = engine.StepState(f.Changed[i+1])
		}
	}
	letGo()
	r.look(path+"/live?step=many/f&after="+cursor, "", func(x *sight) bool {
		if x.name != "field" {
			return false
		}
		take(&x.field)
		cursor = x.id
		return cursor != first.Cursor // Cut off after the first news.
	})
	waits := false
	r.look(path+"/live?step=many/f", cursor, func(x *sight) bool {
		if x.name == "field" {
			take(&x.field)
			return false
		}
		waits = slices.ContainsFunc(x.run.Reasons, func(y api.Reason) bool { return strings.Contains(y.Text, `waiting for the signal "go"`) })
		return waits && !slices.Contains(is[:], engine.StepRunning)
	})
	if r.post(path+"/signals/go", "{}", nil); !waits {
		t.Error("nobody is told what it waits for")
	}
	state, steps := "", 0
	if ended := r.look(path+"/live", "", func(x *sight) bool {
		state, steps = x.run.Run.State, len(x.run.Steps)
		return false
	}); !ended || state != "succeeded" || steps < 5 {
		t.Errorf("in the end it is %q, with %d steps", state, steps)
	}
	var last api.RunField
	if r.get(path+"/field?step=many/f", &last); !slices.Equal(is, states(&last)) {
		t.Errorf("by what was told\n%v, in truth\n%v", is, states(&last))
	}
	r.strips(path)
}

// strips: few steps are told of one by one, many by how many were at work at a time; what is at a path, and below it, alone.
func (r *running) strips(path string) {
	r.t.Helper()
	var few, many, part engine.Strips
	r.get(path+"/strips?single=2000", &few)
	r.get(path+"/strips?bins=50&single=10", &many)
	if len(few.Steps) < 300 || few.Strips != nil || many.Steps != nil || len(many.Strips) < 4 {
		r.t.Errorf("%d steps and %d strips, %d and %d", len(few.Steps), len(few.Strips), len(many.Steps), len(many.Strips))
	}
	for _, s := range many.Strips {
		if len(s.Queued) != 50 || len(s.Running) != 50 || len(s.Failed) != 50 || slices.Min(s.Queued) < 0 || slices.Min(s.Running) < 0 {
			r.t.Errorf("%s: %v", s.Path, s)
		}
		failed := 0
		for _, n := range s.Failed {
			failed += n
		}
		if want := map[string]int{"many/f[*]": 30}[s.Path]; failed != want {
			r.t.Errorf("%s: %d failed, and %d have", s.Path, failed, want)
		}
	}
	at := func(x time.Time) string { return x.UTC().Format(time.RFC3339Nano) }
	if r.get(path+"/strips?from="+at(many.To.Add(time.Hour))+"&to="+at(many.To.Add(2*time.Hour)), &part); len(part.Steps)+len(part.Strips) != 0 {
		r.t.Errorf("in a time in which nothing was at work: %v", part)
	}
	var below api.RunSteps
	if r.get(path+"/steps?path=many/f[13]", &below); len(below.Steps) != 1 || below.Steps[0].Outcome != "failed" {
		r.t.Errorf("%v", below.Steps)
	}
	if r.get(path+"/steps?path=two", &below); len(below.Steps) != 3 {
		r.t.Errorf("two and what is below it: %v", below.Steps)
	}
	for _, bad := range []string{"?bins=0", "?bins=x", "?single=100000", "?from=yesterday", "?form=1", "?from=0001-01-01T00:00:00Z", "?to=9999-12-31T00:00:00Z"} {
		var no struct{ Error struct{ Message string } }
		if code := r.get(path+"/strips"+bad, &no); code != 400 || no.Error.Message == "" {
			r.t.Errorf("%s: %d %v", bad, code, no)
		}
	}
	var all api.RouterList
	if r.get("/v1/routers", &all); len(all.Routers) != 1 || all.Routers[0].State != "ready" || len(all.Routers[0].Partitions) == 0 || all.Routers[0].Disk == nil || all.Routers[0].Disk.Used == 0 {
		r.t.Errorf("%+v", all)
	}
}
