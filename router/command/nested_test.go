package command

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/tooltest"
)

var nestedWhole = flag.Bool("nested-whole", false, "TestKillNested makes 100,000 calls and TestKill kills a hundred times, as make soak does")

// A nest is the outside world of maps inside maps: it adds up what it is given, and keeps what all came to.
type nest struct {
	mu    sync.Mutex
	ids   map[string]int    // invocation id: times sent
	keys  map[string]string // idempotency key: the invocation id
	sums  [][][]int         // as they were joined
	wrong []string          // what no function is to see
}

func (k *nest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	k.mu.Lock()
	defer k.mu.Unlock()
	id, key := r.Header.Get("Ce-Id"), r.Header.Get("Ce-Idempotencykey")
	if was, again := k.keys[key]; again && was != id {
		k.wrong = append(k.wrong, key+" came as "+was+" and "+id)
	}
	k.ids[id]++
	k.keys[key] = id
	if r.URL.Path == "/done" {
		if err := json.Unmarshal(b, &k.sums); err != nil {
			k.wrong = append(k.wrong, err.Error())
		}
		return
	}
	var in struct {
		Items []int
		Base  int
	}
	if err := json.Unmarshal(b, &in); err != nil || len(in.Items) == 0 {
		k.wrong = append(k.wrong, string(b))
	}
	sum := 0
	for _, item := range in.Items {
		sum += in.Base + item
	}
	_ = json.NewEncoder(w).Encode(sum)
}

// calls counts distinct invocations so far, and says whether all is joined.
func (k *nest) calls() (int, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.ids), k.sums != nil
}

// A mapOfMaps is a map in a map in a map: what one call has of the innermost is told by per.
type mapOfMaps struct{ a, b, c, per int }

func (m mapOfMaps) calls() int { return m.a * m.b * m.c / m.per }

func (m mapOfMaps) document(url string) string {
	inner := fmt.Sprintf(`{ items: %d, as: c, do: { function: work, input: "${ {'items': [c], 'base': a * 2000 + b * 40} }" } }`, m.c)
	if m.per > 1 {
		inner = fmt.Sprintf(`{ items: %d, batch: { size: %d, with: { base: "${ a * 2000 + b * 40 }" } }, do: { function: work } }`, m.c, m.per)
	}
	return fmt.Sprintf(`version: 1
functions:
  work: { http: { url: "%s/work" } }
  done: { http: { url: "%s/done" } }
sources: { inbox: { webhook: {} } }
triggers:
  nested:
    filters: [{ exact: { type: nested } }]
    flow:
      sequence:
        - map: { items: %d, as: a, do: { map: { items: %d, as: b, do: { map: %s } } } }
        - function: done
`, url, url, m.a, m.b, inner)
}

// check holds what was joined against what each place is to have.
func (m mapOfMaps) check(t *testing.T, sums [][][]int) {
	t.Helper()
	if len(sums) != m.a {
		t.Fatalf("%d rows, want %d", len(sums), m.a)
	}
	for a, row := range sums {
		if len(row) != m.b {
			t.Fatalf("at %d: %d, want %d", a, len(row), m.b)
		}
		for b, got := range row {
			if len(got) != m.c/m.per {
				t.Fatalf("at %d, %d: %v", a, b, got)
			}
			for at, sum := range got {
				if want := m.per*(a*2000+b*40) + at*m.per*m.per + m.per*(m.per-1)/2; sum != want {
					t.Fatalf("at %d, %d, %d: %d, want %d", a, b, at, sum, want)
				}
			}
		}
	}
}

// TestKillNested: a map in a map in a map ends with each item in its place though the program is killed again and again: 50 x 50 x 40 in batches of 20, and
// smaller with a call for each item. The whole of that, 100,000 calls, is for make soak.
func TestKillNested(t *testing.T) {
	t.Parallel()
	if *nestedWhole {
		killNested(t, mapOfMaps{50, 50, 40, 1}, 12)
		return
	}
	t.Run("in batches", func(t *testing.T) {
		t.Parallel()
		killNested(t, mapOfMaps{50, 50, 40, 20}, 6)
	})
	t.Run("one by one", func(t *testing.T) {
		t.Parallel()
		killNested(t, mapOfMaps{10, 10, 20, 1}, 4)
	})
}

func killNested(t *testing.T, m mapOfMaps, kills int) {
	world := &nest{ids: make(map[string]int), keys: make(map[string]string)}
	functions := httptest.NewServer(world)
	defer functions.Close()
	dir := t.TempDir()
	doc := filepath.Join(dir, "nested.yaml")
	if err := os.WriteFile(doc, []byte(m.document(functions.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := tooltest.Address()
	child := spawn(t, addr, doc, dir)
	waitReady(t, addr)
	begin := time.Now()
	if code, body := postEvent(t, addr, "nested", "1", ""); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, body)
	}
	until := func(calls int) {
		for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
			n, over := world.calls()
			if over || n >= calls {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d calls after five minutes, want %d", n, calls)
			}
		}
	}
	for i := range kills {
		until(i * m.calls() / kills)
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
	m.check(t, world.sums)
	again := 0
	for _, n := range world.ids {
		again += n - 1
	}
	t.Logf("%d kills, %d invocations, %d times one was sent again, in %s", kills, len(world.ids), again, time.Since(begin).Round(100*time.Millisecond))
	if len(world.ids) != m.calls()+1 || len(world.keys) != len(world.ids) || len(world.wrong) > 0 {
		t.Errorf("%d invocations with %d keys; wrong: %v", len(world.ids), len(world.keys), world.wrong[:min(len(world.wrong), 3)])
	}
}
