package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/schedulers"
	"github.com/prometheus/client_golang/prometheus"
)

// TestEndedRunIsKnownAfterARestart: the snapshot that the restart begins from has forgotten the run, the history has not.
func TestEndedRunIsKnownAfterARestart(t *testing.T) {
	t.Parallel()
	url, calls := functions(t)
	dir, doc := t.TempDir(), strings.ReplaceAll(document, "URL", url)
	r := start(t, dir, doc)
	done, failed := r.run("wide", "1", "[1,2]"), r.run("failing", "2", "1")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, doc)
	again, failedAgain := r.run("wide", "1", "[1,2]"), r.run("failing", "2", "1")
	if again.ID != done.ID || again.Result != done.Result || again.Data != done.Data || again.EventType != done.EventType || !again.Ended.Equal(done.Ended) || calls.Load() != 3 {
		t.Errorf("%+v after a restart, %+v before; %d calls", again, done, calls.Load())
	}
	if failedAgain.Error == nil || *failedAgain.Error != *failed.Error || failedAgain.Data != failed.Data || failedAgain.EventType != "dev.onward.run.failed" {
		t.Errorf("%+v after a restart, %+v before", failedAgain, failed)
	}
	resp, err := http.Get("http://" + r.Addr() + "/v1/runs?state=failed")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil || !strings.Contains(b.String(), failed.ID) || strings.Contains(b.String(), done.ID) {
		t.Errorf("%s, %v", b.String(), err)
	}
}

// TestParkedPlaces: what is no record in the journal is passed over, counted and shown.
func TestParkedPlaces(t *testing.T) {
	t.Parallel()
	set, findings := config.Parse("none.yaml", []byte("version: 1\nfunctions: { f: { log: f } }\ntriggers: { f: { flow: { function: f } } }\n"), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	j := memory.New(memory.Options{})
	if err := j.Append(t.Context(), []journal.Record{{Kind: journal.Cancel, Level: journal.Level, Partition: 3, Payload: []byte("odd")}}); err != nil {
		t.Fatal(err)
	}
	offset := int64(0)
	for !j.Damage(3, offset, "a flipped bit") {
		if offset++; offset > 10 {
			t.Fatal("there is no record")
		}
	}
	metrics := prometheus.NewRegistry()
	r, err := router.Open(router.Options{Set: set, Registry: registry(), Journal: j, Listen: "127.0.0.1:0", Metrics: metrics, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	<-r.Ready()
	resp, err := http.Get("http://" + r.Addr() + "/v1/parked")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said router.ParkedList
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || len(said.Parked) != 1 || said.Parked[0].Place != fmt.Sprint("3/", offset) || said.Parked[0].Reason != "a flipped bit" || string(said.Parked[0].Bytes) != "odd" {
		t.Errorf("%+v, %v", said, err)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := f.GetMetric()[0].GetCounter().GetValue(); f.GetName() == "onward_parked_total" && n != 1 {
			t.Errorf("%v are counted", n)
		}
	}
}

// A trap is a policy that can be made to fail in ways that the engine does not expect of one.
type trap struct {
	Kind string    `doc:"kind,value"`
	Do   lang.Step `doc:"do"`
}

var (
	trapSprung atomic.Bool
	trapGate   chan struct{} // of TestWatchdog
)

func (p *trap) Next(f schedulers.Frame, _ *struct{}, _ schedulers.Event) error {
	if p.Kind == "block" {
		<-trapGate
	}
	f.Succeed(lang.Null)
	return nil
}

// Declare dies once the definition has been linted.
func (p *trap) Declare(int) schedulers.Declaration {
	if trapSprung.Load() && p.Kind == "declare" {
		panic("sprung")
	}
	return schedulers.Declaration{}
}

func openTrap(t *testing.T, flow string, stuck time.Duration) (*router.Router, *file.Journal) {
	t.Helper()
	reg := registry()
	schedulers.Register[trap, struct{}](reg, "trap", 1, "A trap.")
	set, findings := config.Parse("trap.yaml", []byte("version: 1\ntriggers:\n  trap: { flow: "+flow+" }\n  fine: { flow: { wait: 1ms } }\n"), reg, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	dir, err := os.MkdirTemp("", "onward-trap-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // A router that was given up may still be writing there.
		for end := time.Now().Add(10 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	})
	j, err := file.Open(file.Options{Dir: dir, LowWater: -1, NoSync: true, Partitions: 1, SegmentBytes: 1 << 20, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: j, Dir: dir, Stuck: stuck})
	if err != nil {
		t.Fatal(err)
	}
	return r, j
}

func startEvent(id string) *event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType("test")
	return &e
}

// TestRecordOnWhichTheFoldDies is passed over after two deaths, and the partition goes on.
func TestRecordOnWhichTheFoldDies(t *testing.T) {
	r, j := openTrap(t, "{ trap: { kind: declare, do: { wait: 1s } } }", time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- r.Run(running) }()
	<-r.Ready()
	trapSprung.Store(true)
	defer trapSprung.Store(false)
	if _, err := r.Start(ctx, "trap", startEvent("1")); err != nil {
		t.Fatal(err)
	}
	id, err := r.Start(ctx, "fine", startEvent("2"))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := r.Wait(ctx, id); err != nil || f.State != "succeeded" {
		t.Errorf("%v, %v", f, err)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// TestWatchdog: a fold that does not come back ends the router, with the record named.
func TestWatchdog(t *testing.T) {
	trapGate = make(chan struct{})
	r, j := openTrap(t, "{ trap: block }", 50*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	<-r.Ready()
	id, err := r.Start(ctx, "trap", startEvent("1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err == nil || !strings.Contains(err.Error(), id.String()) || !strings.Contains(err.Error(), "start") {
		t.Errorf("%v", err)
	}
	close(trapGate)
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
