package kafka

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/config/quiet"
	"github.com/prometheus/client_golang/prometheus"
)

// TestStuckIsSaid: a partition of which the router takes nothing is a metric after a while, until it goes on; a moment is back-pressure.
func TestStuckIsSaid(t *testing.T) {
	t.Parallel()
	made, err := New("inbox", &Settings{Cluster: kafka.Cluster{Brokers: []string{"127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := made.(*Source)
	r := prometheus.NewRegistry()
	r.MustRegister(s.stuck)
	gauge := func() float64 {
		families, err := r.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "onward_source_stuck" {
			t.Fatal(families, err)
		}
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	synctest.Test(t, func(t *testing.T) {
		var said logtest.Log
		log := slog.New(quiet.New(slog.NewTextHandler(&said, nil)))
		s.logs = func() *slog.Logger { return log }
		lines := func() int { return strings.Count(said.String(), "takes nothing of a partition") }
		p := &reading{s: s, topic: "t", stuck: true}
		p.tell(errors.New("no room"))
		if gauge() != 0 || lines() != 0 {
			t.Error("said at once")
		}
		time.Sleep(stuckFor + time.Second)
		for range 100 {
			p.tell(errors.New("no room"))
			time.Sleep(100 * time.Millisecond)
		}
		if gauge() != 1 || lines() != 1 {
			t.Errorf("said %d times, the metric is %v", lines(), gauge())
		}
		time.Sleep(quiet.Pause)
		synctest.Wait()
		if lines() != 2 || !strings.Contains(said.String(), quiet.Held+"=98") {
			t.Errorf("later: %s", said.String())
		}
		p.stuck = false
		if p.tell(nil); gauge() != 0 || !p.since.IsZero() {
			t.Error("still said when it goes on")
		}
		time.Sleep(2 * quiet.Pause)
	})
}
