package kafka

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router/journal"
	segmentio "github.com/segmentio/kafka-go"
)

// InitOptions say how a journal is made.
type InitOptions struct {
	Prefix      string // default "onward"
	Partitions  int    // default 16; cannot be changed later
	Replication int    // copies of each partition; default 3
	MinInsync   int    // copies that have a record before it is acknowledged; default 2, or 1 with one copy
}

// MinMessageBytes is what the journal's topics take in one record at least.
const MinMessageBytes = 2 << 20

// Init makes the topics and writes the layout, once: of several who do it at a time, the first layout counts for all. It says what it did, a line each.
func Init(ctx context.Context, c *kafka.Client, o InitOptions) (did []string, err error) {
	o.Partitions = cmp.Or(o.Partitions, 16)
	o.Replication = cmp.Or(o.Replication, 3)
	o.MinInsync = cmp.Or(o.MinInsync, min(2, o.Replication))
	if o.Partitions < 1 || o.Partitions > 1<<16 {
		return nil, fmt.Errorf("%d partitions; choose 1 to 65536", o.Partitions)
	}
	if o.MinInsync > o.Replication {
		return nil, fmt.Errorf("min.insync.replicas %d with %d copies lets nothing through; choose at most %d", o.MinInsync, o.Replication, o.Replication)
	}
	topics := TopicsOf(o.Prefix)
	common := map[string]string{
		"min.insync.replicas": strconv.Itoa(o.MinInsync), "unclean.leader.election.enable": "false", "max.message.bytes": strconv.Itoa(max(MinMessageBytes, 16<<20)),
		"message.timestamp.type": "LogAppendTime",
	}
	with := func(more map[string]string) map[string]string {
		out := make(map[string]string, len(common)+len(more))
		for _, m := range []map[string]string{common, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	forever := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
	for _, t := range []struct {
		name       string
		partitions int
		settings   map[string]string
	}{
		{topics.Meta, 1, with(map[string]string{"cleanup.policy": "compact"})},
		{topics.Snapshots, o.Partitions, with(forever)},
		{topics.Journal, o.Partitions, with(forever)},
	} {
		err := c.CreateTopic(ctx, t.name, t.partitions, o.Replication, t.settings)
		switch {
		case err == nil:
			did = append(did, fmt.Sprintf("created topic %s with %d partitions and %d copies", t.name, t.partitions, o.Replication))
		case errors.Is(err, segmentio.TopicAlreadyExists):
			did = append(did, fmt.Sprintf("topic %s is there", t.name))
		default:
			return did, err
		}
	}
	layout, err := readLayout(ctx, c, topics.Meta)
	if errors.Is(err, errNoLayout) {
		layout, err = firstLayout(ctx, c, topics, o.Partitions)
	}
	if err != nil {
		return did, err
	}
	did = append(did, fmt.Sprintf("the layout has %d partitions", layout.Partitions))
	if layout.Partitions != o.Partitions {
		return did, fmt.Errorf("%w: it has %d partitions and %d are asked for; run ids follow from their number, so keep it, or choose another prefix", journal.ErrLayout, layout.Partitions, o.Partitions)
	}
	return did, nil
}

// A layoutDoc is the layout as the topic has it.
type layoutDoc struct {
	Version    int    `json:"version"`
	Partitions int    `json:"partitions"`
	Hash       string `json:"hash"`
	Key        string `json:"key"`
}

const (
	layoutVersion = 1
	layoutHash    = "hmac-sha256"
	layoutKey     = "layout/"
)

var errNoLayout = errors.New("no layout")

const cureMissing = "make the journal with onward kafka init"

// missing is an error of looking at a topic, which may be that there is none.
func missing(err error) error {
	if errors.Is(err, segmentio.UnknownTopicOrPartition) {
		return fmt.Errorf("journal: %w; %s", err, cureMissing)
	}
	return fmt.Errorf("journal: %w", err)
}

// A layoutName tells one layout from another, and nothing of its key.
type layoutName [8]byte

func nameOf(l journal.Layout) (n layoutName) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %x", l.Partitions, l.Hash, l.Key))
	copy(n[:], sum[:])
	return n
}

func (n layoutName) String() string { return hex.EncodeToString(n[:]) }

// firstLayout writes a layout and returns the one that counts. It refuses where there are records: they were written under another one.
func firstLayout(ctx context.Context, c *kafka.Client, topics Topics, partitions int) (journal.Layout, error) {
	for _, name := range []string{topics.Journal, topics.Snapshots} {
		topic, err := c.Topic(ctx, name)
		if err != nil {
			return journal.Layout{}, err
		}
		for p := range topic.Partitions {
			_, last, err := c.Range(ctx, name, p)
			if err != nil {
				return journal.Layout{}, err
			}
			if last == 0 {
				continue
			}
			if l, err := readLayout(ctx, c, topics.Meta); !errors.Is(err, errNoLayout) {
				return l, err // Another one has written it meanwhile, and routers have begun.
			}
			return journal.Layout{}, fmt.Errorf("%w: topic %q has records, and their layout is gone from topic %q: run ids follow from its key; bring that topic back, or %s",
				journal.ErrLayout, name, topics.Meta, anew)
		}
	}
	if err := writeLayout(ctx, c, topics.Meta, partitions); err != nil {
		return journal.Layout{}, err
	}
	return readLayout(ctx, c, topics.Meta)
}

// anew is the cure of last resort.
const anew = "to begin without what was in them, delete the journal's three topics and its consumer group and run onward kafka init"

// writeLayout adds a layout under a key of its own: compaction keeps all of them, and the first in the log counts.
func writeLayout(ctx context.Context, c *kafka.Client, topic string, partitions int) error {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	value, err := json.Marshal(layoutDoc{layoutVersion, partitions, layoutHash, hex.EncodeToString(key[:])})
	if err != nil {
		return err
	}
	p := c.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	_, err = p.Write(ctx, topic, 0, kafka.Record{Key: []byte(layoutKey + rand.Text()), Value: value})
	return err
}

// readLayout returns the first layout of the log; what is none is passed over.
func readLayout(ctx context.Context, c *kafka.Client, topic string) (journal.Layout, error) {
	first, last, err := c.Range(ctx, topic, 0)
	if err != nil {
		return journal.Layout{}, missing(err)
	}
	for at := first; at < last; {
		f, err := c.Fetch(ctx, kafka.Fetch{Topic: topic, Offset: at})
		if err != nil {
			return journal.Layout{}, err
		}
		for i := range f.Records {
			if l, err := parseLayout(topic, &f.Records[i]); !errors.Is(err, errNoLayout) {
				return l, err
			}
		}
		at = f.Next
	}
	return journal.Layout{}, fmt.Errorf("journal: topic %q: %w; %s", topic, errNoLayout, cureMissing)
}

func parseLayout(topic string, r *kafka.Record) (journal.Layout, error) {
	var doc layoutDoc
	if !bytes.HasPrefix(r.Key, []byte(layoutKey)) || json.Unmarshal(r.Value, &doc) != nil {
		return journal.Layout{}, errNoLayout
	}
	if doc.Version > layoutVersion {
		return journal.Layout{}, fmt.Errorf("journal: topic %q: layout version %d: %w", topic, doc.Version, journal.ErrNewer)
	}
	l := journal.Layout{Version: doc.Version, Partitions: doc.Partitions, Hash: doc.Hash}
	key, err := hex.DecodeString(doc.Key)
	if err != nil || len(key) != len(l.Key) || doc.Hash != layoutHash || doc.Partitions < 1 {
		return journal.Layout{}, errNoLayout
	}
	copy(l.Key[:], key)
	return l, nil
}

func maxMessage(ctx context.Context, c *kafka.Client, topic string) (int, error) {
	s, err := c.TopicSettings(ctx, topic, "max.message.bytes")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s["max.message.bytes"])
	if err != nil {
		return 0, fmt.Errorf("journal: topic %q: max.message.bytes is %q", topic, s["max.message.bytes"])
	}
	return n, nil
}

// A Problem is a setting of the cluster that is not as it should be.
type Problem struct {
	Topic string `json:"topic"`
	What  string `json:"what"`
	Cure  string `json:"cure"`
	// Loses says that what was acknowledged can be lost: the journal does not open.
	Loses bool `json:"loses"`
}

// String returns topic: what; cure.
func (p Problem) String() string { return fmt.Sprintf("topic %q: %s; %s", p.Topic, p.What, p.Cure) }

// Check looks at the settings of a journal's topics.
func Check(ctx context.Context, c *kafka.Client, prefix string) ([]Problem, error) {
	topics := TopicsOf(prefix)
	var out []Problem
	for _, name := range []string{topics.Journal, topics.Snapshots, topics.Meta} {
		t, err := c.Topic(ctx, name)
		if err != nil {
			return out, missing(err)
		}
		s, err := c.TopicSettings(ctx, name)
		if err != nil {
			return out, err
		}
		out = append(out, topics.Judge(name, s)...)
		if n, err := strconv.Atoi(s["min.insync.replicas"]); err == nil && n < 2 {
			what := fmt.Sprintf("min.insync.replicas is %d with %d copies: a record is acknowledged when one broker has it", n, t.Replicas)
			out = append(out, Problem{name, what, "for more than one machine, use 3 copies and min.insync.replicas=2", false})
		}
	}
	return out, nil
}

// Judge compares the settings of one of the journal's topics with what it needs, whatever the number of copies.
func (t Topics) Judge(name string, settings map[string]string) []Problem {
	var out []Problem
	alter := func(key, value string) string {
		return fmt.Sprintf("set it: kafka-configs.sh --alter --topic %s --add-config %s=%s", name, key, value)
	}
	is := func(key, want, why string, loses bool) {
		if got := settings[key]; got != want {
			out = append(out, Problem{name, fmt.Sprintf("%s is %s, and not %s: %s", key, got, want, why), alter(key, want), loses})
		}
	}
	is("message.timestamp.type", "LogAppendTime", "timers would go by the clocks of those who write", name != t.Meta)
	is("unclean.leader.election.enable", "false", "a copy that lacks acknowledged records could become the leader", true)
	if name == t.Meta {
		is("cleanup.policy", "compact", "the layout could be deleted", true)
	} else {
		is("cleanup.policy", "delete", "compaction would remove records that are needed", true)
		is("retention.ms", "-1", "records would be deleted before a snapshot covers them", true)
		is("retention.bytes", "-1", "records would be deleted before a snapshot covers them", true)
		if n, err := strconv.Atoi(settings["max.message.bytes"]); err == nil && n < MinMessageBytes {
			out = append(out, Problem{name, fmt.Sprintf("max.message.bytes is %d, below %d", n, MinMessageBytes), alter("max.message.bytes", strconv.Itoa(16<<20)), true})
		}
	}
	return out
}
