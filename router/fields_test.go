package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// get asks the API, and decodes its answer.
func (r *running) get(path string, into any) int {
	r.t.Helper()
	resp, err := http.Get("http://" + r.Addr() + path) // The client asks for gzip by itself, and unpacks it.
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(b, into); err != nil {
		r.t.Fatalf("%s: %s: %v", path, b, err)
	}
	return resp.StatusCode
}

// states unpacks a field's states.
func states(f *api.RunField) []engine.StepState {
	out := make([]engine.StepState, f.Size)
	for i := range out {
		out[i] = engine.StepState(f.States[i/2] >> (i % 2 * 4) & 15)
	}
	return out
}

// holding is a function that fails for each tenth number, and holds those of 200 and more back until it is let go on.
func holding(t *testing.T) (address string, letGo func()) {
	hold := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var n int
		_ = json.NewDecoder(q.Body).Decode(&n)
		if n >= 200 {
			select {
			case <-hold:
			case <-q.Context().Done():
			}
		}
		if n%10 == 3 {
			http.Error(w, "it broke", http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, n)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() { close(hold) }
}

const fieldDocument = `
version: 1
functions: { f: { http: { url: "%s" }, concurrency: 8, timeout: 60s } }
triggers:
  t:
    filters: [{ exact: { type: t } }]
    flow:
      sequence:
        - { name: many, map: { items: 300, do: { function: f }, window: 50, tolerate: { percent: 50 } } }
        - { name: two, forkjoin: { a: { function: f, input: "1" }, b: { function: f, input: "2", when: "${ 1 > size([1, 2]) }" } } }
        - { name: ok, signal: go }
    onSuccess: { function: f }
`

// TestCountsAndField: of an open run and of one that has ended, how many activations of each step are in which state, and which; the names are those of the
// timeline, and of the flow as a tree; and with a cursor what has changed leads from one to the other.
func TestCountsAndField(t *testing.T) {
	t.Parallel()
	address, letGo := holding(t)
	r := start(t, t.TempDir(), fmt.Sprintf(fieldDocument, address))
	run, err := r.Start(t.Context(), "t", startEvent("1"))
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/runs/" + run.String()
	var before api.RunField
	eventually(t, func() error {
		before = api.RunField{}
		r.get(path+"/field?step=many/f[*]", &before)
		if c := before.Counts; c == nil || *c != (api.StepCount{Path: "many/f[*]", Pending: 50, Queued: 42, Running: 8, Succeeded: 180, Failed: 20}) {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	was := states(&before)
	if was[3] != engine.StepFailed || was[4] != engine.StepSucceeded || was[249] < engine.StepQueued || was[249] > engine.StepRunning || was[250] != engine.StepNone || !before.Open {
		t.Errorf("%v", was)
	}
	eventually(t, func() error {
		return r.counts(run, true, "many {Pending:0 Queued:0 Running:1", "many/f[*] {Pending:50 Queued:42 Running:8 Waiting:0 Succeeded:180 Failed:20", "sequence {Pending:0 Queued:0 Running:1")
	})
	r.brush(path)
	letGo()
	eventually(t, func() error {
		return r.counts(run, true, "ok {Pending:0 Queued:0 Running:0 Waiting:1", "many {Pending:0 Queued:0 Running:0 Waiting:0 Succeeded:1", "two/b {Pending:0 Queued:0 Running:0 Waiting:0 Succeeded:0 Failed:0 Skipped:1")
	})
	var changed, after api.RunField
	r.get(path+"/field?step=many/f&after="+before.Cursor, &changed)
	r.get(path+"/field?step=many/f", &after)
	for i := 0; i+1 < len(changed.Changed); i += 2 {
		was[changed.Changed[i]] = engine.StepState(changed.Changed[i+1])
	}
	if !slices.Equal(was, states(&after)) || changed.States != nil || len(changed.Changed) < 200 || len(changed.Changed) > 300 {
		t.Errorf("%d changed, %v, %v", len(changed.Changed), was, after)
	}
	if code := r.post(path+"/signals/go", "{}", nil); code != 200 {
		t.Error(code)
	}
	eventually(t, func() error {
		return r.counts(run, false, "many/f[*] {Pending:0 Queued:0 Running:0 Waiting:0 Succeeded:270 Failed:30", "ok {Pending:0 Queued:0 Running:0 Waiting:0 Succeeded:1", "two/a {Pending:0 Queued:0 Running:0 Waiting:0 Succeeded:1")
	})
	var again api.RunField
	if r.get(path+"/field?step=many/f", &again); !slices.Equal(states(&again), states(&after)) || again.Open {
		t.Errorf("%v", states(&again))
	}
	r.flowNames(run)
	var no struct{ Error struct{ Message string } }
	if code := r.get(path+"/field?step=a[*]/b", &no); code != 400 || !strings.Contains(no.Error.Message, "outer[0]/inner[*]") {
		t.Error(code, no)
	}
	if code := r.get("/v1/runs/"+journal.RunID{9}.String()+"/counts", &no); code != 404 {
		t.Error(code, no)
	}
}

// brush asks of a run at work what was, in which time: the open steps with their states, those in a time, and strips that have what is open.
func (r *running) brush(path string) {
	r.t.Helper()
	var open api.RunSteps
	is := make(map[string]int)
	r.get(path+"/steps?open=true", &open)
	for _, s := range open.Open {
		is[s.Path[:min(4, len(s.Path))]+" "+s.State]++
	}
	if len(open.Steps) != 0 || is["many queued"] != 42 || is["many running"] != 9 {
		r.t.Errorf("open: %v", is)
	}
	var slow api.RunSteps
	if r.get(path+"/steps?slowest=true&limit=5", &slow); len(slow.Steps) != 5 || slow.Steps[0].Ended.Sub(slow.Steps[0].Queued) < slow.Steps[4].Ended.Sub(slow.Steps[4].Queued) {
		r.t.Errorf("slowest: %+v", slow.Steps)
	}
	in := func(query string) (n int) {
		var f api.RunField
		r.get(path+"/field?step=many/f"+query, &f)
		if len(f.Within) != 38 {
			r.t.Fatalf("%s: %d bytes of 300 bits", query, len(f.Within))
		}
		for _, b := range f.Within {
			n += bits.OnesCount8(b)
		}
		return n
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	if all, late, early := in("&to="+now), in("&from="+now), in("&to=2020-01-01T00:00:00Z"); all != 250 || late != 50 || early != 0 {
		r.t.Errorf("of 250 branches %d were at work until now, %d are, %d were long ago", all, late, early)
	}
	// The last of ten parts of the time is all of those that are at work once nothing has begun or ended in it.
	eventually(r.t, func() error {
		var t engine.Strips
		r.get(path+"/strips?bins=10&single=10", &t)
		for _, s := range t.Strips {
			if last := len(s.Running) - 1; s.Path == "many/f[*]" && (s.Total != 250 || s.Running[last] < 8 || s.Queued[last] != 42) {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
	for _, bad := range []string{"/field?step=many/f&from=now", "/field?step=many/f&from=" + now + "&to=2020-01-01T00:00:00Z", "/steps?open=true&failed=true", "/steps?slowest=true&after=x", "/live?after=garbage",
		"/live?step=many/f&after=garbage", "/live?step=many/f&after=garbage:1", "/field?step=many/f&after=1.1"} {
		var no struct{ Error struct{ Message string } }
		if code := r.get(path+bad, &no); code != 400 || no.Error.Message == "" {
			r.t.Errorf("%s: %d %v", bad, code, no)
		}
	}
}

// counts reports what of the counts of a run is missing.
func (r *running) counts(run journal.RunID, open bool, want ...string) error {
	var said api.RunCounts
	r.get("/v1/runs/"+run.String()+"/counts", &said)
	var text strings.Builder
	for _, c := range said.Steps {
		fmt.Fprintln(&text, strings.Replace(fmt.Sprintf("%+v", *c), "{Path:"+c.Path+" ", c.Path+" {", 1))
	}
	for _, w := range want {
		if !strings.Contains(text.String(), w) || said.Open != open {
			return fmt.Errorf("open %v, and %q is not in\n%s", said.Open, w, &text)
		}
	}
	return nil
}

// flowNames holds the steps of a run's flow to those of its counts and timeline.
func (r *running) flowNames(run journal.RunID) {
	r.t.Helper()
	var flow, of api.FlowLine
	var said api.RunCounts
	var steps api.RunSteps
	r.get("/v1/runs/"+run.String()+"/flow", &flow)
	r.get("/v1/triggers/t", &of)
	r.get("/v1/runs/"+run.String()+"/counts", &said)
	r.get("/v1/runs/"+run.String()+"/steps?summary=true&limit=1", &steps)
	if flow.Digest != of.Digest || !flow.Current || of.Filters != 1 || len(flow.OnSuccess) != 1 {
		r.t.Errorf("%+v, %+v", flow, of)
	}
	var paths, counted, summed []string
	var visit func(s *engine.FlowStep)
	visit = func(s *engine.FlowStep) {
		paths = append(paths, s.Path)
		for _, x := range slices.Concat(s.Steps, s.Catch) {
			visit(x)
		}
	}
	visit(flow.Flow)
	for _, c := range said.Steps {
		counted = append(counted, c.Path)
	}
	for _, s := range steps.Summary {
		if !strings.HasPrefix(s.Path, "end:") && !strings.HasPrefix(s.Path, "signal ") { // Those are no steps.
			summed = append(summed, s.Path)
		}
	}
	slices.Sort(paths)
	slices.Sort(summed)
	if want := "many many/f[*] ok sequence two two/a two/b"; strings.Join(paths, " ") != want || strings.Join(counted, " ") != want || strings.Join(summed, " ") != want {
		r.t.Errorf("%q, %q, %q", paths, counted, summed)
	}
}
