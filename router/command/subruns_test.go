package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
)

const familyDocument = `version: 1
functions:
  leaf: { http: { url: "URL/leaf" } }
  done: { http: { url: "URL/done" } }
sources: { inbox: { webhook: {} } }
triggers:
  top:
    filters: [{ exact: { type: top } }]
    flow: { sequence: [{ map: { items: 12, as: a, do: { subrun: middle, input: "${ a }" } } }, { function: done, input: { id: "${ event.id }", sums: "${ previous }" } }] }
  middle: { filters: [{ exact: { type: none } }], flow: { map: { items: 4, as: b, do: { subrun: leaf, input: "${ data * 10 + b }" } } } }
  leaf: { filters: [{ exact: { type: none } }], flow: { function: leaf, input: { n: "${ data }", run: "${ run.id }" } } }
`

// A tree is the outside world of runs that start runs.
type tree struct {
	mu     sync.Mutex
	leaves map[string]map[string]int // run of a leaf: what it was given
	joined map[string][]string       // event: what all came to, by call
	calls  int
}

func (k *tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		N    int
		Run  string
		ID   string
		Sums json.RawMessage
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	if r.URL.Path == "/done" {
		k.joined[in.ID] = append(k.joined[in.ID], string(in.Sums))
		return
	}
	if k.leaves[in.Run] == nil {
		k.leaves[in.Run] = make(map[string]int)
	}
	k.leaves[in.Run][fmt.Sprint(in.N)]++
	_ = json.NewEncoder(w).Encode(in.N)
}

func (k *tree) progress() (calls, joined int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls, len(k.joined)
}

// TestKillSubruns: runs start runs that start runs, over all sixteen partitions, while the program is killed again and again: each leaf is one run with one
// input, whatever was sent again, and each parent has what its own children yield.
func TestKillSubruns(t *testing.T) {
	t.Parallel()
	const events, kills, leaves = 6, 12, 6 * 12 * 4
	world := &tree{leaves: make(map[string]map[string]int), joined: make(map[string][]string)}
	functions := httptest.NewServer(world)
	defer functions.Close()
	dir := t.TempDir()
	doc := filepath.Join(dir, "family.yaml")
	if err := os.WriteFile(doc, []byte(strings.ReplaceAll(familyDocument, "URL", functions.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := tooltest.Address()
	child := spawn(t, addr, doc, dir)
	waitReady(t, addr)
	for i := range events {
		if code, body := postEvent(t, addr, "top", fmt.Sprint(i), ""); code != http.StatusAccepted {
			t.Fatalf("%d %s", code, body)
		}
	}
	until := func(calls int) {
		for deadline := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
			n, joined := world.progress()
			if joined == events || n >= calls {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d calls and %d joins after all that time", n, joined)
			}
		}
	}
	for i := range kills {
		until(i * leaves / kills)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // It was killed.
		child = spawn(t, addr, doc, dir)
		waitReady(t, addr)
	}
	defer func() { _ = child.Process.Signal(os.Interrupt); _ = child.Wait() }()
	until(1 << 30)
	world.mu.Lock()
	defer world.mu.Unlock()
	var rows []string
	for a := range 12 {
		rows = append(rows, fmt.Sprintf("[%d,%d,%d,%d]", a*10, a*10+1, a*10+2, a*10+3))
	}
	want := "[" + strings.Join(rows, ",") + "]"
	for id, sums := range world.joined {
		for _, got := range sums {
			if got != want {
				t.Errorf("event %s joins %s", id, got)
			}
		}
	}
	for run, given := range world.leaves {
		if len(given) != 1 {
			t.Errorf("run %s was given %v", run, given)
		}
	}
	t.Logf("%d kills, %d runs of leaves, %d calls", kills, len(world.leaves), world.calls)
	if len(world.leaves) != leaves || len(world.joined) != events {
		t.Errorf("%d leaves and %d joins, want %d and %d", len(world.leaves), len(world.joined), leaves, events)
	}
}
