package kafka_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/onward-router/onward/triggers/kafka"
	segmentio "github.com/segmentio/kafka-go"
)

// TestBalance deals out random topics among members that come and go: every partition goes to one member that reads its topic, shares differ by one at
// most, and no more moves than has to.
func TestBalance(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var topics []string
		var partitions []segmentio.Partition
		for i := range 1 + r.IntN(8) {
			topics = append(topics, fmt.Sprint("t", i))
			for p := range 1 + r.IntN(6) {
				partitions = append(partitions, segmentio.Partition{Topic: topics[i], ID: p})
			}
		}
		held := segmentio.GroupMemberAssignments{}
		for range 5 {
			var members []segmentio.GroupMember
			for i := range 1 + r.IntN(6) {
				m := segmentio.GroupMember{ID: fmt.Sprint("m", i), Topics: topics}
				if r.IntN(10) > 0 { // Now and then one comes back and remembers nothing.
					var b kafka.Balancer
					kafka.Hold(&b, held[m.ID])
					m.UserData, _ = b.UserData() // Maps of numbers marshal.
				}
				members = append(members, m)
			}
			r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			got := new(kafka.Balancer).AssignGroups(members, partitions)
			checkBalance(t, seed, got, len(members), len(partitions))
			held = got
		}
		var members []segmentio.GroupMember
		for id := range held {
			var b kafka.Balancer
			kafka.Hold(&b, held[id])
			data, _ := b.UserData() // As above.
			members = append(members, segmentio.GroupMember{ID: id, Topics: topics, UserData: data})
		}
		if again := new(kafka.Balancer).AssignGroups(members, partitions); fmt.Sprint(sortedShares(again)) != fmt.Sprint(sortedShares(held)) {
			t.Errorf("seed %d: %v became %v, and nobody had come or gone", seed, held, again)
		}
	}
}

func sortedShares(a segmentio.GroupMemberAssignments) map[string]map[string]map[int]bool {
	out := make(map[string]map[string]map[int]bool)
	for id, topics := range a {
		out[id] = make(map[string]map[int]bool)
		for topic, list := range topics {
			out[id][topic] = make(map[int]bool)
			for _, p := range list {
				out[id][topic][p] = true
			}
		}
	}
	return out
}

func checkBalance(t *testing.T, seed uint64, got segmentio.GroupMemberAssignments, members, partitions int) {
	t.Helper()
	seen := make(map[string]bool)
	least, most := partitions, 0
	for _, topics := range got {
		n := 0
		for topic, list := range topics {
			for _, p := range list {
				if at := fmt.Sprint(topic, "-", p); seen[at] {
					t.Errorf("seed %d: %s has two owners", seed, at)
				} else {
					seen[at] = true
				}
				n++
			}
		}
		least, most = min(least, n), max(most, n)
	}
	if len(got) != members || len(seen) != partitions || most-least > 1 {
		t.Errorf("seed %d: %d members of %d, %d partitions of %d, shares from %d to %d", seed, len(got), members, len(seen), partitions, least, most)
	}
}

// TestBalanceByTopic: a member gets only what it reads, also while others read more.
func TestBalanceByTopic(t *testing.T) {
	t.Parallel()
	members := []segmentio.GroupMember{{ID: "a", Topics: []string{"x"}}, {ID: "b", Topics: []string{"x", "y"}, UserData: []byte(`{"x":[0],"z":[1]}`)}}
	partitions := []segmentio.Partition{{Topic: "x", ID: 0}, {Topic: "x", ID: 1}, {Topic: "y", ID: 0}, {Topic: "y", ID: 0}}
	got := fmt.Sprint(new(kafka.Balancer).AssignGroups(members, partitions))
	if got != "map[a:map[x:[1]] b:map[x:[0] y:[0]]]" {
		t.Error(got)
	}
}
