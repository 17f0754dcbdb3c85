package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// echo admits an event from outside: one that a topic or a webhook brings back.
func (b *bubble) echo(e event.Event) {
	if receipts, err := b.Admit(context.Background(), []event.Event{e}); err != nil || receipts[0].Err != nil {
		b.t.Error(receipts, err)
	}
}

// TestChainsEnd: whatever starts what, one event from outside leads to a bounded number of runs, and then all is quiet; the last ones fail with
// chain_limit, and nothing goes on from them.
func TestChainsEnd(t *testing.T) {
	t.Parallel()
	full := float64(engine.LimitsOf(journal.Level).Fuel)
	loops := map[string]string{
		"a failure that starts itself":           `t: { flow: { function: boom }, onFailure: { trigger: t } }`,
		"a success that starts itself twice":     `t: { flow: { function: ok }, onSuccess: [{ trigger: t }, { trigger: u }] }, u: { onSuccess: [{ trigger: t }, { trigger: u }] }`,
		"two triggers on ends":                   `t: { filters: [{ exact: { type: dev.onward.run.succeeded } }], flow: { function: ok } }, u: { filters: [{ exact: { type: dev.onward.run.succeeded } }], flow: { function: ok } }`,
		"broad filters":                          `t: { filters: [{ not: { exact: { type: never } } }], flow: { function: ok } }, u: { filters: [{ prefix: { source: / } }], flow: { function: ok } }`,
		"by a destination and by filters":        `t: { filters: [{ prefix: { type: dev.onward.run } }], flow: { function: boom }, onFailure: { trigger: t } }`,
		"through a topic":                        `t: { filters: [{ exact: { type: dev.onward.run.succeeded } }], flow: { function: ok }, onSuccess: [{ function: topic }, { function: topic, name: other }] }`,
		"what fails goes through a topic":        `t: { filters: [{ prefix: { type: dev.onward.run. } }], flow: { function: boom }, onFailure: [{ function: topic }] }`,
		"completions that meet a broad filter":   `t: { filters: [{ not: { exact: { type: never } } }], flow: { function: later } }`,
		"what a function publishes, by its name": `t: { filters: [{ exact: { type: news } }], flow: { function: reporter } }`,
	}
	for name, list := range loops {
		doc := `
version: 1
functions: { ok: { far: x }, boom: { far: x }, topic: { far: x }, later: { far: x }, reporter: { far: x } }
triggers: { ` + list + ` }
`
		t.Run(name, func(t *testing.T) {
			inBubble(t, doc, func(t *testing.T, b *bubble) {
				b.far.behave = func(s *sent) {
					switch s.Function {
					case "ok":
						s.succeed()
					case "boom":
						s.end(sinks.CompleteError(&sinks.Error{Type: "boom", Message: "no", Class: "function"}))
					case "topic":
						go b.echo(s.Event().Clone())
						s.end(sinks.Accept())
					case "later", "reporter":
						e := event.New()
						e.SetID("of " + s.id)
						e.SetSource("/functions")
						e.SetType("dev.onward.function.succeeded")
						if s.Function == "reporter" {
							e.SetType("news")
							s.succeed()
						} else {
							s.end(sinks.Accept())
						}
						e.SetExtension("causationid", s.id) // That is all that a function has to know.
						go b.echo(e)
					}
				}
				b.start("t", "1", `{"x":1}`)
				for was, quiet := -1.0, 0; quiet < 3; {
					time.Sleep(time.Minute)
					settle()
					n, _ := b.metric("onward_records_total", "kind=start", "reason=applied")
					if n > 8*full {
						t.Fatalf("one event has started %v runs", n)
					}
					if quiet++; n != was {
						was, quiet = n, 0
					}
				}
				n, _ := b.metric("onward_records_total", "kind=start", "reason=applied")
				t.Logf("%v runs", n)
				limited, _ := b.metric("onward_runs_ended_total", "state=chain_limit")
				open, _ := b.metric("onward_runs")
				if open != 0 || limited == 0 || n-limited > full || n < 3 {
					t.Errorf("%v runs were started, %v of them without fuel, and %v are open; the fuel is %v", n, limited, open, full)
				}
			})
		})
	}
}

const destinationDocument = `
version: 1
functions:
  work: { far: x }
  alert: { far: x, retry: { attempts: 5, backoff: 1s, jitter: 0 } }
  once: { far: x }
triggers:
  a: { flow: { function: work }, onSuccess: [{ far: topic }, { function: alert }] }
  b: { filters: [{ exact: { type: dev.onward.run.succeeded, source: /onward/a } }], flow: { function: work } }
  dead: { flow: { function: work }, onSuccess: [{ function: once }, { name: never, far: x, when: "${ output.none }" }] }
  skips: { flow: { function: work, when: "${ data > 10 }" }, onSuccess: { function: alert }, onFailure: { function: alert } }
`

// TestTheEndIsOneEvent: it arrives past the filters and from a topic under one id, so that who takes it both ways takes it once.
func TestTheEndIsOneEvent(t *testing.T) {
	inBubble(t, destinationDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			if strings.HasPrefix(s.Function, "a.onSuccess.") {
				go b.echo(s.Event().Clone())
				s.end(sinks.Accept())
				return
			}
			s.succeed()
		}
		run := b.start("a", "1", "7")
		b.wait(run)
		rest()
		time.Sleep(time.Second)
		settle()
		want := run.String() + "~end"
		for _, s := range b.far.sent("") {
			if !s.Invoke && (s.id != want || s.Event().Source() != "/onward/a" || s.Event().Time().IsZero()) {
				t.Errorf("the end arrives at %s as %s of %s", s.Function, s.id, s.Event().Source())
			}
		}
		if n, _ := b.metric("onward_runs_ended_total", "state=succeeded"); n != 2 {
			t.Errorf("%v runs have ended; want a's and one of b", n)
		}
	})
}

// TestDestinationsAreTriedAgain as their function says, under one id, and what is given up is said and counted.
func TestDestinationsAreTriedAgain(t *testing.T) {
	inBubble(t, destinationDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) {
			switch tries := len(b.far.sent(s.Function)); {
			case s.Function == "work" || s.Function == "alert" && tries == 4:
				s.succeed()
			case s.Function == "once" || s.Function == "alert":
				s.end(sinks.CompleteError(&sinks.Error{Type: "status", Message: "500", Class: "function"}))
			default:
				s.end(sinks.Accept())
			}
		}
		run := b.start("a", "1", "7")
		b.wait(run)
		rest()
		time.Sleep(2 * time.Second)
		settle()
		if lines, err := b.Explain(context.Background(), run); err != nil || !strings.Contains(strings.Join(lines, "\n"), "alert: try 2 failed (status: 500); the next is due in") {
			t.Errorf("%q, %v", lines, err)
		}
		time.Sleep(time.Minute)
		settle()
		ids := make(map[string]bool)
		alerts := b.far.sent("alert")
		for _, s := range alerts {
			ids[s.id] = true
		}
		if len(alerts) != 4 || len(ids) != 1 {
			t.Errorf("%d tries under the ids %v", len(alerts), ids)
		}
		b.counted(0, "onward_dead_letters_total")
		b.wait(b.start("dead", "2", "7"))
		time.Sleep(time.Minute)
		settle()
		b.counted(2, "onward_dead_letters_total")
		b.counted(0, "onward_runs")
	})
}

// TestSkippedRunsTellNobody: a run that its own condition skips is an ending of its own.
func TestSkippedRunsTellNobody(t *testing.T) {
	inBubble(t, destinationDocument, func(t *testing.T, b *bubble) {
		b.far.behave = func(s *sent) { s.succeed() }
		f := b.wait(b.start("skips", "1", "7"))
		rest()
		if f.State != "skipped" || f.EventType != "dev.onward.run.skipped" || f.Error != nil {
			t.Errorf("%+v", f)
		}
		if n := len(b.far.sent("")); n != 0 {
			t.Errorf("%d deliveries", n)
		}
		b.counted(1, "onward_runs_ended_total", "state=skipped")
		if f := b.wait(b.start("skips", "2", "70")); f.State != "succeeded" {
			t.Errorf("%+v", f)
		}
		rest()
		time.Sleep(time.Second)
		settle()
		if n := len(b.far.sent("alert")); n != 1 {
			t.Errorf("%d alerts: %s", n, fmt.Sprint(b.far.sent("")))
		}
	})
}

// TestDestinationsKeepTheirNames: a destination that is taken out under an open run does not give its event to the one that stood behind it.
func TestDestinationsKeepTheirNames(t *testing.T) {
	const first, second = `{ far: first }`, `{ far: second }`
	document := func(destinations string) string {
		return "\nversion: 1\nfunctions: { work: { far: x, timeout: 0s } }\ntriggers: { t: { flow: { function: work }, onSuccess: [" + destinations + "] } }\n"
	}
	inBubble(t, document(first+","+second), func(t *testing.T, b *bubble) {
		run := b.start("t", "1", "7")
		if err := b.Reload(parse(t, b.reg, document(second))); err != nil {
			t.Fatal(err)
		}
		b.far.open("work")[0].succeed()
		b.wait(run)
		rest()
		time.Sleep(time.Second)
		settle()
		var told []string
		for _, s := range b.far.sent("") {
			if s.Function != "work" {
				told = append(told, s.Function)
				s.end(sinks.Accept())
			}
		}
		want := "t.onSuccess." + parse(t, b.reg, document(second)).Triggers["t"].Definition.OnSuccess[0].Name
		if len(told) != 1 || told[0] != want {
			t.Errorf("told are %q, want %q once: the other has gone, and its event waits", told, want)
		}
		rest()
		if lines, err := b.Explain(context.Background(), run); err != nil || len(lines) != 2 {
			t.Errorf("%q, %v", lines, err)
		}
	})
}
