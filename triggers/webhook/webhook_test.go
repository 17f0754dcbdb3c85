package webhook

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/triggertest"
)

func settings() *Settings { return &Settings{Path: "/events", MaxEvent: 1 << 20, MaxBatch: 16 << 20} }

func TestLaws(t *testing.T) {
	for _, mode := range []string{"binary", "structured", "batched"} {
		t.Run(mode, func(t *testing.T) {
			triggertest.Run(t, triggertest.Harness{New: func(t *testing.T) triggertest.End {
				s, err := New("inbox", settings())
				if err != nil {
					t.Fatal(err)
				}
				c := &client{t: t, mode: mode, told: make(map[string]triggertest.Told), keys: make(map[string]chan func())}
				return triggertest.End{Source: s, Open: func(admit triggers.Admit) { c.open(s.(*Webhook), admit) }, Send: c.send, Garbage: c.garbage, Told: c.about, Close: c.close}
			}})
		})
	}
}

// A client posts events, those of a key one after another.
type client struct {
	t      *testing.T
	mode   string
	server *httptest.Server
	http   http.Client
	work   sync.WaitGroup

	mu   sync.Mutex
	told map[string]triggertest.Told
	keys map[string]chan func()
}

func (c *client) open(w *Webhook, admit triggers.Admit) {
	path, h := w.Handler(admit)
	mux := http.NewServeMux()
	mux.Handle(path, h)
	c.server = httptest.NewServer(mux)
	c.http.Transport = new(http.Transport)
}

func (c *client) close() {
	for _, k := range c.keys {
		close(k)
	}
	c.work.Wait()
	c.http.CloseIdleConnections()
	c.server.Close()
}

func (c *client) do(key string, f func()) {
	if c.keys[key] == nil {
		k := make(chan func(), 1000)
		c.keys[key] = k
		c.work.Go(func() {
			for f := range k {
				f()
			}
		})
	}
	c.keys[key] <- f
}

func (c *client) send(key string, events ...event.Event) {
	if len(events) > 1 || c.mode == "batched" {
		c.do(key, func() { c.post(events, batchRequest(c.t, c.server.URL+"/events", events)) })
		return
	}
	c.do(key, func() {
		if c.mode == "structured" {
			c.post(events, structuredRequest(c.t, c.server.URL+"/events", &events[0]))
		} else {
			c.post(events, binaryRequest(c.t, c.server.URL+"/events", &events[0]))
		}
	})
}

func (c *client) garbage(key string) {
	c.do(key, func() {
		for _, r := range []*http.Request{
			request(c.t, c.server.URL+"/events", "application/json", `{"no":"event"}`),
			request(c.t, c.server.URL+"/events", "application/cloudevents+json", `{"specversion":"1.0","id":"1"}`),
			request(c.t, c.server.URL+"/events", "application/cloudevents-batch+json", `[{"specversion":"1.0","id":"1","source":"/","type":"x"},{}]`),
		} {
			resp, err := c.http.Do(r)
			if err != nil {
				c.t.Error(err)
				continue
			}
			if _ = resp.Body.Close(); resp.StatusCode < 400 || resp.StatusCode >= 500 {
				c.t.Errorf("garbage: %s", resp.Status)
			}
		}
	})
}

// post sends a request and notes what the answer says of each event.
func (c *client) post(events []event.Event, r *http.Request) {
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer resp.Body.Close()
	var said Answer
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Error(err)
	}
	_ = json.Unmarshal(body, &said) // A refusal of the whole is no list.
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range events {
		c.told[events[i].ID()] = triggertest.Refused
		if len(said.Events) == len(events) && said.Events[i].Error == nil && said.Events[i].Event == events[i].ID() {
			c.told[events[i].ID()] = triggertest.Acknowledged
		}
	}
}

func (c *client) about(id string) triggertest.Told {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told[id]
}

func request(t *testing.T, url, content, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", content)
	return r
}

func structuredRequest(t *testing.T, url string, e *event.Event) *http.Request {
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return request(t, url, "application/cloudevents+json; charset=utf-8", string(b))
}

func batchRequest(t *testing.T, url string, events []event.Event) *http.Request {
	b, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	return request(t, url, "application/cloudevents-batch+json", string(b))
}

// binaryRequest encodes values as the HTTP binding's section 3.1.3.2 says, which the SDK's own client does not.
func binaryRequest(t *testing.T, to string, e *event.Event) *http.Request {
	r := request(t, to, e.DataContentType(), string(e.Data()))
	if e.DataContentType() == "" {
		r.Header.Del("Content-Type")
	}
	set := func(name, v string) {
		if v != "" {
			r.Header.Set("Ce-"+name, strings.NewReplacer("+", "%20").Replace(url.QueryEscape(v)))
		}
	}
	set("specversion", e.SpecVersion())
	set("id", e.ID())
	set("source", e.Source())
	set("type", e.Type())
	set("subject", e.Subject())
	set("dataschema", e.DataSchema())
	if !e.Time().IsZero() {
		set("time", types.FormatTime(e.Time()))
	}
	for name, v := range e.Extensions() {
		text, err := types.Format(v)
		if err != nil {
			t.Fatal(err)
		}
		set(name, text)
	}
	return r
}

// serve answers one request, given as headers and a body, by a webhook without a listener.
func serve(t testing.TB, s *Settings, admit triggers.Admit, method string, header map[string]string, body string) *httptest.ResponseRecorder {
	t.Helper()
	source, err := New("inbox", s)
	if err != nil {
		t.Fatal(err)
	}
	_, h := source.(*Webhook).Handler(admit)
	r := httptest.NewRequest(method, "/events", strings.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func taking(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
	out := make([]triggers.Receipt, len(events))
	for i := range out {
		id := "run-of-" + events[i].ID()
		out[i] = triggers.Receipt{Kind: triggers.Matched, Runs: []triggers.Run{{ID: id, Trigger: "t"}}}
	}
	return out, nil
}

func ce(more ...string) map[string]string {
	h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/t", "Ce-Type": "x", "Content-Type": "application/json"}
	for i := 0; i < len(more); i += 2 {
		if h[more[i]] = more[i+1]; more[i+1] == "-" {
			delete(h, more[i])
		}
	}
	return h
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	structured := map[string]string{"Content-Type": "application/cloudevents+json"}
	batch := map[string]string{"Content-Type": "application/cloudevents-batch+json"}
	good := `{"specversion":"1.0","id":"7","source":"/t","type":"x"}`
	with := func(field, value string) string {
		m := map[string]json.RawMessage{"specversion": json.RawMessage(`"1.0"`), "id": json.RawMessage(`"7"`), "source": json.RawMessage(`"/t"`), "type": json.RawMessage(`"x"`)}
		if m[field] = json.RawMessage(value); value == "" {
			delete(m, field)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		header map[string]string
		body   string
		code   int
		want   string
	}{
		"binary":                    {ce(), "1", 202, `{"events":[{"event":"1","taken":"matched","runs":[{"run":"run-of-1","trigger":"t"}]}]}`},
		"binary, no data":           {ce("Content-Type", "-"), "", 202, "run-of-1"},
		"binary, text":              {ce("Content-Type", "text/plain"), "{", 202, "run-of-1"},
		"structured":                {structured, good, 202, "run-of-7"},
		"batch":                     {batch, "[" + good + "]", 202, "run-of-7"},
		"empty batch":               {batch, "[]", 202, "[]"},
		"binary, no id":             {ce("Ce-Id", "-"), "1", 400, "id is missing"},
		"binary, empty id":          {ce("Ce-Id", ""), "1", 400, "id is missing"},
		"binary, no source":         {ce("Ce-Source", "-"), "1", 400, "source is missing"},
		"binary, no type":           {ce("Ce-Type", "-"), "1", 400, "type is missing"},
		"binary, no specversion":    {ce("Ce-Specversion", "-"), "1", 400, "ce-specversion is missing"},
		"binary, specversion":       {ce("Ce-Specversion", "0.3"), "1", 400, `specversion \"0.3\"`},
		"binary, time":              {ce("Ce-Time", "yesterday"), "1", 400, `time \"yesterday\"`},
		"binary, source":            {ce("Ce-Source", "%zz"), "1", 400, "source"},
		"binary, dataschema":        {ce("Ce-Dataschema", ":"), "1", 400, "dataschema"},
		"binary, extension's name":  {ce("Ce-Bad_name", "v"), "1", 400, "bad_name"},
		"binary, no name":           {ce("Ce-", "v"), "1", 400, "Ce-"},
		"binary, datacontenttype":   {ce("Ce-Datacontenttype", "text/plain"), "1", 400, "Content-Type"},
		"binary, no UTF-8":          {ce("Ce-Subject", "%ff%fe"), "1", 400, "Ce-Subject"},
		"binary, data":              {ce(), "{", 400, "data is not JSON"},
		"structured, no id":         {structured, with("id", ""), 400, "id is missing"},
		"structured, empty id":      {structured, with("id", `""`), 400, "id is missing"},
		"structured, id":            {structured, with("id", `1`), 400, "id is not a text: 1"},
		"structured, null id":       {structured, with("id", `null`), 400, "id is not a text"},
		"structured, no source":     {structured, with("source", ""), 400, "source is missing"},
		"structured, source":        {structured, with("source", `"::%zz"`), 400, "source"},
		"structured, no type":       {structured, with("type", ""), 400, "type is missing"},
		"structured, specversion":   {structured, with("specversion", `"2.0"`), 400, `specversion \"2.0\"`},
		"structured, time":          {structured, with("time", `"12:00"`), 400, `time \"12:00\"`},
		"structured, subject":       {structured, with("subject", `5`), 400, "subject is not a text"},
		"structured, content type":  {structured, with("datacontenttype", `"a b/c;"`), 400, "datacontenttype"},
		"structured, name":          {structured, with("bad_name", `"v"`), 400, "bad_name"},
		"structured, large number":  {structured, with("big", `12345678901`), 400, "extension big: 12345678901 is not a 32-bit integer"},
		"structured, fraction":      {structured, with("half", `0.5`), 400, "extension half"},
		"structured, object":        {structured, with("deep", `{"a":1}`), 400, "extension deep"},
		"structured, base64":        {structured, with("data_base64", `"%"`), 400, "data_base64"},
		"structured, both data":     {structured, strings.Replace(good, "{", `{"data":1,"data_base64":"AA==",`, 1), 400, "exclude each other"},
		"structured, null":          {structured, "null", 400, "where a JSON object belongs"},
		"structured, list":          {structured, "[]", 400, "not a JSON object"},
		"structured, two":           {structured, good + good, 400, "not a JSON object"},
		"structured, nothing":       {structured, "", 400, "not a JSON object"},
		"batch names the index":     {batch, "[" + good + "," + with("type", "") + "," + with("id", "") + "]", 400, "event 1: type is missing"},
		"batch, no list":            {batch, good, 400, "list"},
		"batch, null":               {batch, "null", 400, "list"},
		"batch, null event":         {batch, "[null]", 400, "event 0: the event is not a JSON object"},
		"no event":                  {map[string]string{"Content-Type": "application/json"}, "{}", 415, "no CloudEvent"},
		"no content type":           {nil, "x", 415, "no CloudEvent"},
		"another format":            {map[string]string{"Content-Type": "application/cloudevents+avro"}, "", 415, "not supported"},
		"another format, a batch":   {map[string]string{"Content-Type": "application/cloudevents-batch+avro"}, "", 415, "not supported"},
		"content type":              {ce("Content-Type", "a/b/c; =;"), "1", 415, "Content-Type"},
		"wait":                      {ce("Prefer", "wait=soon"), "1", 400, "wait=soon"},
		"wait, below zero":          {ce("Prefer", "respond-async, wait=-1"), "1", 400, "wait=-1"},
		"another preference":        {ce("Prefer", "return=minimal"), "1", 202, "run-of-1"},
		"binary, too large":         {ce(), `"` + strings.Repeat("x", 1<<20) + `"`, 413, "dataref"},
		"structured, too large":     {structured, with("data", `"`+strings.Repeat("x", 1<<20)+`"`), 413, "dataref"},
		"batch with one too large":  {batch, "[" + good + "," + with("data", `"`+strings.Repeat("x", 1<<20)+`"`) + "]", 413, "event 1"},
		"batch of many, in all":     {batch, "[" + strings.Repeat(good+",", 1+(16<<20)/len(good)) + good + "]", 413, "16777216"},
		"of the limit exactly":      {ce(), `"` + strings.Repeat("x", 1<<20-2) + `"`, 202, "run-of-1"},
		"percent, not encoded":      {ce("Ce-Subject", "100% %4"), "1", 202, "run-of-1"},
		"a header of somebody else": {ce("X-Ce-Bad_name", "v"), "1", 202, "run-of-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := serve(t, settings(), taking, "POST", c.header, c.body)
			if rec.Code != c.code || !strings.Contains(rec.Body.String(), c.want) {
				t.Errorf("%d %.300s; want %d %s", rec.Code, rec.Body, c.code, c.want)
			}
			if !json.Valid(rec.Body.Bytes()) || rec.Header().Get("Content-Type") != "application/json" {
				t.Errorf("no JSON: %s", rec.Header())
			}
		})
	}
}

// TestRefusals maps what admission says, of the whole or of an event, to a status and a pause.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]struct {
		code  int
		after string
	}{
		triggers.ErrBusy: {429, "1"}, triggers.ErrFull: {507, "30"}, triggers.ErrDraining: {503, "1"}, triggers.ErrTooLarge: {413, ""},
		fmt.Errorf("%w: id", triggers.ErrInvalid): {400, ""}, errors.New("the journal stopped"): {503, "1"},
	} {
		whole := func(context.Context, []event.Event) ([]triggers.Receipt, error) { return nil, err }
		one := func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
			out, _ := taking(ctx, events)
			out[0] = triggers.Receipt{Err: err}
			return out, nil
		}
		for name, admit := range map[string]triggers.Admit{"whole": whole, "one": one} {
			rec := serve(t, settings(), admit, "POST", ce(), "1")
			if rec.Code != want.code || rec.Header().Get("Retry-After") != want.after || !strings.Contains(rec.Body.String(), err.Error()) {
				t.Errorf("%s, %v: %d, Retry-After %q, %s", name, err, rec.Code, rec.Header().Get("Retry-After"), rec.Body)
			}
		}
	}
	// Of a batch, the status is the worst one's, and the body says of each how it went.
	rec := serve(t, settings(), func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
		out, _ := taking(ctx, events)
		out[0], out[2] = triggers.Receipt{Err: triggers.ErrInvalid}, triggers.Receipt{Err: triggers.ErrFull}
		return out, nil
	}, "POST", map[string]string{"Content-Type": "application/cloudevents-batch+json"},
		`[{"specversion":"1.0","id":"a","source":"/","type":"x"},{"specversion":"1.0","id":"b","source":"/","type":"x"},{"specversion":"1.0","id":"c","source":"/","type":"x"}]`)
	var said Answer
	if err := json.Unmarshal(rec.Body.Bytes(), &said); err != nil || len(said.Events) != 3 || rec.Code != 507 || said.Events[0].Error == nil || said.Events[1].Error != nil || said.Events[1].Runs[0].Run != "run-of-b" ||
		said.Events[2].Error == nil || said.Error.Code != "disk_full" {
		t.Errorf("%d %s, %v", rec.Code, rec.Body, err)
	}
}

func TestLocation(t *testing.T) {
	t.Parallel()
	if rec := serve(t, settings(), taking, "POST", ce(), "1"); rec.Header().Get("Location") != "/v1/runs/run-of-1" {
		t.Errorf("%v", rec.Header())
	}
	two := func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
		out, err := taking(ctx, events)
		out[0].Runs = append(out[0].Runs, triggers.Run{ID: "other", Trigger: "u"})
		return out, err
	}
	if rec := serve(t, settings(), two, "POST", ce(), "1"); rec.Header().Get("Location") != "" || !strings.Contains(rec.Body.String(), `{"run":"other","trigger":"u"}`) {
		t.Errorf("%v %s", rec.Header(), rec.Body)
	}
	none := func(context.Context, []event.Event) ([]triggers.Receipt, error) {
		return []triggers.Receipt{{Kind: triggers.Unmatched, Note: "no trigger takes it"}}, nil
	}
	if rec := serve(t, settings(), none, "POST", ce("Prefer", "wait=5"), "1"); rec.Code != 202 || !strings.Contains(rec.Body.String(), `"runs":[],"note":"no trigger takes it"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestPreferWait(t *testing.T) {
	t.Parallel()
	waiting := func(wait func(context.Context) (*event.Event, error)) triggers.Admit {
		return func(context.Context, []event.Event) ([]triggers.Receipt, error) {
			return []triggers.Receipt{{Kind: triggers.Matched, Runs: []triggers.Run{{ID: "r", Trigger: "t", Wait: wait}}}}, nil
		}
	}
	ended := waiting(func(context.Context) (*event.Event, error) {
		e := event.New()
		e.SetID("r~end")
		e.SetSource("/onward/t")
		e.SetType("dev.onward.run.succeeded")
		return &e, e.SetData(event.ApplicationJSON, json.RawMessage(`{"done":true}`))
	})
	for _, prefer := range []string{"wait=5", "respond-async, wait=5", `wait="5"`, "wait=5; x=y", "wait=99999999999"} {
		rec := serve(t, settings(), ended, "POST", ce("Prefer", prefer), "1")
		if prefer == "wait=99999999999" { // It is more than anybody waits: the most that is granted is.
			if rec.Header().Get("Preference-Applied") != "wait=300" {
				t.Errorf("%s: %v", prefer, rec.Header())
			}
			continue
		}
		if rec.Code != 200 || rec.Body.String() != `{"done":true}` || rec.Header().Get("Ce-Type") != "dev.onward.run.succeeded" || rec.Header().Get("Location") != "/v1/runs/r" || rec.Header().Get("Preference-Applied") != "wait=5" {
			t.Errorf("%s: %d %s %v", prefer, rec.Code, rec.Body, rec.Header())
		}
	}
	never := waiting(func(ctx context.Context) (*event.Event, error) { <-ctx.Done(); return nil, ctx.Err() })
	begin := time.Now()
	if rec := serve(t, settings(), never, "POST", ce("Prefer", "wait=1"), "1"); rec.Code != 202 || rec.Header().Get("Location") != "/v1/runs/r" || time.Since(begin) < time.Second {
		t.Errorf("%d %s after %s", rec.Code, rec.Body, time.Since(begin))
	}
	if rec := serve(t, settings(), never, "POST", ce("Prefer", "wait=0"), "1"); rec.Code != 202 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestAuth(t *testing.T) {
	t.Setenv("WEBHOOK_TEST_TOKEN", "t0ken")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for where, secret := range map[string]plugin.Secret{"env": {Env: "WEBHOOK_TEST_TOKEN"}, "file": {File: file}} {
		s := settings()
		s.Auth = []Way{{Bearer: &secret}}
		for given, code := range map[string]int{"": 401, "Bearer": 401, "Bearer ": 401, "Bearer other": 401, "Bearer t0ken ": 401, "Basic t0ken": 401, "Bearer t0ken": 202, "bearer t0ken": 202} {
			rec := serve(t, s, taking, "POST", ce("Authorization", given), "1")
			if rec.Code != code || (code == 401) != (rec.Header().Get("WWW-Authenticate") != "") || strings.Contains(rec.Body.String(), "t0ken") {
				t.Errorf("%s, %q: %d %s", where, given, rec.Code, rec.Body)
			}
		}
		if rec := serve(t, s, taking, "OPTIONS", map[string]string{"WebHook-Request-Origin": "shop.example.com"}, ""); rec.Code != 204 {
			t.Errorf("the handshake asks for a token: %d", rec.Code)
		}
		if w, _ := New("inbox", s); !w.(*Webhook).Authenticates() {
			t.Errorf("%s: it says that it takes anything", where)
		}
	}
	s := settings()
	s.Auth = []Way{{Bearer: &plugin.Secret{Env: "WEBHOOK_TEST_UNSET"}}}
	if rec := serve(t, s, taking, "POST", ce("Authorization", "Bearer "), "1"); rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("its own token cannot be read: %d %s", rec.Code, rec.Body)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	rec := serve(t, settings(), taking, "OPTIONS", map[string]string{"WebHook-Request-Origin": "shop.example.com"}, "")
	if h := rec.Header(); rec.Code != 204 || h.Get("WebHook-Allowed-Origin") != "shop.example.com" || h.Get("WebHook-Allowed-Rate") != "*" || h.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("OPTIONS: %d %v", rec.Code, h)
	}
	if rec := serve(t, settings(), taking, "OPTIONS", nil, ""); rec.Header().Get("WebHook-Allowed-Origin") != "" || rec.Header().Get("Allow") == "" {
		t.Errorf("OPTIONS of nobody: %v", rec.Header())
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
		if rec := serve(t, settings(), taking, method, ce(), "1"); rec.Code != 405 || rec.Header().Get("Allow") != "POST, OPTIONS" {
			t.Errorf("%s: %d %v", method, rec.Code, rec.Header())
		}
	}
}

// TestDraining: new requests are refused; who waits for a result gets the run's id instead; who has sent half a request holds nothing up.
func TestDraining(t *testing.T) {
	t.Parallel()
	source, err := New("inbox", settings())
	if err != nil {
		t.Fatal(err)
	}
	w := source.(*Webhook)
	waits := make(chan struct{})
	_, h := w.Handler(func(context.Context, []event.Event) ([]triggers.Receipt, error) {
		return []triggers.Receipt{{Kind: triggers.Matched, Runs: []triggers.Run{{ID: "r", Trigger: "t", Wait: func(ctx context.Context) (*event.Event, error) {
			close(waits)
			<-ctx.Done()
			return nil, ctx.Err()
		}}}}}, nil
	})
	reading := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ce-Id") == "half" {
			close(reading)
		}
		h.ServeHTTP(rw, r)
	}))
	defer server.Close()
	half, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	fmt.Fprintf(half, "POST /events HTTP/1.1\r\nHost: x\r\nCe-Specversion: 1.0\r\nCe-Id: half\r\nCe-Source: /\r\nCe-Type: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n1")
	<-reading
	answered := make(chan *http.Response, 1)
	go func() {
		r := request(t, server.URL+"/events", "application/json", "1")
		for k, v := range ce("Prefer", "wait=300") {
			r.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
		}
		answered <- resp
	}()
	<-waits
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx, nil) }()
	cancel()
	select {
	case err := <-ran:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Run waits for a client")
	}
	if resp := <-answered; resp != nil {
		if _ = resp.Body.Close(); resp.StatusCode != 202 || resp.Header.Get("Location") != "/v1/runs/r" {
			t.Errorf("who waited: %s %v", resp.Status, resp.Header)
		}
	}
	fmt.Fprint(half, "2")
	resp, err := http.ReadResponse(bufio.NewReader(half), nil)
	if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("who was sending: %v, %v", resp, err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/events", strings.NewReader("1")))
	if rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("who comes later: %d %s", rec.Code, rec.Body)
	}
}

func TestBodyEndsEarly(t *testing.T) {
	t.Parallel()
	source, err := New("inbox", settings())
	if err != nil {
		t.Fatal(err)
	}
	_, h := source.(*Webhook).Handler(taking)
	r := httptest.NewRequest("POST", "/events", io.MultiReader(strings.NewReader("1"), errorReader{}))
	for k, v := range ce() {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != 400 || !strings.Contains(rec.Body.String(), "ended early") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestCheck(t *testing.T) {
	t.Parallel()
	for path, bad := range map[string]bool{"/events": false, "/a/b-c": false, "events": true, "": true, "/v1/runs": true, "/{x}": true, "/a b": true, "/a?b": true} {
		s := settings()
		s.Path = path
		if (len(s.Check()) > 0) != bad {
			t.Errorf("%q: %v", path, s.Check())
		}
	}
}

// FuzzRequest gives the handler what a server would read off a connection: it never panics, and answers 2xx or 4xx, in JSON where it says anything.
func FuzzRequest(f *testing.F) {
	head := "POST /events HTTP/1.1\r\nHost: x\r\n"
	for _, s := range []string{
		head + "Ce-Specversion: 1.0\r\nCe-Id: 1\r\nCe-Source: /t\r\nCe-Type: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1",
		head + "Ce-: 1\r\nCe-Specversion: 1.0\r\nCe-Id: \"a\\\"%41%\"\r\n\r\n",
		head + "Ce-Specversion: 1.0\r\nCe-Id: 1\r\nCe-Id: 2\r\nCe-Source: :\r\nCe-Type: x\r\nCe-Time: 1\r\n\r\n",
		head + "Content-Type: application/cloudevents+json\r\nContent-Length: 75\r\n\r\n" + `{"specversion":"1.0","id":"1","source":"/t","type":"x","e":1,"data":{"a":1}}`,
		head + "Content-Type: application/cloudevents+json\r\nContent-Length: 86\r\n\r\n" + `{"specversion":"1.0","id":"1","source":"/t","type":"x","datacontenttype":"a/b","data":1}`,
		head + "Content-Type: application/cloudevents-batch+json\r\nPrefer: wait=1\r\nContent-Length: 57\r\n\r\n" + `[{"specversion":"1.0","id":"1","source":"/t","type":"x"}]`,
		head + "Transfer-Encoding: chunked\r\nContent-Type: application/cloudevents+json\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"OPTIONS /events HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: y\r\n\r\n", "GET /events HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	s := settings()
	s.MaxEvent, s.MaxBatch = 1<<10, 1<<12
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		source, err := New("inbox", s)
		if err != nil {
			t.Fatal(err)
		}
		_, h := source.(*Webhook).Handler(func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
			for i := range events {
				if err := events[i].Validate(); err != nil {
					t.Errorf("handed over: %v", err)
				}
			}
			return taking(ctx, events)
		})
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if c := rec.Code / 100; c != 2 && c != 4 {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
		if rec.Body.Len() > 0 && !json.Valid(rec.Body.Bytes()) {
			t.Errorf("no JSON: %q", rec.Body)
		}
	})
}

// TestSpoiledCompletion: data that cannot be read, or that are too many to be read, do not keep a completion from the router, which knows whom it concerns.
func TestSpoiledCompletion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body io.Reader
		is   envelope.Reason
	}{"malformed": {strings.NewReader("{"), envelope.Invalid}, "too large": {io.LimitReader(zeros{}, envelope.MaxCompletion+1), envelope.TooLarge}} {
		source, err := New("inbox", settings())
		if err != nil {
			t.Fatal(err)
		}
		_, h := source.(*Webhook).Handler(func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
			if why, is := envelope.Spoiled(&events[0]).(*envelope.Refusal); !is || why.Reason != c.is {
				t.Errorf("%s: %v", name, why)
			}
			return []triggers.Receipt{{Kind: triggers.Completion, Runs: []triggers.Run{{ID: "r"}}, Note: "it has failed", Fate: func(context.Context) triggers.Fate { return triggers.Applied }}}, nil
		})
		r := httptest.NewRequest("POST", "/events", c.body)
		for k, v := range ce("Ce-Type", envelope.Succeeded, "Ce-Causationid", "R~a.1.TAG") {
			r.Header.Set(k, v)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"became":"applied"`) || !strings.Contains(rec.Body.String(), `"note":"it has failed"`) {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{'0'}, len(p))), nil }
