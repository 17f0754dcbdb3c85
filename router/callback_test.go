package router_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/memory"
)

// recipe is a document of the docs' page of recipes, with some of its texts replaced.
func recipe(t *testing.T, name string, replaced ...string) string {
	t.Helper()
	page, err := os.ReadFile("../deploy/docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, found := strings.Cut(string(page), "```yaml file=senders/"+name+".yaml\n")
	if doc, _, _ = strings.Cut(doc, "```"); !found {
		t.Fatalf("there is no recipe %q", name)
	}
	for i := 0; i < len(replaced); i += 2 {
		was := doc
		if doc = strings.Replace(doc, replaced[i], replaced[i+1], 1); doc == was {
			t.Fatalf("the recipe %q has no %q", name, replaced[i])
		}
	}
	return doc
}

// TestCallback: a function of OpenFaaS that answers by a callback, which is no CloudEvent, ends its call, by the recipe of the docs as it stands: with its result and
// with an error, before the gateway's own answer, once if it comes twice, and not after the call's time.
func TestCallback(t *testing.T) {
	t.Parallel()
	var route, late atomic.Pointer[string]
	back := func(call, status, body string, want ...int) {
		q, err := http.NewRequest("POST", *route.Load(), strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		q.Header.Set("X-Call-Id", call)
		q.Header.Set("X-Function-Name", "resize")
		q.Header.Set("X-Function-Status", status)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
		if !slices.Contains(want, resp.StatusCode) {
			t.Errorf("a callback with %s %s is answered %d; want one of %v", status, body, resp.StatusCode, want)
		}
	}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Do, Status, Body string }
		call := r.Header.Get("X-Call-Id")
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("X-Callback-Url") == "" {
			t.Errorf("%v, %v", err, r.Header)
		}
		if in.Do == "before" {
			back(call, in.Status, in.Body, http.StatusOK)
		}
		w.Header().Set("X-Call-Id", call)
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush() // The callback comes behind the answer.
		switch in.Do {
		case "before":
		case "late":
			late.Store(&call)
		default:
			back(call, in.Status, in.Body, http.StatusOK)
			if in.Do == "twice" {
				back(call, in.Status, in.Body, http.StatusOK, http.StatusConflict, http.StatusGone)
			}
		}
	}))
	t.Cleanup(gateway.Close)
	r := startWith(t, recipe(t, "openfaas", "http://gateway:8080", gateway.URL,
		"functions:\n", fmt.Sprintf("functions:\n  short: { contract: openfaas, timeout: 1s, http: { url: %q, headers: { X-Callback-Url: \"http://onward/\" } } }\n", gateway.URL),
		"triggers:\n", "triggers:\n  short: { flow: { function: short } }\n"), func(o *router.Options) { o.Journal = memory.New(memory.Options{Partitions: 4}) })
	at := "http://" + r.Addr() + "/openfaas"
	route.Store(&at)
	back("00000000000000000000000000~resize.1~forged", "200", "{}", http.StatusForbidden)
	var all sync.WaitGroup
	for id, c := range map[string]struct{ do, status, body, want string }{
		"1": {"", "200", `{"width":100}`, `{"width":100}`},
		"2": {"", "500", "Traceback: boom", `status_500: the function answered 500 "Traceback: boom"`},
		"3": {"", "503", "", `status_503: the function answered 503 ""`}, // Nobody reached it.
		"4": {"before", "200", `[1]`, `[1]`},
		"5": {"twice", "202", `"x"`, `"x"`},
		"6": {"late", "200", "1", "timeout: "},
	} {
		all.Go(func() {
			trigger := map[bool]string{true: "short", false: "picture"}[c.do == "late"]
			f := r.run(trigger, id, fmt.Sprintf(`{"do":%q,"status":%q,"body":%q}`, c.do, c.status, c.body))
			got := f.Result.JSON()
			if f.Error != nil {
				got = f.Error.Type + ": " + f.Error.Message + " " + f.Error.Data.JSON()
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s; want %s", id, got, c.want)
			}
		})
	}
	all.Wait()
	if late.Load() == nil {
		t.Fatal("the call that is answered late was not made")
	}
	back(*late.Load(), "200", "1", http.StatusConflict, http.StatusGone)
}

// A lambda is AWS's, of which the function is called asynchronously: it answers 202, and tells by the record of a destination how it went.
type lambda struct {
	t     *testing.T
	route atomic.Pointer[string] // the web hook of its records
	mu    sync.Mutex
	late  []string // records that nobody waits for any more
}

// record is what a destination is sent, by what the call wants (DST-1, 2, 3 and 10).
func (l *lambda) record(request []byte, do string) string {
	context := func(condition string, tries int) string {
		return fmt.Sprintf(`{"requestId":"e4b46cbf-b738-xmpl-8880-a18cdf61200e","functionArn":"arn:aws:lambda:eu-central-1:123456789012:function:thumbnail:$LATEST","condition":%q,"approximateInvokeCount":%d}`, condition, tries)
	}
	const begin = `{"version":"1.0","timestamp":"2026-11-27T12:00:00.123Z","requestContext":`
	switch do {
	case "fail":
		return begin + context("RetriesExhausted", 3) + `,"requestPayload":` + string(request) + `,"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":"boom","errorType":"ValueError","requestId":"x","stackTrace":[]}}`
	case "aged":
		return begin + context("EventAgeExceeded", 1) + `,"requestPayload":` + string(request) + `,"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":"Task timed out after 3.00 seconds"}`
	case "zero":
		return begin + context("ZeroReservedConcurrency", 0) + `,"requestPayload":` + string(request) + `}`
	}
	record := begin + context("Success", 1) + `,"requestPayload":` + string(request) + `,"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},"responsePayload":{"width":64}}`
	if do == "sns" {
		message, _ := json.Marshal(record) // A text marshals.
		return `{"Type":"Notification","MessageId":"22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324","TopicArn":"arn:aws:sns:eu-central-1:123456789012:records","Message":` + string(message) + `,"Timestamp":"2026-11-27T12:00:01.655Z","SignatureVersion":"1","Signature":"EXAMPLE"}`
	}
	if do == "bridge" {
		return `{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"Lambda Function Invocation Result - Success","source":"lambda","account":"123456789012","time":"2026-11-27T12:00:01Z","region":"eu-central-1","resources":[],"detail":` + record + `}`
	}
	return record
}

func (l *lambda) tell(record string, want ...int) {
	resp, err := http.Post(*l.route.Load(), "application/json", strings.NewReader(record))
	if err != nil {
		l.t.Error(err)
		return
	}
	_ = resp.Body.Close()
	if !slices.Contains(want, resp.StatusCode) {
		l.t.Errorf("a record is answered %d; want one of %v: %s", resp.StatusCode, want, record)
	}
}

func (l *lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body) // Of a test.
	var payload struct {
		ID   string
		Data struct{ Do string }
	}
	if err := json.Unmarshal(b, &payload); err != nil || r.Header.Get("X-Amz-Invocation-Type") != "Event" {
		l.t.Errorf("%s, %v", b, r.Header)
	}
	record := l.record(b, payload.Data.Do)
	if payload.Data.Do == "before" {
		l.tell(record, http.StatusOK)
	}
	w.Header().Set("X-Amzn-Requestid", "e4b46cbf-b738-xmpl-8880-a18cdf61200e")
	w.WriteHeader(http.StatusAccepted)
	switch payload.Data.Do {
	case "before":
	case "late":
		l.mu.Lock()
		l.late = append(l.late, record)
		l.mu.Unlock()
	default:
		_ = http.NewResponseController(w).Flush() // The record comes behind the answer.
		l.tell(record, http.StatusOK)
		if payload.Data.Do == "twice" {
			l.tell(record, http.StatusConflict, http.StatusGone, http.StatusOK)
		}
	}
}

// TestRecords: the recipe of the docs, as it stands, ends asynchronous calls of Lambda by their records: with results and errors, before the call's own answer, once
// if they come twice, and not after the call's time.
func TestRecords(t *testing.T) {
	t.Parallel()
	l := &lambda{t: t}
	aws := httptest.NewServer(l)
	t.Cleanup(aws.Close)
	doc := recipe(t, "records", "https://lambda.eu-central-1.amazonaws.com", aws.URL, "      aws: eu-central-1\n", "",
		"functions:\n", "functions:\n  short: { contract: lambda, timeout: 1s, http: { url: \""+aws.URL+"/f\", mode: structured, headers: { X-Amz-Invocation-Type: Event } } }\n",
		"triggers:\n", "triggers:\n  short: { flow: { function: short } }\n")
	r := startWith(t, doc, func(o *router.Options) { o.Journal = memory.New(memory.Options{Partitions: 4}) })
	route := "http://" + r.Addr() + "/records"
	l.route.Store(&route)
	var all sync.WaitGroup
	for do, want := range map[string]string{
		"ok": `{"width":64}`, "bridge": `{"width":64}`, "sns": `{"width":64}`, "before": `{"width":64}`, "twice": `{"width":64}`, "fail": "ValueError: boom", "aged": "EventAgeExceeded: Lambda gave it up: EventAgeExceeded",
		"zero": "ZeroReservedConcurrency: Lambda gave it up: ZeroReservedConcurrency", "late": "timeout",
	} {
		all.Go(func() {
			trigger := map[bool]string{true: "short", false: "thumbnail"}[do == "late"]
			f := r.run(trigger, do, fmt.Sprintf(`{"do":%q}`, do))
			got := f.Result.JSON()
			if f.Error != nil {
				got = f.Error.Type + ": " + f.Error.Message
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s; want %s", do, got, want)
			}
		})
	}
	all.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.late) == 0 {
		t.Fatal("it was not called")
	}
	l.tell(l.late[0], http.StatusConflict, http.StatusGone)
}

// TestQuestionsOfSNS: what a source parks is kept, each by itself, though all came to one path; the same again is the same letter.
func TestQuestionsOfSNS(t *testing.T) {
	t.Parallel()
	r := startWith(t, recipe(t, "sns"), func(o *router.Options) { o.Journal, o.Dir = memory.New(memory.Options{Partitions: 4}), t.TempDir() })
	for _, topic := range []string{"orders", "orders", "parcels"} {
		body := fmt.Sprintf(`{"Type":"SubscriptionConfirmation","TopicArn":"arn:aws:sns:eu-west-1:1:%s","SubscribeURL":"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"}`, topic)
		resp, err := http.Post("http://"+r.Addr()+"/sns", "text/plain; charset=UTF-8", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%d", resp.StatusCode)
		}
	}
	var said struct {
		Letters []struct{ Error struct{ Message string } }
	}
	r.get("/v1/dead?kind=parked", &said)
	if all := fmt.Sprint(said.Letters); len(said.Letters) != 2 || !strings.Contains(all, ":1:orders:") || !strings.Contains(all, ":1:parcels:") {
		t.Errorf("%s", all)
	}
}
