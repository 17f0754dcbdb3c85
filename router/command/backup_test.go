package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/tooltest"
)

// onwardCommand is the real program in a process of its own.
func onwardCommand(addr string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), childVariable+"=1", "ONWARD_ADDR=http://"+addr)
	return c
}

// TestBackupOfARunningRouter: amid traffic a backup is made, the router dies, the backup is restored elsewhere, and all that was acknowledged before the backup
// began is there and goes on; calls come again under the ids that they had.
func TestBackupOfARunningRouter(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	done := make(map[string]int)             // joins by event
	keys := make(map[string]map[string]bool) // idempotency keys by event and item: one each, however often it is called
	hold := true
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		if q.URL.Path == "/join" {
			mu.Lock()
			done[strings.Trim(string(b), `"`)]++
			mu.Unlock()
			fmt.Fprint(w, "1")
			return
		}
		mu.Lock()
		if keys[string(b)] == nil {
			keys[string(b)] = make(map[string]bool)
		}
		keys[string(b)][q.Header.Get("Ce-Idempotencykey")] = true
		wait := hold && strings.Contains(string(b), `held`)
		mu.Unlock()
		if wait {
			<-q.Context().Done()
			return
		}
		fmt.Fprint(w, "1")
	}))
	defer functions.Close()
	dir := t.TempDir()
	doc := filepath.Join(dir, "doc.yaml")
	text := strings.ReplaceAll(`version: 1
functions:
  work: { http: { url: URL/work } }
  join: { http: { url: URL/join } }
sources: { inbox: { webhook: {} } }
triggers:
  load:
    filters: [{ any: [{ exact: { type: load } }, { exact: { type: held } }] }]
    flow:
      sequence:
        - map: { items: 4, do: { function: work, input: "${ event.type + ' ' + event.id + ' ' + string(item) }" } }
        - { function: join, input: "${ event.id }" }
`, "URL", functions.URL)
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := tooltest.Address()
	child := spawn(t, addr, doc, dir)
	dead := false
	defer func() {
		if !dead {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	}()
	waitReady(t, addr)
	for i := range 5 { // They are open when the backup is made, and go on after it.
		if code, said := postEvent(t, addr, "held", fmt.Sprint("held-", i), ""); code/100 != 2 {
			t.Fatal(code, said)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var before []string // acknowledged before the backup began
	var load sync.WaitGroup
	first := make(chan struct{})
	load.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint("event-", i)
			resp, err := sendEvent(addr, "load", id, "")
			if err != nil {
				return
			}
			_ = resp.Body.Close()
			mu.Lock()
			if resp.StatusCode/100 == 2 && hold {
				before = append(before, id)
			}
			if len(before) == 300 {
				close(first)
			}
			mu.Unlock()
		}
	})
	<-first
	mu.Lock()
	acked := append([]string{}, before...)
	mu.Unlock()
	kept := filepath.Join(dir, "one.backup")
	if out, err := onwardCommand(addr, "backup", kept).CombinedOutput(); err != nil || !strings.Contains(string(out), "it was read back, and is whole") {
		t.Fatalf("%s, %v", out, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // It was killed.
	dead = true
	cancel()
	load.Wait()
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others may read it", info, err)
	}

	b, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"cut": b[:len(b)-1], "half": b[:len(b)/2], "changed": append(append(bytes.Clone(b[:len(b)/3]), b[len(b)/3]^1), b[len(b)/3+1:]...), "empty": nil} {
		file, into := filepath.Join(dir, name), filepath.Join(dir, "from-"+name)
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := onwardCommand(addr, "restore", file, "--data", into).CombinedOutput(); err == nil || !strings.Contains(string(out), "nothing was restored") {
			t.Errorf("%s: %s, %v", name, out, err)
		}
		if _, err := os.Stat(into); err == nil {
			t.Errorf("%s: something was made", name)
		}
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	out, err := onwardCommand(addr, "restore", kept, "--data", filepath.Join(elsewhere, "data"), "-o", "json").Output()
	var said struct {
		Records int
		Backup  struct{ Journal string }
	}
	if err != nil || json.Unmarshal(out, &said) != nil || said.Records < 300 || said.Backup.Journal != "file" {
		t.Fatalf("%s, %v", out, err)
	}
	if out, err := onwardCommand(addr, "restore", kept, "--data", filepath.Join(elsewhere, "data")).CombinedOutput(); err == nil || !strings.Contains(string(out), "is not empty") {
		t.Errorf("over it: %s, %v", out, err)
	}
	mu.Lock()
	hold = false
	clear(done)
	mu.Unlock()
	addr = tooltest.Address()
	again := spawn(t, addr, doc, elsewhere)
	defer func() { _ = again.Process.Signal(os.Interrupt); _ = again.Wait() }()
	waitReady(t, addr)
	for i := range 5 {
		acked = append(acked, fmt.Sprint("held-", i))
	}
	var missing []string
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var list struct{ Total int }
		missing = missing[:0]
		for _, id := range acked {
			resp, err := http.Get("http://" + addr + "/v1/runs?event=" + id + "&state=succeeded")
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || json.Unmarshal(b, &list) != nil {
				t.Fatalf("%s, %v", b, err)
			}
			if list.Total != 1 {
				missing = append(missing, id)
				break
			}
		}
		if len(missing) == 0 {
			break
		}
	}
	if len(missing) > 0 {
		t.Errorf("of %d events that were acknowledged before the backup, these are not there: %q", len(acked), missing)
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range 5 {
		if n := done[fmt.Sprint("held-", i)]; n != 1 {
			t.Errorf("held-%d is joined %d times after the restore", i, n)
		}
	}
	for call, of := range keys {
		if len(of) != 1 {
			t.Errorf("%s has %d idempotency keys", call, len(of))
		}
	}
}

// TestABackupThatFailsLeavesNothing: the disk is full, or what came is not whole.
func TestABackupThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	p := &program{out: io.Discard, errs: io.Discard, output: "table"}
	for name, from := range map[string]func(context.Context, io.Writer) error{
		"no space left on device": func(_ context.Context, to io.Writer) error {
			_, err := io.WriteString(to, "half of it")
			return errors.Join(err, syscall.ENOSPC)
		},
		"its end is missing": func(_ context.Context, to io.Writer) error {
			_, err := io.WriteString(to, strings.Repeat("half of it", 100))
			return err
		},
	} {
		dir := t.TempDir()
		if err := p.writeBackup(t.Context(), dir, from); err == nil || !strings.Contains(err.Error(), "no backup was made") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
	}
}

// TestInterruptedBackup: who stops one hears how far it came, and nothing is left of it.
func TestInterruptedBackup(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	router := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 3<<20)) // The command sees how much came.
		_ = http.NewResponseController(w).Flush()
		stop()
		<-q.Context().Done()
	}))
	defer router.Close()
	dir := t.TempDir()
	var errs bytes.Buffer
	p := &program{registry: new(plugin.Registry), out: io.Discard, errs: &errs}
	code := p.execute(ctx, []string{"backup", dir, "--addr", router.URL}, func() int { return int(syscall.SIGINT) })
	if code != 130 || !strings.HasPrefix(errs.String(), "onward: no backup was made: stopped after ") || !strings.Contains(errs.String(), "of which nothing is kept; the router goes on") {
		t.Errorf("%d, %s", code, errs.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
