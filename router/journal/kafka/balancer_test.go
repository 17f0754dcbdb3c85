package kafka

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	segmentio "github.com/segmentio/kafka-go"
)

func partitionsOf(n int) []segmentio.Partition {
	out := make([]segmentio.Partition, n)
	for i := range out {
		out[i] = segmentio.Partition{Topic: "t", ID: i}
	}
	return out
}

// TestBalancer lets routers come, go and come back: shares stay fair, and no more moves than fairness asks for.
func TestBalancer(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		partitions := 1 + rng.IntN(40)
		held, warm := make(map[string][]int), make(map[string][]int)
		var alive []string
		for round := range 12 {
			if name := fmt.Sprint("router-", rng.IntN(8)); slices.Contains(alive, name) && len(alive) > 1 {
				alive = slices.DeleteFunc(alive, func(s string) bool { return s == name })
				warm[name], held[name] = held[name], nil
			} else if !slices.Contains(alive, name) {
				alive = append(alive, name)
			}
			var members []segmentio.GroupMember
			for i, name := range alive {
				data, _ := json.Marshal(memberData{ID: name, Held: held[name], Warm: append(slices.Clone(held[name]), warm[name]...)})
				members = append(members, segmentio.GroupMember{ID: fmt.Sprintf("member-%d-%d", rng.IntN(1000), i), UserData: data})
			}
			rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			b := &balancer{}
			got := b.AssignGroups(members, partitionsOf(partitions))
			owners, kept := make(map[int]string), 0
			for _, m := range members {
				var d memberData
				_ = json.Unmarshal(m.UserData, &d)
				share := got[m.ID]["t"]
				if n := len(share); n < partitions/len(members) || n > (partitions+len(members)-1)/len(members) {
					t.Fatalf("seed %d round %d: a share of %d of %d among %d", seed, round, n, partitions, len(members))
				}
				for _, p := range share {
					if owners[p] != "" {
						t.Fatalf("seed %d round %d: partition %d has two owners", seed, round, p)
					}
					owners[p] = d.ID
					if slices.Contains(d.Held, p) {
						kept++
					}
				}
			}
			most := 0 // What can be kept: each its own, up to a fair share, and only so many of the larger shares.
			least, larger := partitions/len(members), partitions%len(members)
			for _, name := range alive {
				most += min(len(held[name]), least)
				if len(held[name]) > least && larger > 0 {
					most++
					larger--
				}
			}
			if len(owners) != partitions || kept != most {
				t.Fatalf("seed %d round %d: %d of %d partitions have owners; %d stayed, %d could", seed, round, len(owners), partitions, kept, most)
			}
			for _, name := range alive {
				held[name] = nil
			}
			for p := range partitions {
				held[owners[p]] = append(held[owners[p]], p)
			}
		}
	}
}

// TestBalancerPrefersTheWarm: of those who may take a partition, the one that has its snapshot does.
func TestBalancerPrefersTheWarm(t *testing.T) {
	t.Parallel()
	list := []candidate{{"a", memberData{ID: "a", Held: []int{0, 1}}}, {"b", memberData{ID: "b"}}, {"c", memberData{ID: "c", Warm: []int{2, 3}}}}
	if got := fmt.Sprint(assign(list, []int{0, 1, 2, 3, 4, 5}, nil)); got != "[[0 1] [4 5] [2 3]]" {
		t.Error(got)
	}
}
