package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/quiet"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/mapping"
	"github.com/prometheus/client_golang/prometheus"
	segmentio "github.com/segmentio/kafka-go"
)

// A Source takes events from topics.
type Source struct {
	name     string
	s        *Settings
	client   *kafka.Client
	producer *kafka.Producer // of dead letters
	*triggers.Lot
	balancer balancer

	joining trouble
	logs    func() *slog.Logger // that of the process, once there is something to say

	lag      *prometheus.GaugeVec
	taken    *prometheus.CounterVec
	invalid  *prometheus.CounterVec
	setAside *prometheus.GaugeVec
	stuck    *prometheus.GaugeVec
}

// New makes the source. It connects when it runs.
func New(name string, s *Settings) (triggers.Source, error) {
	c, err := kafka.Open(&s.Cluster, "onward-"+name, kafka.Limits{})
	if err != nil {
		return nil, err
	}
	label := prometheus.Labels{"source": name}
	gauge := func(metric, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "onward_source_" + metric, Help: help, ConstLabels: label}, []string{"topic", "partition"})
	}
	counter := func(metric, help, by string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onward_source_" + metric + "_total", Help: help, ConstLabels: label}, []string{"topic", by})
	}
	return &Source{
		logs: sync.OnceValue(func() *slog.Logger { return quiet.Of(slog.Default()) }),
		name: name, s: s, client: c, Lot: triggers.NewLot(name), producer: c.NewProducer(kafka.ProducerOptions{}),
		lag: gauge("lag", "Records of a partition that were not read."), setAside: gauge("set_aside", "Events of a partition that were refused for now and wait."),
		stuck: gauge("stuck", "1 while a partition cannot go on: it cannot be read, or the router takes nothing of it."),
		taken: counter("taken", "Events that were taken, by what they were taken for.", "kind"), invalid: counter("invalid", "Records that are no event, by what became of them.", "fate"),
	}, nil
}

// Place takes over where connections may go.
func (s *Source) Place(p triggers.Place) { s.client.Within(p.Egress) }

var (
	_ triggers.Source   = (*Source)(nil)
	_ triggers.Placed   = (*Source)(nil)
	_ triggers.Measured = (*Source)(nil)
	_ triggers.Parking  = (*Source)(nil)
	_ triggers.Keeping  = (*Source)(nil)
	_ triggers.Troubled = (*Source)(nil)
	_ plugin.Prober     = (*Source)(nil)
)

// Probe looks for the topics, that of dead letters included, and for the group's coordinator.
func (s *Source) Probe(ctx context.Context) (string, error) {
	defer s.client.Close()
	topics, err := s.topics(ctx)
	if err != nil {
		return "", err
	}
	if dead := s.s.OnInvalid.Topic; dead != "" {
		if _, err := s.client.Topic(ctx, dead); err != nil {
			return "", err
		}
	}
	for _, t := range topics {
		if _, err := s.client.Committed(ctx, s.s.Group, t, 0); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d topics, read as group %q: %s", len(topics), s.s.Group, strings.Join(topics, ", ")), nil
}

// Collectors are the source's metrics.
func (s *Source) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.lag, s.taken, s.invalid, s.setAside, s.stuck, s.Count()}
}

// looking is how often patterns are held against the cluster's topics.
const looking = 15 * time.Second

// Run reads until ctx ends; then it waits for what it has handed over, commits and leaves the group.
func (s *Source) Run(ctx context.Context, admit triggers.Admit) error {
	defer s.client.Close()
	defer s.producer.Close()
	for alone := false; ctx.Err() == nil; {
		topics, err := s.topics(ctx)
		none := err == nil && len(topics) == 0
		if none && !alone {
			s.logs().Warn("source: no topic matches yet that this user may see", "source", s.name, "topics", strings.Join(s.s.Topics, ", "))
		}
		alone = none
		if err == nil && len(topics) > 0 {
			err = s.consume(ctx, topics, admit)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && kafka.Final(err):
			return err
		case err != nil:
			s.logs().Warn("source: Kafka", "source", s.name, "error", err)
		}
		if err != nil || len(topics) == 0 {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// topics lists the topics that there are of those that are named: all of the names, and what the patterns match.
func (s *Source) topics(ctx context.Context) ([]string, error) {
	var out []string
	var patterns []*regexp.Regexp
	for _, t := range s.s.Topics {
		if text, is := pattern(t); is {
			patterns = append(patterns, regexp.MustCompile(text)) // Check has compiled it.
			continue
		}
		if _, err := s.client.Topic(ctx, t); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	if len(patterns) > 0 {
		all, err := s.client.Topics(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			if t.Name == s.s.OnInvalid.Topic {
				continue // Its own dead letters are no events, whatever the patterns say.
			}
			if slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(t.Name) }) {
				out = append(out, t.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// consume is the membership in the group for a list of topics: it ends with ctx, by a final error, or when patterns match other topics.
func (s *Source) consume(ctx context.Context, topics []string, admit triggers.Admit) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	members, err := segmentio.NewConsumerGroup(segmentio.ConsumerGroupConfig{
		ID: s.s.Group, Brokers: s.client.Brokers, Dialer: s.client.Dialer(), Topics: topics, StartOffset: segmentio.FirstOffset,
		GroupBalancers:    []segmentio.GroupBalancer{&s.balancer, segmentio.RangeGroupBalancer{}, segmentio.RoundRobinGroupBalancer{}}, // The last two with members of other kinds.
		HeartbeatInterval: max(s.s.Session.D()/10, 100*time.Millisecond), SessionTimeout: s.s.Session.D(), RebalanceTimeout: s.s.Rebalance.D(),
		JoinGroupBackoff: 500 * time.Millisecond, WatchPartitionChanges: true, PartitionWatchInterval: looking,
	})
	if err != nil {
		return &kafka.Error{Doing: "join group " + s.s.Group, Err: err, Final: true}
	}
	var watching, readings sync.WaitGroup
	member := ""
	watching.Go(func() {
		if err := guard.Do("source", func() { s.watchTopics(ctx, topics, cancel) }); err != nil {
			cancel(err)
		}
	})
	for {
		gen, e := members.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if e != nil {
			judged := kafka.Judge("join group "+s.s.Group, e)
			if s.client.Refused(e) {
				err = judged
				break
			}
			if s.joining.note(judged) {
				s.logs().Warn("source: the group cannot be joined now", "source", s.name, "error", judged)
			}
			continue
		}
		s.joining.note(nil)
		member = gen.MemberID
		s.balancer.hold(gen.Assignments)
		for topic, list := range gen.Assignments {
			for _, a := range list {
				readings.Add(1)
				gen.Start(func(over context.Context) {
					defer readings.Done()
					ctx, cancel := context.WithCancel(ctx)
					defer cancel()
					context.AfterFunc(over, cancel)
					p := &reading{s: s, topic: topic, partition: a.ID, gen: gen, admit: admit}
					if err := p.guarded(ctx); err != nil && ctx.Err() == nil {
						s.stuck.WithLabelValues(topic, strconv.Itoa(a.ID)).Set(1)
						s.logs().Error("source: a partition cannot be read", "source", s.name, "topic", topic, "partition", a.ID, "error", err)
						select { // Its return would end the generation, and tear the other partitions along, at once and again.
						case <-time.After(5 * time.Second):
						case <-ctx.Done():
						}
					}
				})
			}
		}
	}
	cancel(nil)
	watching.Wait()
	readings.Wait()
	if e := s.client.Part(members, s.s.Group, member); e != nil {
		s.logs().Warn("source: the others wait for the session's end", "source", s.name, "group", s.s.Group, "error", e)
	}
	return err
}

// Trouble says why nothing is read.
func (s *Source) Trouble() error {
	if err := s.joining.now(); err != nil {
		return err
	}
	return s.client.Trouble()
}

// A trouble lasts until it is noted as over, and is said now and again.
type trouble struct {
	mu   sync.Mutex
	err  error
	said time.Time
}

// sayAgain is how often what lasts is said.
const sayAgain = 30 * time.Second

// note takes the last error, nil for none, and reports whether it is to be said.
func (t *trouble) note(err error) (say bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err = err; err == nil {
		t.said = time.Time{}
		return false
	}
	if time.Since(t.said) < sayAgain {
		return false
	}
	t.said = time.Now()
	return true
}

func (t *trouble) now() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// watchTopics ends the membership when patterns match other topics than before.
func (s *Source) watchTopics(ctx context.Context, topics []string, cancel context.CancelCauseFunc) {
	if !slices.ContainsFunc(s.s.Topics, func(t string) bool { _, is := pattern(t); return is }) {
		return
	}
	tick := time.NewTicker(min(looking, s.s.Session.D()))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now, err := s.topics(ctx); err == nil && len(now) > 0 && !slices.Equal(now, topics) {
			cancel(errors.New("other topics match"))
			return
		}
	}
}

// unfit deals with a record that is no event, before its offset is committed.
func (s *Source) unfit(ctx context.Context, topic string, partition int, r *kafka.Record, why error) error {
	word := s.s.OnInvalid.Word
	if errors.As(why, new(*mapping.Parking)) {
		word = park // The document says so.
	}
	s.invalid.WithLabelValues(topic, word).Inc()
	switch word {
	case skip:
		return nil
	case deadletter:
		if slices.ContainsFunc(r.Headers, func(h kafka.Header) bool { return h.Key == deadReason }) {
			break // It is a dead letter already, of this source or another: buried again and again, it would never rest.
		}
		err := s.bury(ctx, topic, partition, r, why)
		if err == nil || !kafka.Final(err) {
			return err
		}
		s.logs().Error("source: a record cannot go to the dead letters, and is parked", "source", s.name, "deadletter", s.s.OnInvalid.Topic, "error", err)
	}
	s.logs().Warn("source: a record is no event and is parked", "source", s.name, "topic", topic, "partition", partition, "offset", r.Offset, "error", why)
	s.Park(triggers.Parked{Source: s.name, Place: fmt.Sprintf("%s/%d/%d", topic, partition, r.Offset), Reason: why.Error(), Time: r.Time, Bytes: r.Value})
	return nil
}

// deadReason is a header that every dead letter has.
const deadReason = "onward_reason"

// bury writes a record to the topic of dead letters, with the reason and where it came from.
func (s *Source) bury(ctx context.Context, topic string, partition int, r *kafka.Record, why error) error {
	t, err := s.client.Topic(ctx, s.s.OnInvalid.Topic)
	if err != nil {
		return err
	}
	dead := kafka.Record{Key: r.Key, Value: r.Value, Headers: append(slices.Clone(r.Headers),
		kafka.Header{Key: deadReason, Value: []byte(why.Error())}, kafka.Header{Key: "onward_topic", Value: []byte(topic)},
		kafka.Header{Key: "onward_partition", Value: fmt.Append(nil, partition)}, kafka.Header{Key: "onward_offset", Value: fmt.Append(nil, r.Offset)})}
	at := segmentio.Murmur2Balancer{}.Balance(segmentio.Message{Key: r.Key}, numbers(t.Partitions)...)
	_, err = s.producer.Write(ctx, s.s.OnInvalid.Topic, at, dead)
	return err
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Register enters the source.
func Register(r *plugin.Registry) {
	triggers.Register(r, "kafka", 1, "Takes CloudEvents, or plain records by a mapping, from Kafka topics.", New)
}
