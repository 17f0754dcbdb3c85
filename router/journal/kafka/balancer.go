package kafka

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"slices"

	segmentio "github.com/segmentio/kafka-go"
)

// A balancer gives each router its share of the partitions: those that it has stay with it as far as fairness allows, and one that moves goes to a
// router that has a snapshot of it.
type balancer struct {
	self  func() memberData
	steer func(partition int) string // of tests; nil otherwise
}

// memberData is what a router tells the group of itself; any router can read it.
type memberData struct {
	ID      string `json:"id"` // of this life of the process
	Address string `json:"address,omitempty"`
	Held    []int  `json:"held,omitempty"` // partitions that it folds
	Warm    []int  `json:"warm,omitempty"` // partitions of which it has a snapshot
}

const protocolName = "onward-sticky-1"

func (b *balancer) ProtocolName() string { return protocolName }

func (b *balancer) UserData() ([]byte, error) { return json.Marshal(b.self()) }

// AssignGroups decides for all members; the group's leader calls it.
func (b *balancer) AssignGroups(members []segmentio.GroupMember, partitions []segmentio.Partition) segmentio.GroupMemberAssignments {
	out := make(segmentio.GroupMemberAssignments, len(members))
	if len(members) == 0 {
		return out
	}
	topic := ""
	var numbers []int
	for _, p := range partitions {
		topic = p.Topic
		numbers = append(numbers, p.ID)
	}
	slices.Sort(numbers)
	list := make([]candidate, len(members))
	for i, m := range members {
		list[i] = candidate{member: m.ID}
		list[i].data = dataOf(m.UserData)
	}
	for i, share := range assign(list, numbers, b.steer) {
		out[list[i].member] = map[string][]int{topic: share}
	}
	return out
}

// newID names one life of a router.
func newID() string { return rand.Text() }

// dataOf reads what a member tells; one that tells nothing holds nothing.
func dataOf(userData []byte) (d memberData) {
	if json.Unmarshal(userData, &d) != nil {
		return memberData{}
	}
	return d
}

type candidate struct {
	member string
	data   memberData
}

// assign returns each candidate's partitions, sorted; the shares differ by one at most. It sorts the candidates.
func assign(list []candidate, partitions []int, steer func(int) string) [][]int {
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.data.ID, b.data.ID), cmp.Compare(a.member, b.member))
	})
	shares := make([][]int, len(list))
	taken := make(map[int]bool)
	give := func(i, p int) {
		shares[i] = append(shares[i], p)
		taken[p] = true
	}
	if steer != nil {
		for _, p := range partitions {
			if i := slices.IndexFunc(list, func(c candidate) bool { return c.data.ID == steer(p) }); i >= 0 {
				give(i, p)
			}
		}
	}
	least, more := len(partitions)/len(list), len(partitions)%len(list)
	quota := make([]int, len(list))
	for i := range quota {
		quota[i] = least
	}
	// The larger shares go to those who hold most, so that nothing moves for the remainder's sake.
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(list[b].data.Held), len(list[a].data.Held)) })
	for _, i := range order[:more] {
		quota[i]++
	}
	keep := func(of func(memberData) []int) {
		for _, p := range partitions {
			for i := range list {
				if !taken[p] && len(shares[i]) < quota[i] && slices.Contains(of(list[i].data), p) {
					give(i, p)
				}
			}
		}
	}
	keep(func(d memberData) []int { return d.Held })
	keep(func(d memberData) []int { return d.Warm })
	for _, p := range partitions {
		for i := range list {
			if !taken[p] && len(shares[i]) < quota[i] {
				give(i, p)
			}
		}
	}
	for _, p := range partitions { // What steering took from somebody's quota.
		if !taken[p] {
			give(0, p)
		}
	}
	for i := range shares {
		slices.Sort(shares[i])
	}
	return shares
}
