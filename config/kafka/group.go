package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Beat asks the coordinator whether a generation of a group is still the last one. RebalanceInProgress says that it is, and another is about to follow;
// IllegalGeneration, UnknownMemberId and GroupIdNotFound, that it is not.
func (c *Client) Beat(ctx context.Context, g *kafka.Generation) error {
	return c.asMember(ctx, &memberRequest{key: protocol.Heartbeat, group: g.GroupID, generation: g.ID, member: g.MemberID})
}

// Leave takes a member out of a group, also one that waits to be let into the next generation. One that was no member is no error.
func (c *Client) Leave(ctx context.Context, group, member string) error {
	err := c.asMember(ctx, &memberRequest{key: protocol.LeaveGroup, group: group, member: member})
	if errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.GroupIdNotFound) {
		return nil
	}
	return err
}

// The patience of who leaves: with kafka-go's own goodbye, and with ours.
const (
	goodbye  = 200 * time.Millisecond
	goodbyes = 3 * time.Second
)

// Part closes a membership and sees to it that the group is left, so that the others need not wait for the session's end. kafka-go does not leave while the
// group is being formed: it waits for the slowest of the others first, and then may go without a word; nor does it look for a coordinator that
// has moved. Call it once nothing is to be committed any more. The member is the last generation's; empty where there was none.
func (c *Client) Part(members *kafka.ConsumerGroup, group, member string) error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = members.Close() // It says nothing.
	}()
	select {
	case <-closed:
	case <-time.After(goodbye):
	}
	var err error
	if member != "" {
		ctx, cancel := context.WithTimeout(context.Background(), goodbyes)
		err = c.Leave(ctx, group, member)
		cancel()
	}
	<-closed
	return err
}

func (c *Client) asMember(ctx context.Context, r *memberRequest) error {
	r.client = c.id
	return c.try(ctx, fmt.Sprintf("speak as a member of group %q", r.group), "", func() error {
		m, err := c.call(ctx, 0, r)
		if err != nil {
			return err
		}
		return answer(m.(*memberResponse).code, "")
	})
}

// A memberRequest is a Heartbeat or LeaveGroup, version 0. Those of kafka-go's Client, not of its ConsumerGroup, read a later version's answer from the
// wrong place, where every error is none; and heartbeats go to any broker.
type memberRequest struct {
	key           protocol.ApiKey
	group, member string
	generation    int32 // of a Heartbeat
	client        string
}

type memberResponse struct {
	key  protocol.ApiKey
	code int16
}

func (r *memberRequest) ApiKey() protocol.ApiKey  { return r.key }
func (r *memberResponse) ApiKey() protocol.ApiKey { return r.key }

// Group routes the request to the group's coordinator.
func (r *memberRequest) Group() string { return r.group }

// Required takes the request out of kafka-go's hands.
func (*memberRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange sends the request and reads the answer.
func (r *memberRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	text := func(b []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	id := rand.Uint32()
	b := make([]byte, 4, 128)
	b = binary.BigEndian.AppendUint16(b, uint16(r.key))
	b = binary.BigEndian.AppendUint16(b, 0) // version
	b = binary.BigEndian.AppendUint32(b, id)
	b = text(text(b, r.client), r.group)
	if r.key == protocol.Heartbeat {
		b = binary.BigEndian.AppendUint32(b, uint32(r.generation))
	}
	b = text(b, r.member)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	var a [10]byte
	if _, err := io.ReadFull(rw, a[:]); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(a[:]) != 6 || binary.BigEndian.Uint32(a[4:]) != id {
		return nil, errors.New("an answer to something else came")
	}
	return &memberResponse{r.key, int16(binary.BigEndian.Uint16(a[8:]))}, nil
}
