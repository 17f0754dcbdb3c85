package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/api"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/schedulers/builtin"
)

const lostDocument = `
version: 1
triggers:
  t: { flow: { sequence: [{ wait: 1ms }, { wait: 1ms, name: last }] } }
`

// TestLostHistoryIsFilledFromTheTopic: a router whose history is gone, or that has none yet, has it again from the topic, as far as that reaches: each run with
// its steps, once. It is ready before.
func TestLostHistoryIsFilledFromTheTopic(t *testing.T) {
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 3)
		dir := t.TempDir()
		var ids []string
		for life := range 2 {
			for _, more := range []string{"", "-wal", "-shm"} {
				if err := os.Remove(filepath.Join(dir, history.FileName+more)); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			j := b.open(t, b.options())
			r, stop := serve(t, j, dir)
			filled(t, r, len(ids))
			for _, id := range ids { // The first snapshot is taken when the first life ends.
				var said router.RunSteps
				ask(t, r, "/v1/runs/"+id+"/steps", &said)
				if len(said.Steps) != 3 {
					t.Errorf("life %d: %d steps of %s", life, len(said.Steps), id)
				}
			}
			for i := range 10 {
				e := event.New()
				e.SetID(fmt.Sprint(life, "-", i))
				e.SetSource("/test")
				e.SetType("t")
				run, err := r.Start(t.Context(), "t", &e)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Wait(t.Context(), run); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, run.String())
			}
			stop()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func serve(t *testing.T, j *Journal, dir string) (*router.Router, func()) {
	t.Helper()
	reg := new(plugin.Registry)
	builtin.Register(reg)
	set, findings := config.Parse("test.yaml", []byte(lostDocument), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: j, Listen: "127.0.0.1:0", SnapshotEvery: 100, Dir: dir, Drain: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	<-r.Ready()
	return r, func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}
}

func ask(t *testing.T, r *router.Router, path string, into any) {
	t.Helper()
	said, err := http.Get("http://" + r.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Body.Close()
	if err := json.NewDecoder(said.Body).Decode(into); err != nil || said.StatusCode != http.StatusOK {
		t.Fatal(path, said.Status, err)
	}
}

// filled waits until the history lacks nothing that the topic has.
func filled(t *testing.T, r *router.Router, least int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var who api.RouterList
		var runs router.RunList
		ask(t, r, "/v1/routers", &who)
		ask(t, r, "/v1/runs?limit=1000", &runs)
		if who.Routers[0].Filling == 0 && runs.Total >= least {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d partitions are being filled, %d runs of %d", who.Routers[0].Filling, runs.Total, least)
		}
	}
}
