package kafkatest

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Coordinator returns the node that coordinates a consumer group now.
func (c *Cluster) Coordinator(t testing.TB, group string) int {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		probe := &kafka.Client{Addr: kafka.TCP(c.brokers...), Timeout: 5 * time.Second, Transport: &kafka.Transport{}}
		res, err := probe.FindCoordinator(context.Background(), &kafka.FindCoordinatorRequest{Key: group, KeyType: kafka.CoordinatorKeyTypeConsumer})
		probe.Transport.(*kafka.Transport).CloseIdleConnections()
		if err == nil && res.Error == nil && res.Coordinator != nil {
			return res.Coordinator.NodeID
		}
		if time.Now().After(deadline) {
			t.Fatalf("group %s has no coordinator: %v", group, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
