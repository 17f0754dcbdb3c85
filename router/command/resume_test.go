package command

import (
	"bytes"
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
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal/file"
)

// TestRunGoesOnAfterItsDeath: run is killed amid a map, and run --resume ends it; what had been answered is not asked again.
func TestRunGoesOnAfterItsDeath(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	calls := make(map[string]int)
	answered := make(chan struct{}, 100)
	held := true // whether the later half is kept waiting
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		mu.Lock()
		calls[string(b)]++
		hold := held && len(b) == 1 && b[0] >= '5'
		mu.Unlock()
		if hold {
			<-q.Context().Done()
			return
		}
		fmt.Fprintf(w, "%s0", b)
		answered <- struct{}{}
	}))
	defer functions.Close()
	dir := t.TempDir()
	doc, data := filepath.Join(dir, "doc.yaml"), filepath.Join(dir, "data")
	text := strings.ReplaceAll(`version: 1
functions: { work: { http: { url: URL } } }
triggers: { many: { flow: { map: { items: 8, do: { function: work, input: "${ index + 1 }" } } } } }
`, "URL", functions.URL)
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		c := exec.Command(os.Args[0], args...)
		c.Env = append(os.Environ(), childVariable+"=1")
		return c
	}
	first := command("run", doc, "--data-dir", data, "--data", "1")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		select {
		case <-answered:
		case <-time.After(within):
			t.Fatal("the functions are not called")
		}
	}
	time.Sleep(50 * time.Millisecond) // The answers become durable; where it dies is chance, and what was not is asked again.
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // It was killed.
	mu.Lock()
	held = false
	mu.Unlock()
	if out, err := command("run", doc, "--data-dir", data, "--data", "1").CombinedOutput(); err == nil || !strings.Contains(string(out), "runs are open in there (1); let them go on by --resume") {
		t.Errorf("another run beside it: %s, %v", out, err)
	}
	var said, errs bytes.Buffer
	again := command("run", doc, "--data-dir", data, "--resume", "-o", "json")
	again.Stdout, again.Stderr = &said, &errs
	if err := again.Run(); err != nil {
		t.Fatalf("%v: %s%s", err, said.String(), errs.String())
	}
	var line resumedRun
	if err := json.Unmarshal(said.Bytes(), &line); err != nil || line.State != "succeeded" || line.Result.JSON() != "[10,20,30,40,50,60,70,80]" || line.Trigger != "many" {
		t.Errorf("%s: %v", said.String(), err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i <= 8; i++ {
		if n := calls[fmt.Sprint(i)]; n < 1 || n > 2 || i >= 5 && n != 2 {
			t.Errorf("%d is called %d times: %v", i, n, calls)
		}
	}
	if out, err := command("run", doc, "--data-dir", data, "--resume").CombinedOutput(); err != nil || !strings.Contains(string(out), "no run is open in") {
		t.Errorf("%s, %v", out, err)
	}
}

// TestInterruptedRunSaysHowItGoesOn: its state is saved, and the exit code is the signal's.
func TestInterruptedRunSaysHowItGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	doc, data := filepath.Join(dir, "doc.yaml"), filepath.Join(dir, "data")
	if err := os.WriteFile(doc, []byte("version: 1\ntriggers: { long: { flow: { wait: 1h } } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	child := onwardCommand("", "run", doc, "--data-dir", data, "--data", "1")
	child.Stderr = &errs
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	begun := func() bool { // All partitions are claimed, and the run is defined and started.
		r, err := file.Inspect(t.Context(), file.Options{Dir: data})
		return err == nil && r.Records >= r.Partitions+2
	}
	for deadline := time.Now().Add(within); !begun(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the run does not begin")
		}
	}
	if err := child.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := child.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 || !strings.Contains(errs.String(), "the same documents with --data-dir "+data+" --resume go on with it") {
		t.Errorf("%v: %s", err, errs.String())
	}
	if out, err := onwardCommand("", "run", doc, "--data-dir", data).CombinedOutput(); err == nil || !strings.Contains(string(out), "runs are open in there (1)") {
		t.Errorf("%s, %v", out, err)
	}
}
