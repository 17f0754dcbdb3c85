package kafka

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	segmentio "github.com/segmentio/kafka-go"
)

// A place is a partition of a topic.
type place struct {
	topic     string
	partition int
}

func comparePlaces(a, b place) int {
	if c := strings.Compare(a.topic, b.topic); c != 0 {
		return c
	}
	return a.partition - b.partition
}

// A balancer deals out all partitions of all topics evenly, and leaves with each member what it had where that is even. kafka-go's own balance each
// topic by itself: of many topics with one partition, one member would get all.
type balancer struct {
	mu   sync.Mutex
	held map[string][]int
}

func (*balancer) ProtocolName() string { return "onward-even" }

// UserData tells the leader what this member had last.
func (b *balancer) UserData() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return json.Marshal(b.held)
}

func (b *balancer) hold(assigned map[string][]segmentio.PartitionAssignment) {
	held := make(map[string][]int)
	for topic, list := range assigned {
		for _, p := range list {
			held[topic] = append(held[topic], p.ID)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = held
}

// AssignGroups deals out the partitions.
func (*balancer) AssignGroups(members []segmentio.GroupMember, partitions []segmentio.Partition) segmentio.GroupMemberAssignments {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b segmentio.GroupMember) int { return strings.Compare(a.ID, b.ID) })
	free := make(map[place]bool)
	var order []place
	for _, p := range partitions {
		at := place{p.Topic, p.ID}
		if !free[at] {
			free[at] = true
			order = append(order, at)
		}
	}
	slices.SortFunc(order, comparePlaces)
	share, extra := len(order)/len(members), len(order)%len(members)
	out, count := segmentio.GroupMemberAssignments{}, make(map[string]int)
	give := func(m *segmentio.GroupMember, at place) {
		delete(free, at)
		out[m.ID][at.topic] = append(out[m.ID][at.topic], at.partition)
		count[m.ID]++
	}
	for i := range members {
		m := &members[i]
		out[m.ID] = make(map[string][]int)
		var held map[string][]int
		if json.Unmarshal(m.UserData, &held) != nil {
			continue // A member of another version: it had nothing.
		}
		for _, at := range order {
			if !free[at] || !slices.Contains(held[at.topic], at.partition) || !slices.Contains(m.Topics, at.topic) {
				continue
			}
			if count[m.ID] == share {
				if extra == 0 {
					break
				}
				extra--
			} else if count[m.ID] > share {
				break
			}
			give(m, at)
		}
	}
	for _, at := range order {
		if !free[at] {
			continue
		}
		var least *segmentio.GroupMember
		for i := range members {
			if m := &members[i]; slices.Contains(m.Topics, at.topic) && (least == nil || count[m.ID] < count[least.ID]) {
				least = m
			}
		}
		if least != nil {
			give(least, at)
		}
	}
	return out
}
