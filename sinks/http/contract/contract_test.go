package contract

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cockroachdb/datadriven"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/sinktest"
)

func invocation(ctx context.Context) *sinks.Delivery {
	e := event.New()
	e.SetID("run~path.1")
	e.SetSource("/onward/t")
	e.SetType("dev.onward.function.invoke")
	e.SetSubject("f")
	e.SetExtension("causationid", "c1")
	e.SetTime(time.Unix(1e9, 5e6))
	_ = e.SetData(event.ApplicationJSON, map[string]int{"n": 1})
	return &sinks.Delivery{Context: ctx, Outgoing: envelope.Made(&e), Function: "f", Contract: "http", Invoke: true, Attempt: 1}
}

func judge(d *sinks.Delivery, code int, h http.Header, body []byte) sinks.Result {
	return Named(d.Contract).Read(&Answer{Code: code, Header: h, Body: body}, d.Invoke, lang.Expr{})
}

// TestRetryAfter reads both forms, and takes nonsense for none.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for v, want := range map[string][2]time.Duration{
		"7":  {7 * time.Second, 7 * time.Second},
		"0":  {},
		"":   {},
		"-1": {}, "soon": {}, "1.5": {},
		// What asks for too much is not ignored.
		"2000000": {retryAfterMost, retryAfterMost}, "99999999999999999999": {retryAfterMost, retryAfterMost}, "Fri, 31 Dec 2999 23:59:59 GMT": {retryAfterMost, retryAfterMost},
		time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  {50 * time.Second, time.Minute},
		time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): {},
	} {
		if got := retryAfter(http.Header{"Retry-After": {v}}); got < want[0] || got > want[1] {
			t.Errorf("%q: %s", v, got)
		}
	}
}

// TestGolden: for each contract what it adds to a request, and what is made of the answers that its runtimes give. In testdata/golden a file has the name of its
// contract; an answer is a status, headers, an empty line and the body, perhaps after a rule: fail=${...}.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) != len(Names()) {
		t.Fatalf("%d files of %d contracts, %v", len(files), len(Names()), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if !Known(name) {
			t.Errorf("%s is of no contract", file)
		}
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			call := invocation(t.Context())
			call.Contract = name
			if d.Cmd == "ask" {
				return asked(t, name, call)
			}
			return answered(t, call, d.Input)
		})
	}
}

func asked(t *testing.T, name string, call *sinks.Delivery) string {
	req, err := http.NewRequest(http.MethodPost, "http://function/", bytes.NewReader(call.Event().Data()))
	if err != nil {
		t.Fatal(err)
	}
	if c := Named(name); c.Ask != nil {
		c.Ask(call, req)
	}
	var out strings.Builder
	if err := req.Header.Write(&out); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(out.String(), "\r", "") + "\n" + string(call.Event().Data()) + "\n"
}

func answered(t *testing.T, call *sinks.Delivery, text string) string {
	var fail lang.Expr
	if line, rest, _ := strings.Cut(text, "\n"); strings.HasPrefix(line, "fail=") {
		var err error
		if fail, err = lang.ParseExpr(lang.Text(strings.TrimPrefix(line, "fail="))); err != nil {
			t.Fatal(err)
		}
		text = rest
	}
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	a := &Answer{Header: make(http.Header), Body: []byte(body)}
	if _, err := fmt.Sscan(lines[0], &a.Code); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		a.Header.Add(name, value)
	}
	r := Named(call.Contract).Read(a, true, fail)
	out := strings.TrimSpace(sinktest.Describe(r)) + "\n"
	if e := r.Completion.Reply; e != nil {
		b, err := envelope.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out += "and goes on: " + string(b) + "\n"
	}
	return out
}
