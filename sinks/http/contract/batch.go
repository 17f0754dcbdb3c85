package contract

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
)

// An Asked is one event of a batch that was sent.
type Asked struct {
	ID     string
	Invoke bool
}

// ReadBatch makes results of the answer to a batch, one for each that was asked: a batch in which each answer has the invocation's id as its causationid, in any
// order. What it does not tell of is sent again, for it may not have been done. A status of failure, and what is no batch, is the answer to each.
func (c *Contract) ReadBatch(a *Answer, asked []Asked, fail lang.Expr) []sinks.Result {
	out := make([]sinks.Result, len(asked))
	all := func(r sinks.Result) []sinks.Result {
		for i := range out {
			out[i] = r
			if !asked[i].Invoke && r.Verdict == sinks.Completed && r.Completion.Err == nil {
				out[i] = sinks.Accept()
			}
		}
		return out
	}
	if a.Code/100 != 2 || a.Code == http.StatusAccepted {
		return all(c.Read(a, true, lang.Expr{}))
	}
	head, err := envelope.FromHTTP(a.Header)
	if err != nil || !head.IsBatch() {
		if len(a.Body) > 0 || asksAny(asked) {
			why := "it is no batch: " + a.message(a.Body)
			if text := bytes.TrimSpace(a.Body); len(text) > 0 && text[0] == '[' {
				why = fmt.Sprintf("its Content-Type %.100q is not application/cloudevents-batch+json, a batch's", a.Header.Get("Content-Type"))
			}
			return all(noBatch(a, why))
		}
		return all(sinks.Accept())
	}
	at := make(map[string]int, len(asked))
	for i, x := range asked {
		at[x.ID] = i
	}
	answers, odd, why := 0, 0, error(nil)
	if err := head.Each(a.Body, envelope.Limits{Event: MaxResponse, Batch: MaxResponse}, func(e *event.Event, err error) {
		if answers++; err != nil {
			odd++
			if why == nil {
				why = err
			}
			return
		}
		if k, is := at[envelope.Extension(e, "causationid")]; is && out[k].Verdict == 0 {
			out[k] = a.one(e, fail)
		}
	}); err != nil {
		return all(noBatch(a, err.Error()))
	}
	for i := range out {
		switch {
		case !asked[i].Invoke:
			out[i] = sinks.Accept()
		case out[i].Verdict == 0:
			what := fmt.Sprintf("the batch of %d answers has none whose causationid is its id", answers)
			if odd > 0 {
				what += fmt.Sprintf("; %d of them are no events: %v", odd, why)
			}
			out[i] = sinks.Again(0, &sinks.Error{Type: "batch_unanswered", Message: what, Class: "platform"})
			out[i].Heard = true
		}
	}
	return out
}

func asksAny(asked []Asked) bool {
	for _, x := range asked {
		if x.Invoke {
			return true
		}
	}
	return false
}

// noBatch is the result for each of a batch whose answer is none: its function does not know batches, and whatever it has done is not told.
func noBatch(a *Answer, why string) sinks.Result {
	return sinks.CompleteError(&sinks.Error{Type: "no_batch", Message: fmt.Sprintf("a batch was answered by status %d, and %s; have the function answer with a batch, or take batch: out", a.Code, why), Class: "function"})
}

// one makes a result of one answer of a batch.
func (a *Answer) one(e *event.Event, fail lang.Expr) sinks.Result {
	if err := envelope.Spoiled(e); err != nil {
		return unread(err)
	}
	v, err := envelope.Value(e)
	if err != nil {
		return unread(err)
	}
	answer := envelope.Answer{Type: e.Type(), Value: v}
	if !fail.IsZero() && !envelope.IsCompletion(e.Type()) {
		return a.byRule(fail, answer, nil)
	}
	return outcome(answer)
}
