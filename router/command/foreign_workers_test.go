package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/onward-router/onward/config/tooltest"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (g *foreign) bootstrap() string { return strings.Join(g.brokers.Brokers(), ",") }

// keep runs a worker until the test ends, and hands over the lines that it prints. One that ends before ends the test.
func (g *foreign) keep(x *tooltest.Tool, args []string, each func(line string) error) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.ctx)
	c := x.Command(ctx, args...)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		g.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if err := each(lines.Text()); err != nil && ctx.Err() == nil {
				g.t.Errorf("%q: %v", lines.Text(), err)
				g.giveUp()
			}
		}
		if err := errors.Join(lines.Err(), c.Wait()); ctx.Err() == nil {
			g.t.Errorf("%q has ended: %v: %s", args, err, &said)
			g.giveUp()
		}
	})
	g.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// workPython has the price of a part: the example's worker.
func (g *foreign) workPython(python *tooltest.Tool) {
	args := []string{"testdata/foreign/price.py", "../../deploy/examples/05-kafka", g.bootstrap(), g.prefix + ".done", g.topic("price", "binary"), g.topic("price", "structured")}
	g.keep(python, args, func(line string) error { return errors.New("a worker that has nothing to say") })
}

// workKcat has the label of a part.
func (g *foreign) workKcat() {
	const format = `%t\t%k\t%h\t%s\n` // topic, key, headers with commas between them, value
	args := []string{"-b", g.bootstrap(), "-G", g.prefix + ".label", "-X", "auto.offset.reset=earliest", "-q", "-u", "-f", format, g.topic("label", "binary"), g.topic("label", "structured")}
	g.keep(g.kcat, args, func(line string) error {
		f := strings.SplitN(line, "\t", 4)
		if len(f) != 4 {
			return errors.New("that is no message")
		}
		m := message{Topic: f[0], Key: f[1], Headers: make(map[string]string), Value: f[3]}
		for h := range strings.SplitSeq(f[2], ",") {
			name, v, _ := strings.Cut(h, "=")
			m.Headers[name] = v
		}
		g.mu.Lock()
		g.printed = append(g.printed, m)
		g.mu.Unlock()
		answer, err := g.answer(m, func(data []byte) (any, error) {
			var p part
			err := json.Unmarshal(data, &p)
			p.Label = fmt.Sprint("part ", p.N)
			return p, err
		})
		if err != nil {
			return err
		}
		return g.produceKcat(answer)
	})
}

// workGo has the invoice of an order. It answers everything twice.
func (g *foreign) workGo() {
	worker, err := kgo.NewClient(kgo.SeedBrokers(g.brokers.Brokers()...), kgo.ConsumerGroup(g.prefix+".invoice"), kgo.ConsumeTopics(g.topic("invoice", "binary"), g.topic("invoice", "structured")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		g.t.Fatal(err)
	}
	invoice := func(data []byte) (any, error) {
		var in struct{ Parts []part }
		var out invoice
		err := json.Unmarshal(data, &in)
		if err == nil {
			err = json.Unmarshal(data, &out)
		}
		for _, p := range in.Parts {
			out.Total += p.Price
			out.Labels = append(out.Labels, p.Label)
		}
		return out, err
	}
	ctx, cancel := context.WithCancel(g.ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			fetched := worker.PollFetches(ctx)
			err := fetched.Err()
			for _, r := range fetched.Records() {
				answer, e := g.answer(messageOf(r), invoice)
				if e == nil {
					e = errors.Join(g.produceGo(answer), g.produceGo(answer))
				}
				err = errors.Join(err, e)
			}
			if err != nil && ctx.Err() == nil {
				g.t.Error(err)
				g.giveUp()
			}
		}
	})
	g.t.Cleanup(func() {
		cancel()
		running.Wait()
		worker.Close()
	})
}

// A part is what price, label and invoice say of one part of an order.
type part struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	N        int    `json:"n"`
	Price    int    `json:"price"`
	Label    string `json:"label"`
}

type invoice struct {
	Order    string   `json:"order"`
	Customer string   `json:"customer"`
	Total    int      `json:"total"`
	Labels   []string `json:"labels"`
}

// answer makes an invocation's completion, in the mode of the invocation.
func (g *foreign) answer(invocation message, function func(data []byte) (any, error)) (message, error) {
	attributes, data, err := invocation.decode()
	if err != nil {
		return message{}, err
	}
	result, err := function([]byte(data))
	if err != nil {
		return message{}, err
	}
	out, err := json.Marshal(result)
	if err != nil {
		return message{}, err
	}
	return encode(g.prefix+".done", invocation.mode(), map[string]string{
		"specversion": "1.0", "id": "done-" + attributes["id"], "source": "/functions/" + attributes["subject"], "type": "dev.onward.function.succeeded", "causationid": attributes["id"],
	}, string(out)), nil
}

func (g *foreign) produceKcat(m message) error {
	args := []string{"-P", "-b", g.bootstrap(), "-t", m.Topic, "-X", "linger.ms=0"}
	if m.Key != "" {
		args = append(args, "-k", m.Key)
	}
	for _, name := range sorted(m.Headers) {
		args = append(args, "-H", name+"="+m.Headers[name])
	}
	c := g.kcat.Command(g.ctx, args...)
	c.Stdin = strings.NewReader(m.Value)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("kcat: %w: %s", err, out)
	}
	return nil
}

func (g *foreign) producePython(python *tooltest.Tool, list ...message) error {
	var lines bytes.Buffer
	for _, m := range list {
		if err := json.NewEncoder(&lines).Encode(m); err != nil {
			return err
		}
	}
	c := python.Command(g.ctx, "testdata/foreign/produce.py", g.bootstrap())
	c.Stdin = &lines
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("confluent_kafka: %w: %s", err, out)
	}
	return nil
}

func (g *foreign) produceGo(m message) error {
	r := &kgo.Record{Topic: m.Topic, Key: []byte(m.Key), Value: []byte(m.Value)}
	for _, name := range sorted(m.Headers) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(m.Headers[name])})
	}
	return g.producer.ProduceSync(g.ctx, r).FirstErr()
}
