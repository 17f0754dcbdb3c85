package kafkatest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// MoveLeader makes a node the leader of a partition, without killing any. The topic is replicated to all nodes; it may be one of the cluster's own, such
// as __consumer_offsets, whose leaders coordinate groups.
func (c *Cluster) MoveLeader(t testing.TB, topic string, partition, node int) {
	t.Helper()
	if _, ours := c.control(t).(*fake); ours {
		must(t, c.fake.cluster.MoveTopicPartition(topic, int32(partition), int32(node)))
		return
	}
	replicas := []int{node}
	for n := range c.brokers {
		if n != node {
			replicas = append(replicas, n)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		res, err := c.admin.AlterPartitionReassignments(ctx, &kafka.AlterPartitionReassignmentsRequest{
			Topic: topic, Timeout: 10 * time.Second, Assignments: []kafka.AlterPartitionReassignmentsRequestAssignment{{PartitionID: partition, BrokerIDs: replicas}},
		})
		if err == nil && res.Error == nil && !slices.ContainsFunc(res.PartitionResults, func(p kafka.AlterPartitionReassignmentsResponsePartitionResult) bool { return p.Error != nil }) {
			// That it is the leader already is an error, too.
			_, err = c.admin.ElectLeaders(ctx, &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{partition}, Timeout: 10 * time.Second})
		}
		if err == nil && c.Leader(t, topic, partition) == node {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s/%d is not led by %d: %v", topic, partition, node, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
