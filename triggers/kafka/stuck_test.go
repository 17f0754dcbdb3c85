package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
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
	p := &reading{s: s, topic: "t", stuck: true}
	p.tell(errors.New("no room"))
	if gauge() != 0 || !p.said.IsZero() {
		t.Error("said at once")
	}
	p.since = time.Now().Add(-2 * stuckFor)
	p.tell(errors.New("no room"))
	said := p.said
	if gauge() != 1 || said.IsZero() {
		t.Error("not said")
	}
	if p.tell(errors.New("no room")); p.said != said {
		t.Error("said again at once")
	}
	p.stuck = false
	if p.tell(nil); gauge() != 0 || !p.since.IsZero() {
		t.Error("still said when it goes on")
	}
}
