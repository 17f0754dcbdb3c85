package contract

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
)

// FuzzAnswer reads whatever a function may answer. It is one of the results that there are; a success has JSON that is ours to keep, and a failure says
// in bounded text of UTF-8 what it is; nobody makes the router wait for longer than a header may say.
func FuzzAnswer(f *testing.F) {
	for _, s := range []struct {
		code                                int
		content, encoding, kind, more, body string
	}{
		{200, "application/json", "", "", "", `{"a":1}`}, {200, "application/json", "", "", "", `{"a":1`}, {200, "", "", "", "", "hello"},
		{200, "application/cloudevents+json", "", "", "", `{"datacontentencoding":"","specversion":"0.3","id":"1","source":"/a","type":"t"}`},
		{200, "Application/CloudEvents+JSON", "", "", "", `{"specversion":"1.0","id":"1","source":"/a","type":"dev.onward.function.failed","data":{"type":"x"}}`},
		{200, "application/cloudevents-batch+json", "", "", "", `[{"specversion":"1.0","id":"1","source":"/f","type":"dev.onward.function.failed","causationid":"a","data":{"type":"x"}},{"specversion":"1.0","id":"2","source":"/f","type":"t","causationid":"b"}]`},
		{200, "application/json", "gzip", "", "", "\x1f\x8b\x08"}, {200, "image/png", "", "", "", "\x89PNG"}, {200, "text/plain; charset=iso-8859-1", "", "", "", "\xe9"},
		{200, "application/json", "", "dev.onward.function.continue", "", `{"at":7}`}, {202, "", "", "", "", ""}, {204, "", "", "", "", ""},
		{302, "", "", "", "elsewhere", ""}, {500, "application/problem+json", "", "", "", `{"type":"https://example.com/p","detail":"no"}`},
		{500, "text/html", "", "", "", "x" + strings.Repeat("é", 400)}, {503, "", "", "", "2000000", "later"}, {429, "", "", "", "Fri, 31 Dec 2999 23:59:59 GMT", ""},
		{200, "application/json", "", "", "Unhandled", `{"errorMessage":"m","errorType":"t"}`}, {200, "application/json", "", "", "", strings.Repeat("[", 600) + strings.Repeat("]", 600)},
	} {
		f.Add(uint16(s.code), s.content, s.encoding, s.kind, s.more, []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, code uint16, content, encoding, kind, more string, body []byte) {
		header := http.Header{"Content-Type": {content}, "Content-Encoding": {encoding}, "Ce-Type": {kind}, "Retry-After": {more}, "Location": {more}, "X-Amz-Function-Error": {more}}
		for name, v := range header {
			if v[0] == "" {
				delete(header, name)
			}
		}
		header["Ce-Type"] = nil // A batch has none.
		for _, r := range plain.ReadBatch(&Answer{Code: max(200, int(code)%600), Header: header, Body: body}, []Asked{{"a", true}, {"b", true}, {"c", false}}, lang.Expr{}) {
			if r.Verdict < sinks.Accepted || r.Verdict > sinks.Failed || r.Verdict == sinks.Completed && r.Completion.Err == nil && lang.CheckJSON(r.Completion.Data) != nil {
				t.Errorf("of a batch: %+v", r)
			}
		}
		if header["Ce-Type"] = []string{kind}; kind == "" {
			delete(header, "Ce-Type")
		}
		for _, contract := range Names() {
			d := &sinks.Delivery{Context: t.Context(), Invoke: true, Contract: contract}
			r := judge(d, max(200, int(code)%600), header, body)
			if r.Verdict < sinks.Accepted || r.Verdict > sinks.Failed || r.After < 0 || r.After > 24*time.Hour {
				t.Errorf("%s: verdict %d, after %s", contract, r.Verdict, r.After)
			}
			problem := r.Err
			if r.Verdict == sinks.Completed {
				problem = r.Completion.Err
				if problem == nil {
					if _, err := lang.ParseValue(r.Completion.Data); err != nil {
						t.Errorf("%s: it succeeds with %.100q: %v", contract, r.Completion.Data, err)
					}
				}
			}
			if problem == nil {
				continue
			}
			if !utf8.ValidString(problem.Type+problem.Message) || problem.Type == "" || len(problem.Type)+len(problem.Message) > 64<<10 {
				t.Errorf("%s: the error %.100q (%d bytes): %.100q (%d bytes)", contract, problem.Type, len(problem.Type), problem.Message, len(problem.Message))
			}
			if len(problem.Data) > 0 {
				if _, err := lang.ParseValue(problem.Data); err != nil {
					t.Errorf("%s: the error's data %.100q: %v", contract, problem.Data, err)
				}
			}
		}
	})
}
