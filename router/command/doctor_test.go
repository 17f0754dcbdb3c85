package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/tooltest"
	segmentio "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"
)

// diagnose runs the doctor in a process of its own on a cluster, and returns its lines and whether something failed.
func diagnose(t *testing.T, c *kafkatest.Cluster, args ...string) (lines []diagnosis, failed bool) {
	t.Helper()
	args = append([]string{"doctor", "-o", "json", "--journal", "kafka", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--kafka-brokers", strings.Join(c.Brokers(), ",")}, args...)
	child := exec.Command(os.Args[0], args...)
	child.Env = append(os.Environ(), childVariable+"=1", "SECRET=open-sesame")
	var errs bytes.Buffer
	child.Stderr = &errs
	out, err := child.Output()
	var said struct{ Checks []diagnosis }
	if e := json.Unmarshal(out, &said); e != nil {
		t.Fatalf("%v, %v\n%s%s", err, e, out, &errs)
	}
	lines = said.Checks
	if failed = err != nil; failed != slices.ContainsFunc(lines, func(l diagnosis) bool { return l.Grade == gradeFail }) {
		t.Errorf("%v, and the lines are %v", err, lines)
	}
	if strings.Contains(string(out)+errs.String(), "open-sesame") {
		t.Errorf("a secret is said:\n%s%s", out, &errs)
	}
	return lines, failed
}

func expect(t *testing.T, lines []diagnosis, g grade, check, found string) {
	t.Helper()
	if !slices.ContainsFunc(lines, func(l diagnosis) bool {
		return l.Grade == g && l.Check == check && strings.Contains(l.Found+"; "+l.Cure, found)
	}) {
		t.Errorf("no line is %s %s with %q:\n%v", g, check, found, lines)
	}
}

func deny(t *testing.T, lines []diagnosis, g grade) {
	t.Helper()
	for _, l := range lines {
		if l.Grade == g && l.Check == "kafka" {
			t.Errorf("%s: %s; %s", l.Grade, l.Found, l.Cure)
		}
	}
}

// makeJournal makes the topics as onward kafka init does, with some settings replaced.
func makeJournal(t *testing.T, c *kafkatest.Cluster, prefix string, replace map[string]string) {
	t.Helper()
	for name, policy := range map[string]string{"journal": "delete", "snapshots": "delete", "meta": "compact"} {
		s := map[string]string{
			"cleanup.policy": policy, "min.insync.replicas": "1", "unclean.leader.election.enable": "false", "max.message.bytes": "16777216",
			"message.timestamp.type": "LogAppendTime", "retention.ms": "-1", "retention.bytes": "-1",
		}
		var pairs []string
		for k, v := range s {
			if other := replace[k]; other != "" && name != "meta" {
				v = other
			}
			pairs = append(pairs, k, v)
		}
		partitions := 2
		if name == "meta" {
			partitions = 1
		}
		c.CreateTopic(t, prefix+"."+name, partitions, pairs...)
	}
}

func TestDoctorFindsAWholeJournal(t *testing.T) {
	t.Parallel()
	whole := func(t *testing.T, c *kafkatest.Cluster) {
		t.Helper()
		prefix := "whole-" + strings.ToLower(filepath.Base(t.Name()))
		makeJournal(t, c, prefix, nil)
		lines, failed := diagnose(t, c, "--kafka-prefix", prefix, "--advertise", "127.0.0.1:8080")
		if failed {
			t.Errorf("%v", lines)
		}
		expect(t, lines, gradeOK, "kafka", "1 brokers, all reached")
		expect(t, lines, gradeOK, "kafka", "all brokers speak what the router speaks")
		expect(t, lines, gradeWarn, "kafka", prefix+`.journal" has one copy`)
		expect(t, lines, gradeOK, "kafka", "positions are kept for 7.0 days")
		expect(t, lines, gradeOK, "kafka", `group "`+prefix+`" is Dead: 0 routers, 0 records to fold`)
		expect(t, lines, gradeOK, "clock", "no record to compare with")
		expect(t, lines, gradeWarn, "advertise", "reached from this machine only")

		produce(t, c, prefix+".journal", time.Time{})
		lines, _ = diagnose(t, c, "--kafka-prefix", prefix)
		expect(t, lines, gradeWarn, "kafka", "1 records to fold, and nobody does; start a router")
		expect(t, lines, gradeOK, "clock", "not behind the brokers'")
	}
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		whole(t, kafkatest.Fake(t, 1))
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		whole(t, kafkatest.Start(t, 1))
	})
}

func produce(t *testing.T, c *kafkatest.Cluster, topic string, at time.Time) {
	t.Helper()
	k, err := kafka.Open(&kafka.Cluster{Brokers: c.Brokers()}, "test", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	p := k.NewProducer(kafka.ProducerOptions{})
	defer p.Close()
	if _, err := p.Write(t.Context(), topic, 0, kafka.Record{Value: []byte("x"), Time: at}); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorFindsTopicsThatLose(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 3, kfake.BrokerConfigs(map[string]string{"offsets.retention.minutes": "60", "default.replication.factor": "3"}))
	makeJournal(t, c, "onward", map[string]string{
		"cleanup.policy": "compact", "retention.ms": "604800000", "message.timestamp.type": "CreateTime", "max.message.bytes": "1048588",
		"unclean.leader.election.enable": "true", "min.insync.replicas": "4",
	})
	lines, failed := diagnose(t, c, "--advertise", "0.0.0.0:8080")
	if !failed {
		t.Error("nothing fails")
	}
	for _, found := range []string{
		`topic "onward.journal": cleanup.policy is compact, and not delete`, `topic "onward.snapshots": retention.ms is 604800000, and not -1`,
		"message.timestamp.type is CreateTime, and not LogAppendTime", "max.message.bytes is 1048588", "unclean.leader.election.enable is true",
		"set it: kafka-configs.sh --alter --topic onward.journal --add-config retention.ms=-1", "min.insync.replicas is 4 with 3 copies: nothing can be written",
	} {
		expect(t, lines, gradeFail, "kafka", found)
	}
	expect(t, lines, gradeWarn, "kafka", "positions are forgotten when no router runs for 1h0m0s")
	expect(t, lines, gradeFail, "advertise", "no address that the other routers can reach")
}

func TestDoctorFindsCopies(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 3, kfake.BrokerConfigs(map[string]string{"default.replication.factor": "3"}))
	makeJournal(t, c, "good", map[string]string{"min.insync.replicas": "2"})
	lines, _ := diagnose(t, c, "--kafka-prefix", "good")
	expect(t, lines, gradeOK, "kafka", `topic "good.journal": 2 partitions, 3 copies, min.insync.replicas 2`)
	deny(t, lines, gradeFail)
	makeJournal(t, c, "tight", map[string]string{"min.insync.replicas": "3"})
	lines, _ = diagnose(t, c, "--kafka-prefix", "tight")
	expect(t, lines, gradeWarn, "kafka", "one broker away stops the routers")
}

func TestDoctorMissesTopics(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1)
	lines, _ := diagnose(t, c)
	for _, topic := range []string{"onward.journal", "onward.snapshots", "onward.meta"} {
		expect(t, lines, gradeFail, "kafka", `there is no topic "`+topic+`"; make the journal with onward kafka init`)
	}
}

// TestDoctorLooksForTheDocumentsTopics on the cluster of the settings, and on those that documents name.
func TestDoctorLooksForTheDocumentsTopics(t *testing.T) {
	t.Parallel()
	c, other := kafkatest.Fake(t, 1), kafkatest.Fake(t, 1)
	makeJournal(t, c, "onward", nil)
	c.CreateTopic(t, "in", 3)
	other.CreateTopic(t, "elsewhere", 2)
	doc := filepath.Join(t.TempDir(), "topics.yaml")
	text := fmt.Sprintf(`version: 1
functions:
  there: { kafka: { brokers: [%q], topic: elsewhere } }
  missing: { kafka: { topic: elsewhere } }
  open: { kafka: { topic: "${ event.type }" } }
sources:
  in: { kafka: { topics: [in], group: g } }
  dead: { kafka: { topics: [in], group: g, onInvalid: { deadletter: dead } } }
`, other.Brokers()[0])
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, failed := diagnose(t, c, doc)
	expect(t, lines, gradeOK, "function there", `topic "elsewhere" has 2 partitions`)
	expect(t, lines, gradeFail, "function missing", `look up topic "elsewhere": [3] Unknown Topic Or Partition`)
	expect(t, lines, gradeOK, "function open", "which one it is depends on the event")
	expect(t, lines, gradeOK, "source in", `1 topics, read as group "g": in`)
	expect(t, lines, gradeFail, "source dead", `look up topic "dead"`)
	if !failed {
		t.Error("missing topics fail nothing")
	}
}

func TestDoctorComparesClocks(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1)
	makeJournal(t, c, "onward", nil)
	produce(t, c, "onward.journal", time.Now().Add(time.Hour)) // kfake keeps the producer's time.
	lines, _ := diagnose(t, c)
	expect(t, lines, gradeWarn, "clock", "ahead of this clock; set the clocks by NTP")
}

func TestDoctorAndClustersThatRefuse(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "onward", "right"))
	lines, _ := diagnose(t, c, "--kafka-sasl-mechanism", "plain", "--kafka-sasl-username", "onward", "--kafka-sasl-password-env", "SECRET")
	expect(t, lines, gradeOK, "kafka.sasl", "env SECRET")
	expect(t, lines, gradeFail, "kafka", "hang up instead of saying no: check kafka.sasl.*")
	lines, _ = diagnose(t, c, "--kafka-sasl-mechanism", "plain", "--kafka-sasl-username", "onward", "--kafka-sasl-password-env", "NOWHERE")
	expect(t, lines, gradeFail, "kafka.sasl", `"NOWHERE" is empty or not set`)
	expect(t, lines, gradeFail, "kafka", `"NOWHERE" is empty or not set`)

	away := tooltest.Address()
	d := &doctor{s: config.Settings{Journal: "kafka", Kafka: kafka.Cluster{Brokers: []string{away}}, Prefix: "onward"}}
	d.checkKafka(context.Background())
	expect(t, d.lines, gradeFail, "kafka", "none of 1 brokers takes connections; correct kafka.brokers")
}

// TestProbe: only a router's own words count, whatever else listens there.
func TestProbe(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		code           int
		body, said, is string
	}{
		{200, `{"status":"ready"}`, "ready", ""},
		{503, `{"error":{"code":"unavailable","message":"not ready: partitions are being claimed"}}`, "", "takes no events yet: not ready: partitions"},
		{200, `<html>hello</html>`, "", "200 OK is not a router's answer to /readyz"},
		{404, `{"status":"ready"}`, "", "404 Not Found is not a router's answer"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(x.code)
			_, _ = w.Write([]byte(x.body))
		}))
		said, err := probe(t.Context(), config.Settings{Listen: server.Listener.Addr().String()}, "/readyz")
		if said != x.said || (err == nil) != (x.is == "") || err != nil && !strings.Contains(err.Error(), x.is) {
			t.Errorf("%d %s: %q, %v", x.code, x.body, said, err)
		}
		server.Close()
	}
	for listen, want := range map[string]string{"0.0.0.0:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "[::]:8080": "127.0.0.1:8080", "10.0.0.7:80": "10.0.0.7:80"} {
		if got := local(listen); got != want {
			t.Errorf("local(%q) is %q, not %q", listen, got, want)
		}
	}
}

// TestListenerTakenByAnother: the doctor tells a router from anything else that holds the address.
func TestListenerTakenByAnother(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	d := &doctor{s: config.Settings{Listen: other.Listener.Addr().String()}}
	d.listener(t.Context())
	expect(t, d.lines, gradeFail, "listen", "is taken, and no router answers")
}

func TestDoctorFindsBrokersTooOld(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.MaxVersions(kversion.V2_2_0()))
	lines, _ := diagnose(t, c)
	expect(t, lines, gradeFail, "kafka", "broker 0 does not speak Fetch in versions 11 to 11; the router needs Kafka 2.3 or later")
}

// TestDoctorSeesTheGroup: who is in it, and how far behind the committed positions the journal is.
func TestDoctorSeesTheGroup(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1)
	makeJournal(t, c, "onward", nil)
	for range 3 {
		produce(t, c, "onward.journal", time.Time{})
	}
	group, err := segmentio.NewConsumerGroup(segmentio.ConsumerGroupConfig{ID: "onward", Brokers: c.Brokers(), Topics: []string{"onward.journal"}})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	generation, err := group.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := generation.CommitOffsets(map[string]map[int]int64{"onward.journal": {0: 2}}); err != nil {
		t.Fatal(err)
	}
	lines, _ := diagnose(t, c)
	expect(t, lines, gradeOK, "kafka", `group "onward" is Stable: 1 routers, 1 records to fold`)
}

func TestDoctorMissesABroker(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 3)
	makeJournal(t, c, "onward", nil)
	away := tooltest.Address()
	lines, _ := diagnose(t, c, "--kafka-brokers", c.Brokers()[0]+","+away)
	expect(t, lines, gradeWarn, "kafka", "broker "+away+": connect: connection refused; correct kafka.brokers, or start it")
	expect(t, lines, gradeOK, "kafka", "3 brokers, all reached")
}

// TestOneBrokerIsTooFew: a cluster that has not the brokers for three copies says so with a code, and the command what to write instead.
func TestOneBrokerIsTooFew(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1)
	args := []string{"kafka", "init", "--kafka-brokers", strings.Join(c.Brokers(), ","), "--kafka-prefix", "few"}
	out, err := onwardCommand("", args...).CombinedOutput()
	if text := string(out); err == nil || !strings.Contains(text, "choose a replication factor that the cluster has brokers for: with one broker, onward kafka init --replication 1") {
		t.Errorf("%v, %s", err, text)
	}
	if out, err := onwardCommand("", append(args, "--replication", "1")...).CombinedOutput(); err != nil {
		t.Errorf("%v, %s", err, out)
	}
}
