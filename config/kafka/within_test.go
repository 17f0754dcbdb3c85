package kafka_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/kafka"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestWithin: brokers that documents name are connected to where the policy lets them, and so are those that brokers tell of; the operator's own are not judged.
func TestWithin(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	away, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	away.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) { // Its broker is elsewhere, it says: where credentials are given out.
		away.KeepControl()
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: "169.254.169.254", Port: 80}}
		resp.Topics = []kmsg.MetadataResponseTopic{{Topic: kmsg.StringPtr("t"), Partitions: []kmsg.MetadataResponseTopicPartition{{Replicas: []int32{0}, ISR: []int32{0}}}}}
		return resp, nil, true
	})
	deny, err := egress.New(nil, []string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	var inherited kafka.Cluster
	inherited.Inherit(kafka.Cluster{Brokers: c.ListenAddrs()})
	for name, x := range map[string]struct {
		cluster kafka.Cluster
		policy  *egress.Policy
		refused bool
	}{
		"denied":                   {kafka.Cluster{Brokers: c.ListenAddrs()}, deny, true},
		"the default":              {kafka.Cluster{Brokers: c.ListenAddrs()}, nil, false},
		"the operator's":           {inherited, deny, false},
		"a broker that is told of": {kafka.Cluster{Brokers: away.ListenAddrs()}, nil, true},
	} {
		k, err := kafka.Open(&x.cluster, "test", kafka.Limits{Unknown: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		k.Within(x.policy)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, _, err = k.Range(ctx, "t", 0)
		refused := (*egress.Refused)(nil)
		if is := errors.As(err, &refused) && kafka.Final(err); is != x.refused || !is && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if conn, err := k.Dialer().DialContext(ctx, "tcp", x.cluster.Brokers[0]); name == "denied" && (!errors.As(err, &refused) || !k.Refused(err)) || name == "the operator's" && err != nil {
			t.Errorf("%s: a group's connection: %v", name, err)
		} else if err == nil {
			_ = conn.Close()
		}
		cancel()
		k.Close()
	}
	// How kafka-go hands the error of a group on.
	k, err := kafka.Open(&kafka.Cluster{Brokers: []string{net.JoinHostPort("127.0.0.1", "1")}}, "test", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	k.Within(deny)
	group, err := segmentio(k)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := group.Next(ctx); !k.Refused(err) {
		t.Errorf("%v", err)
	}
}

func segmentio(k *kafka.Client) (*kafkago.ConsumerGroup, error) {
	return kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{ID: "g", Brokers: k.Brokers, Dialer: k.Dialer(), Topics: []string{"t"}})
}
