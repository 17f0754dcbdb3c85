package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// A Topic is one of the cluster's.
type Topic struct {
	Name       string
	Partitions int
	Replicas   int // of the partition that has the fewest
}

// Topic describes a topic. One that stays unknown is a final error.
func (c *Client) Topic(ctx context.Context, name string) (Topic, error) {
	var out Topic
	err := c.try(ctx, fmt.Sprintf("look up topic %q", name), name, func() error {
		res, err := c.API.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name}})
		if err != nil {
			return err
		}
		if out = topicOf(res.Topics[0]); res.Topics[0].Error != nil {
			return res.Topics[0].Error
		}
		if out.Partitions == 0 {
			return kafka.UnknownTopicOrPartition
		}
		return nil
	})
	return out, err
}

func topicOf(t kafka.Topic) Topic {
	out := Topic{Name: t.Name, Partitions: len(t.Partitions)}
	for i, p := range t.Partitions {
		if n := len(p.Replicas); i == 0 || n < out.Replicas {
			out.Replicas = n
		}
	}
	return out
}

// Topics lists the cluster's topics by name, without its own (__consumer_offsets ...). It is a few seconds old at most.
func (c *Client) Topics(ctx context.Context) ([]Topic, error) {
	var out []Topic
	err := c.try(ctx, "list the topics", "", func() error {
		res, err := c.API.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return err
		}
		out = nil
		for _, t := range res.Topics {
			if !t.Internal && t.Error == nil && len(t.Partitions) > 0 {
				out = append(out, topicOf(t))
			}
		}
		slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return out, err
}

// CreateTopic creates a topic; replicas -1 leaves their number to the cluster. One that exists is kafka.TopicAlreadyExists, also when a try before
// created it and its answer was lost.
func (c *Client) CreateTopic(ctx context.Context, name string, partitions, replicas int, settings map[string]string) error {
	topic := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: replicas}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: settings[key]})
	}
	return c.try(ctx, fmt.Sprintf("create topic %q", name), "", func() error {
		res, err := c.API.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
		if err != nil {
			return err
		}
		return res.Errors[name]
	})
}

// TopicSettings returns the effective values of a topic's settings, such as cleanup.policy; without names, of all of them.
func (c *Client) TopicSettings(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	out := make(map[string]string)
	err := c.try(ctx, fmt.Sprintf("read the settings of topic %q", topic), topic, func() error {
		res, err := c.API.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names},
		}})
		if err != nil {
			return err
		}
		for _, r := range res.Resources {
			if r.Error != nil {
				return r.Error
			}
			for _, e := range r.ConfigEntries {
				out[e.ConfigName] = e.ConfigValue
			}
		}
		return nil
	})
	return out, err
}

// Range returns the offset of a partition's first record, and the one after its last.
func (c *Client) Range(ctx context.Context, topic string, partition int) (first, last int64, err error) {
	err = c.try(ctx, fmt.Sprintf("look up the offsets of %q, partition %d", topic, partition), topic, func() error {
		res, err := c.API.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
			topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)},
		}})
		if err != nil {
			return err
		}
		for _, p := range res.Topics[topic] {
			if p.Partition != partition {
				continue
			}
			if p.Error != nil {
				return p.Error
			}
			first, last = p.FirstOffset, p.LastOffset
			return nil
		}
		return kafka.UnknownTopicOrPartition
	})
	return first, last, err
}

// A Commit is a position that a group has committed, with a text of its own.
type Commit struct {
	Offset   int64
	Metadata string
}

// Committed returns the positions that a group has committed. A partition without one is not in the map; a group that is not known has none.
func (c *Client) Committed(ctx context.Context, group, topic string, partitions ...int) (map[int]Commit, error) {
	var out map[int]Commit
	err := c.try(ctx, fmt.Sprintf("read the offsets of group %q", group), topic, func() error {
		res, err := c.API.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
		if err == nil {
			err = res.Error
		}
		out = make(map[int]Commit)
		if errors.Is(err, kafka.GroupIdNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return p.Error
			}
			if p.CommittedOffset >= 0 {
				out[p.Partition] = Commit{p.CommittedOffset, p.Metadata}
			}
		}
		return nil
	})
	return out, err
}

// A Member is one of a group: what it told of itself, and the partitions that it was given, by topic.
type Member struct {
	ID         string
	UserData   []byte
	Partitions map[string][]int
}

// Members lists a group's members. A group that nobody is in has none.
func (c *Client) Members(ctx context.Context, group string) ([]Member, error) {
	var out []Member
	err := c.try(ctx, fmt.Sprintf("describe group %q", group), "", func() error {
		res, err := c.API.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		out = nil
		for _, g := range res.Groups {
			if g.Error != nil {
				return g.Error
			}
			for _, m := range g.Members {
				x := Member{ID: m.MemberID, UserData: m.MemberMetadata.UserData, Partitions: make(map[string][]int)}
				for _, t := range m.MemberAssignments.Topics {
					x.Partitions[t.Topic] = t.Partitions
				}
				out = append(out, x)
			}
		}
		return nil
	})
	return out, err
}

// Commit commits positions of a topic as a member of one generation of a group. The coordinator refuses it from a former generation, and that is
// final. It does not know who owns which partition: commit only what this generation was given.
func (c *Client) Commit(ctx context.Context, g *kafka.Generation, topic string, commits map[int]Commit) error {
	req := &kafka.OffsetCommitRequest{GroupID: g.GroupID, GenerationID: int(g.ID), MemberID: g.MemberID, Topics: map[string][]kafka.OffsetCommit{}}
	for partition, x := range commits {
		req.Topics[topic] = append(req.Topics[topic], kafka.OffsetCommit{Partition: partition, Offset: x.Offset, Metadata: x.Metadata})
	}
	return c.try(ctx, fmt.Sprintf("commit offsets of group %q", g.GroupID), topic, func() error {
		res, err := c.API.OffsetCommit(ctx, req)
		if err != nil {
			return err
		}
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return p.Error
			}
		}
		return nil
	})
}

// DeleteRecords removes a partition's records before an offset, and returns the offset of the first that is left.
func (c *Client) DeleteRecords(ctx context.Context, topic string, partition int, before int64) (int64, error) {
	var low int64
	err := c.try(ctx, fmt.Sprintf("delete records of %q, partition %d, before %d", topic, partition, before), topic, func() error {
		m, err := c.call(ctx, 0, &deleteRequest{Timeout: int32(c.limits.Request / time.Millisecond), Topics: []deleteTopic{
			{Topic: topic, Partitions: []deletePartition{{Partition: int32(partition), Offset: before}}},
		}})
		if err != nil {
			return err
		}
		topics := m.(*deleteResponse).Topics
		if len(topics) == 0 || len(topics[0].Partitions) == 0 {
			return kafka.UnknownTopicOrPartition
		}
		p := topics[0].Partitions[0]
		low = p.LowWatermark
		if errors.Is(answer(p.ErrorCode, ""), kafka.OffsetOutOfRange) {
			return &Error{Doing: "delete records", Err: kafka.OffsetOutOfRange, Cure: "the offset lies beyond the log's end", Final: true}
		}
		return answer(p.ErrorCode, "")
	})
	return low, err
}

// DeleteRecords is not among kafka-go's requests.
func init() { protocol.Register(&deleteRequest{}, &deleteResponse{}) }

type deleteRequest struct {
	Topics  []deleteTopic `kafka:"min=v0,max=v1"`
	Timeout int32         `kafka:"min=v0,max=v1"`
}

type deleteTopic struct {
	Topic      string            `kafka:"min=v0,max=v1"`
	Partitions []deletePartition `kafka:"min=v0,max=v1"`
}

type deletePartition struct {
	Partition int32 `kafka:"min=v0,max=v1"`
	Offset    int64 `kafka:"min=v0,max=v1"`
}

type deleteResponse struct {
	ThrottleTimeMs int32                 `kafka:"min=v0,max=v1"`
	Topics         []deleteResponseTopic `kafka:"min=v0,max=v1"`
}

type deleteResponseTopic struct {
	Topic      string                    `kafka:"min=v0,max=v1"`
	Partitions []deleteResponsePartition `kafka:"min=v0,max=v1"`
}

type deleteResponsePartition struct {
	Partition    int32 `kafka:"min=v0,max=v1"`
	LowWatermark int64 `kafka:"min=v0,max=v1"`
	ErrorCode    int16 `kafka:"min=v0,max=v1"`
}

func (*deleteRequest) ApiKey() protocol.ApiKey  { return protocol.DeleteRecords }
func (*deleteResponse) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// Broker routes the request to the partition's leader, as a fetch is routed.
func (r *deleteRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	var like fetch.Request
	for _, t := range r.Topics {
		topic := fetch.RequestTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, fetch.RequestPartition{Partition: p.Partition})
		}
		like.Topics = append(like.Topics, topic)
	}
	return like.Broker(cluster)
}
