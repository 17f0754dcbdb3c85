package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	kgo "github.com/segmentio/kafka-go"
)

// TestMember: what the coordinator says to a generation that is the last, to a former one, and to a member that has left.
func TestMember(t *testing.T) {
	t.Parallel()
	kafkatest.Each(t, func(t *testing.T, c *kafkatest.Cluster) {
		k, topic := open(t, c), c.Topic(t, 3)
		if had, err := k.Committed(limited(t), topic, topic, 0, 1, 2); err != nil || len(had) != 0 {
			t.Errorf("a group that nobody knows has committed %v, %v", had, err)
		}
		group, err := kgo.NewConsumerGroup(kgo.ConsumerGroupConfig{
			ID: topic, Brokers: k.Brokers, Dialer: k.Dialer(), Topics: []string{topic}, HeartbeatInterval: 50 * time.Millisecond,
			SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second, JoinGroupBackoff: 50 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer group.Close()
		generation := func() *kgo.Generation {
			for ctx := limited(t); ; {
				g, err := group.Next(ctx)
				if err == nil {
					return g
				}
				if ctx.Err() != nil {
					t.Fatal(err)
				}
			}
		}
		g := generation()
		if err := k.Beat(limited(t), g); err != nil {
			t.Errorf("the last generation: %v", err)
		}
		again := make(chan struct{})
		g.Start(func(context.Context) { <-again })
		close(again)
		next := generation()
		if err := k.Beat(limited(t), g); !errors.Is(err, kgo.IllegalGeneration) || !kafka.Final(err) {
			t.Errorf("a former generation: %v", err)
		}
		if err := k.Beat(limited(t), next); err != nil {
			t.Errorf("the next generation: %v", err)
		}
		if err := k.Leave(limited(t), topic, next.MemberID); err != nil {
			t.Errorf("leaving: %v", err)
		}
		if err := k.Beat(limited(t), next); !errors.Is(err, kgo.UnknownMemberId) || !kafka.Final(err) {
			t.Errorf("a beat of a member that has left: %v", err)
		}
		if err := k.Leave(limited(t), topic, next.MemberID); err != nil {
			t.Errorf("leaving twice: %v", err)
		}
		for what, err := range map[string]error{"Beat": k.Beat(limited(t), &kgo.Generation{GroupID: topic + "-none", MemberID: "m"}), "Leave": k.Leave(limited(t), topic+"-none", "m")} {
			if (what == "Beat") != (err != nil) || err != nil && !kafka.Final(err) {
				t.Errorf("%s in a group that nobody knows: %v", what, err)
			}
		}
	})
}
