package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/onward-router/onward/config/kafka"
	journalkafka "github.com/onward-router/onward/router/journal/kafka"
	segmentio "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// What a journal needs of a cluster.
const (
	kafkaWithin      = 30 * time.Second
	minRetention     = 7 * 24 * time.Hour // of a group's positions while nobody is in it
	clockSlack       = 2 * time.Second
	clockPartitions  = 32 // whose last record is looked at
	fetchVersionUsed = 11
)

// A cluster is what one look at it shows; what follows from it is said line by line.
type cluster struct {
	d       *doctor
	c       *kafka.Client
	names   journalkafka.Topics
	brokers []segmentio.Broker
	topics  map[string]segmentio.Topic
}

// checkKafka looks at the cluster of the journal. It reads only.
func (d *doctor) checkKafka(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, kafkaWithin)
	defer cancel()
	c, err := kafka.Open(&d.s.Kafka, "onward-doctor", kafka.Limits{Request: 5 * time.Second, Dial: 3 * time.Second, Unknown: 100 * time.Millisecond})
	if err != nil {
		d.fail("kafka", "", "%v", err)
		return
	}
	defer c.Close()
	k := &cluster{d: d, c: c, names: journalkafka.TopicsOf(d.s.Prefix), topics: make(map[string]segmentio.Topic)}
	if !k.look(ctx) {
		return
	}
	k.versions(ctx)
	journal, snapshots := k.names.Journal, k.names.Snapshots
	there := true
	for _, name := range []string{journal, snapshots, k.names.Meta} {
		there = k.topic(ctx, name) && there
	}
	k.retention(ctx)
	if !there {
		return
	}
	if n, m := len(k.topics[journal].Partitions), len(k.topics[snapshots].Partitions); n != m {
		d.fail("kafka", "make the journal anew under another kafka.prefix", "topic %q has %d partitions and %q has %d", journal, n, snapshots, m)
	}
	k.group(ctx, journal)
	k.clock(ctx, journal)
}

// look finds the brokers and the topics; false when there is nothing to go on with.
func (k *cluster) look(ctx context.Context) bool {
	reached := 0
	for i, err := range dial(ctx, k.c.Brokers, new(net.Dialer).DialContext) {
		if err == nil {
			reached++
			continue
		}
		k.d.warn("kafka", "correct kafka.brokers, or start it", "broker %s: %v", k.c.Brokers[i], err)
	}
	if reached == 0 {
		k.d.fail("kafka", "correct kafka.brokers, or start the cluster", "none of %d brokers takes connections", len(k.c.Brokers))
		return false
	}
	trying, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// The client's own call knows why a cluster refuses, and what to do about it.
	if _, err := k.c.Topics(trying); err != nil {
		cure := ""
		if errors.Is(err, io.ErrUnexpectedEOF) && k.d.s.Kafka.SASL != nil {
			cure = "some brokers hang up instead of saying no: check kafka.sasl.*, and the password that it names"
		}
		k.d.fail("kafka", cure, "%v", err)
		return false
	}
	res, err := k.c.API.Metadata(ctx, &segmentio.MetadataRequest{})
	if err != nil {
		k.d.fail("kafka", "", "%v", err)
		return false
	}
	k.brokers = res.Brokers
	for _, t := range res.Topics {
		k.topics[t.Name] = t
	}
	addresses := make([]string, len(k.brokers))
	for i, b := range k.brokers {
		addresses[i] = net.JoinHostPort(b.Host, strconv.Itoa(b.Port))
	}
	away := 0
	for i, err := range dial(ctx, addresses, new(net.Dialer).DialContext) {
		if err != nil {
			away++
			k.d.fail("kafka", "correct the broker's advertised.listeners, or let this machine reach it", "broker %d says that it is at %s: %v", k.brokers[i].ID, addresses[i], err)
		}
	}
	if away == 0 {
		k.d.ok("kafka", "%d brokers, all reached at the addresses that they say", len(k.brokers))
	}
	return true
}

// used are the requests that the journal makes.
var used = []protocol.ApiKey{
	protocol.Produce, protocol.Fetch, protocol.ListOffsets, protocol.Metadata, protocol.OffsetCommit, protocol.OffsetFetch, protocol.FindCoordinator,
	protocol.JoinGroup, protocol.Heartbeat, protocol.LeaveGroup, protocol.SyncGroup, protocol.DescribeGroups, protocol.CreateTopics,
	protocol.DeleteRecords, protocol.InitProducerId, protocol.DescribeConfigs,
}

// versions looks whether the brokers and the router speak versions of the protocol in common.
func (k *cluster) versions(ctx context.Context) {
	for _, b := range k.brokers {
		res, err := k.c.API.ApiVersions(ctx, &segmentio.ApiVersionsRequest{Addr: segmentio.TCP(net.JoinHostPort(b.Host, strconv.Itoa(b.Port)))})
		if err == nil {
			err = res.Error
		}
		if err != nil {
			k.d.warn("kafka", "", "broker %d does not say what it speaks: %v", b.ID, err)
			return
		}
		speaks := make(map[protocol.ApiKey]segmentio.ApiVersionsResponseApiKey, len(res.ApiKeys))
		for _, x := range res.ApiKeys {
			speaks[protocol.ApiKey(x.ApiKey)] = x
		}
		for _, key := range used {
			x, ok := speaks[key]
			least, most := int(key.MinVersion()), int(key.MaxVersion())
			if key == protocol.Fetch {
				least, most = fetchVersionUsed, fetchVersionUsed
			}
			if !ok || x.MaxVersion < least || x.MinVersion > most {
				k.d.fail("kafka", "the router needs Kafka 2.3 or later", "broker %d does not speak %s in versions %d to %d", b.ID, key, least, most)
				return
			}
		}
	}
	k.d.ok("kafka", "all brokers speak what the router speaks")
}

// topic looks at a topic of the journal: whether it is there, what it could lose, how many copies of it there are.
func (k *cluster) topic(ctx context.Context, name string) bool {
	t, ok := k.topics[name]
	if !ok || t.Error != nil || len(t.Partitions) == 0 {
		if _, err := k.c.Topic(ctx, name); errors.Is(err, segmentio.TopicAuthorizationFailed) {
			k.d.fail("kafka", "", "%v", err) // It may be there, unseen.
			return false
		}
		k.d.fail("kafka", "make the journal with onward kafka init, or correct kafka.prefix", "there is no topic %q", name)
		return false
	}
	s, err := k.c.TopicSettings(ctx, name)
	if err != nil {
		k.d.warn("kafka", "", "%v", err)
		return true
	}
	before := len(k.d.lines)
	for _, p := range k.names.Judge(name, s) {
		say := k.d.warn
		if p.Loses {
			say = k.d.fail
		}
		say("kafka", p.Cure, "topic %q: %s", p.Topic, p.What)
	}
	k.copies(t, s["min.insync.replicas"])
	if len(k.d.lines) == before {
		k.d.ok("kafka", "topic %q: %d partitions, %d copies, min.insync.replicas %s", name, len(t.Partitions), len(t.Partitions[0].Replicas), s["min.insync.replicas"])
	}
	return true
}

// copies compares a topic's copies with the brokers, and with what a write waits for.
func (k *cluster) copies(t segmentio.Topic, minInsync string) {
	least, behind, headless := len(k.brokers), 0, 0
	for _, p := range t.Partitions {
		least = min(least, len(p.Replicas))
		if len(p.Isr) < len(p.Replicas) {
			behind++
		}
		if p.Error != nil {
			headless++
		}
	}
	insync, err := strconv.Atoi(minInsync)
	switch {
	case err != nil:
	case insync > least:
		k.d.fail("kafka", "lower min.insync.replicas, or add copies", "topic %q: min.insync.replicas is %d with %d copies: nothing can be written", t.Name, insync, least)
	case insync < 2 && len(k.brokers) > 1:
		k.d.warn("kafka", "use 3 copies and min.insync.replicas=2", "topic %q: min.insync.replicas is %d: a record is acknowledged when one broker has it", t.Name, insync)
	case least < 2:
		k.d.warn("kafka", "for more than a trial, use 3 brokers, 3 copies and min.insync.replicas=2", "topic %q has one copy: what it holds is lost with its broker", t.Name)
	case insync == least:
		k.d.warn("kafka", "use a copy more than min.insync.replicas", "topic %q: all of %d copies have to be there for a write: one broker away stops the routers", t.Name, least)
	}
	if headless > 0 {
		k.d.fail("kafka", "see the brokers", "topic %q: %d of %d partitions are not served", t.Name, headless, len(t.Partitions))
	}
	if behind > 0 {
		k.d.warn("kafka", "see the brokers", "topic %q: %d of %d partitions have copies that are behind", t.Name, behind, len(t.Partitions))
	}
}

// retention looks how long the brokers keep a group's positions while nobody is in it.
func (k *cluster) retention(ctx context.Context) {
	const key = "offsets.retention.minutes"
	id := strconv.Itoa(k.brokers[0].ID)
	res, err := k.c.API.DescribeConfigs(ctx, &segmentio.DescribeConfigsRequest{Resources: []segmentio.DescribeConfigRequestResource{
		{ResourceType: segmentio.ResourceTypeBroker, ResourceName: id, ConfigNames: []string{key}},
	}})
	if err == nil && len(res.Resources) == 1 {
		err = res.Resources[0].Error
	}
	if err != nil {
		k.d.warn("kafka", "give this user the right DescribeConfigs on the cluster (ACL), or look yourself", "%s of broker %s cannot be read: %v", key, id, err)
		return
	}
	for _, r := range res.Resources {
		for _, e := range r.ConfigEntries {
			minutes, err := strconv.Atoi(e.ConfigValue)
			if e.ConfigName != key || err != nil {
				continue
			}
			keeps := time.Duration(minutes) * time.Minute
			if keeps < minRetention {
				k.d.warn("kafka", "raise "+key+" on the brokers", "positions are forgotten when no router runs for %s (%s): the routers then begin at the newest snapshot", keeps, key)
				return
			}
			k.d.ok("kafka", "positions are kept for %.1f days without a router (%s)", keeps.Hours()/24, key)
		}
	}
}

// group looks who is in the group, and what waits to be folded.
func (k *cluster) group(ctx context.Context, journal string) {
	g, err := k.members(ctx)
	var lag int64
	if err != nil {
		err = kafka.Judge(fmt.Sprintf("look at group %q", k.d.s.Prefix), err)
	} else {
		lag, err = k.lag(ctx, journal, g.GroupState == groupUnknown)
	}
	if err != nil {
		say := k.d.warn
		if errors.Is(err, segmentio.GroupAuthorizationFailed) {
			say = k.d.fail
		}
		say("kafka", "", "%v", err)
		return
	}
	found := fmt.Sprintf("group %q is %s: %d routers, %d records to fold", k.d.s.Prefix, g.GroupState, len(g.Members), lag)
	if len(g.Members) == 0 && lag > 0 {
		k.d.warn("kafka", "start a router with onward serve --journal kafka", "%s, and nobody does", found)
		return
	}
	k.d.ok("kafka", "%s", found)
}

// groupUnknown is the brokers' word for a group that has never been, or has been forgotten.
const groupUnknown = "Dead"

// members describes the group. A cluster that has had no group yet takes a moment to find who is to know.
func (k *cluster) members(ctx context.Context) (g segmentio.DescribeGroupsResponseGroup, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		res, err := k.c.API.DescribeGroups(ctx, &segmentio.DescribeGroupsRequest{GroupIDs: []string{k.d.s.Prefix}})
		if err == nil && len(res.Groups) == 1 {
			g, err = res.Groups[0], res.Groups[0].Error
		}
		var code segmentio.Error
		switch {
		case errors.Is(err, segmentio.GroupIdNotFound):
			g.GroupState = groupUnknown
			return g, nil
		case err == nil || !errors.As(err, &code) || !code.Temporary() && code != segmentio.NotCoordinatorForGroup:
			return g, err
		}
		select {
		case <-ctx.Done():
			return g, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lag is how many records lie behind the committed positions.
func (k *cluster) lag(ctx context.Context, journal string, unknown bool) (lag int64, err error) {
	partitions := make([]int, len(k.topics[journal].Partitions))
	for i := range partitions {
		partitions[i] = i
	}
	var committed map[int]kafka.Commit
	if !unknown {
		if committed, err = k.c.Committed(ctx, k.d.s.Prefix, journal, partitions...); err != nil {
			return 0, err
		}
	}
	for _, p := range partitions {
		first, last, err := k.c.Range(ctx, journal, p)
		if err != nil {
			return 0, err
		}
		lag += last - max(first, committed[p].Offset)
	}
	return lag, nil
}

// clock compares this clock with the times that the brokers gave the newest records. Nothing is written for it: that this clock is ahead cannot be told.
func (k *cluster) clock(ctx context.Context, journal string) {
	var newest time.Time
	for p := range min(len(k.topics[journal].Partitions), clockPartitions) {
		first, last, err := k.c.Range(ctx, journal, p)
		if err != nil {
			k.d.warn("clock", "", "%v", err)
			return
		}
		if first == last {
			continue
		}
		f, err := k.c.Fetch(ctx, kafka.Fetch{Topic: journal, Partition: p, Offset: last - 1, MaxBytes: 1, MaxWait: 100 * time.Millisecond})
		if err != nil {
			k.d.warn("clock", "", "%v", err)
			return
		}
		for _, r := range f.Records {
			if r.Time.After(newest) {
				newest = r.Time
			}
		}
	}
	ahead := time.Until(newest)
	switch {
	case newest.IsZero():
		k.d.ok("clock", "the journal has no record to compare with")
	case ahead > clockSlack:
		k.d.warn("clock", "set the clocks by NTP, here and on the brokers: timers are late by as much", "the journal's newest record is of a time %s ahead of this clock", ahead.Round(time.Millisecond))
	default:
		k.d.ok("clock", "not behind the brokers': the journal's newest record is %s old", (-ahead).Round(time.Millisecond))
	}
}
