package command

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

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
	if err := json.Unmarshal(b, &in); err != nil || len(in.Items) != 20 {
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

// TestKillNested: a map in a map in a map, 50 x 50 x 40, its items in batches of 20, ends with each in its place though the program is killed again and again.
func TestKillNested(t *testing.T) {
	t.Parallel()
	world := &nest{ids: make(map[string]int), keys: make(map[string]string)}
	functions := httptest.NewServer(world)
	defer functions.Close()
	dir := t.TempDir()
	doc := filepath.Join(dir, "nested.yaml")
	text := strings.ReplaceAll(`version: 1
functions:
  work: { http: { url: "URL/work" } }
  done: { http: { url: "URL/done" } }
sources: { inbox: { webhook: {} } }
triggers:
  nested:
    filters: [{ exact: { type: nested } }]
    flow:
      sequence:
        - map:
            items: 50
            as: a
            do: { map: { items: 50, as: b, do: { map: { items: 40, batch: { size: 20, with: { base: "${ a * 2000 + b * 40 }" } }, do: { function: work } } } } }
        - function: done
`, "URL", functions.URL)
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	child := spawn(t, addr, doc, dir)
	waitReady(t, addr)
	if code, body := postEvent(t, addr, "nested", "1", ""); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, body)
	}
	until := func(calls int) {
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
			if n, over := world.calls(); over || n >= calls {
				return
			}
			if time.Now().After(deadline) {
				n, _ := world.calls()
				t.Fatalf("%d calls after two minutes, want %d", n, calls)
			}
		}
	}
	const kills = 6
	for i := range kills {
		until(i * 800)
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
	for a := range 50 {
		for b := range 50 {
			base := 20 * (a*2000 + b*40)
			if got := world.sums[a][b]; len(got) != 2 || got[0] != base+190 || got[1] != base+590 {
				t.Fatalf("at %d, %d: %v, want %d and %d", a, b, got, base+190, base+590)
			}
		}
	}
	again := 0
	for _, n := range world.ids {
		again += n - 1
	}
	t.Logf("%d kills, %d invocations, %d times one was sent again", kills, len(world.ids), again)
	if len(world.ids) != 50*50*2+1 || len(world.keys) != len(world.ids) || len(world.sums) != 50 || len(world.wrong) > 0 {
		t.Errorf("%d invocations with %d keys, %d rows; wrong: %v", len(world.ids), len(world.keys), len(world.sums), world.wrong)
	}
}
