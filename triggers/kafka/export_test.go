package kafka

import (
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/kafka"
)

// Decode makes events of a record.
func (s *Source) Decode(topic string, partition int, r *kafka.Record) ([]event.Event, error) {
	events, _, err := s.decode(topic, partition, r)
	return events, err
}

// Passed is for tests of its own.
type Passed struct{ passed }

// Balancer is the one that members of a group share.
type Balancer = balancer

// Hold tells a balancer what its member has.
func Hold(b *Balancer, held map[string][]int) { b.held = held }

// NewPassed begins at an offset.
func NewPassed(at int64) *Passed { return &Passed{passed{from: at, to: at, base: at}} }

func (o *Passed) Take(offset int64)     { o.take(offset) }
func (o *Passed) Has(offset int64) bool { return o.has(offset) }
func (o *Passed) Resume(offset int64)   { o.resume(offset) }
