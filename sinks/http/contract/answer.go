package contract

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
)

// MaxResponse bounds the body of a response; a larger one is an outcome of its own, too_large.
const MaxResponse = 16 << 20

// An Answer is a response, read whole.
type Answer struct {
	Code   int
	Header http.Header
	Body   []byte
}

// Read makes a result of the answer to an invocation, or to an event of which only acceptance counts. fail is the document's own rule of what is a failure; the
// zero Expr is the contract's.
func (c *Contract) Read(a *Answer, invoke bool, fail lang.Expr) sinks.Result {
	if invoke && c.own != nil {
		if r, said := c.own(a); said {
			if r.Verdict == sinks.Completed && r.Completion.Err == nil && !fail.IsZero() { // What the kind takes for done may be none by the document.
				if judged := a.judged(fail); judged.Completion.Err != nil {
					return judged
				}
			}
			return r
		}
	}
	switch {
	case slices.Contains(c.Unproven, a.Code):
		return a.Again()
	case a.Code >= 300 && a.Code < 400:
		return sinks.Fail(&sinks.Error{Type: a.kind(), Class: "platform", Message: fmt.Sprintf("it redirects to %q; put that address into url", a.Header.Get("Location"))})
	case invoke && !fail.IsZero():
		return a.judged(fail)
	case a.Code == http.StatusAccepted:
		return sinks.Accept()
	case a.Code >= 400:
		return sinks.CompleteError(a.Failure())
	case !invoke:
		return sinks.Accept()
	}
	return a.completion()
}

// Again is the result of an answer that proves nothing.
func (a *Answer) Again() sinks.Result {
	class := "platform"
	if a.Code == http.StatusTooManyRequests {
		class = "throttle"
	}
	return sinks.Again(retryAfter(a.Header), &sinks.Error{Type: a.kind(), Message: a.message(a.Body), Class: class})
}

// kind is the error type of an answer that says none. One that only a rule takes for a failure is no http_200: that would be read as a success.
func (a *Answer) kind() string {
	if a.Code < 300 {
		return "failed"
	}
	return "http_" + strconv.Itoa(a.Code)
}

// FailNames are what the rule fail sees.
var FailNames = []string{"body", "headers", "status"}

// judged makes a result of an answer by a document's rule. A member of the body, or a header, that is not there is null; so is any member of a body that is no
// object.
func (a *Answer) judged(fail lang.Expr) sinks.Result {
	answer, unreadable := envelope.FromAnswer(a.Header, a.Body, MaxResponse)
	if unreadable != nil {
		answer.Value = lang.Null
		if text := bytes.ToValidUTF8(a.Body, []byte("?")); len(text) > 0 && a.Code >= 400 {
			answer.Value = lang.Text(string(text[:min(len(text), maxFailText)]))
		}
	}
	return a.byRule(fail, answer, unreadable)
}

// byRule judges an answer that was read, or could not be.
func (a *Answer) byRule(fail lang.Expr, answer envelope.Answer, unreadable error) sinks.Result {
	failed, err := fail.EvalBool(a.scope(answer.Value, false), nil)
	if err != nil {
		failed, err = fail.EvalBool(a.scope(answer.Value, true), nil)
	}
	switch {
	case err != nil:
		return sinks.CompleteError(&sinks.Error{Type: "expression_error", Message: "fail: " + err.Error(), Class: "function", Data: []byte(answer.Value.JSON())})
	case failed:
		return sinks.CompleteError(a.failureOf(answer, unreadable))
	case a.Code == http.StatusAccepted:
		return sinks.Accept()
	case unreadable != nil:
		return unread(unreadable)
	}
	return outcome(answer)
}

// maxFailText is as much of a text as fail sees of an answer that is no JSON.
const maxFailText = 64 << 10

// scope is what the rule fail sees. As members, the body has all that are asked for.
func (a *Answer) scope(body lang.Value, members bool) lang.Scope {
	return failScope{a, body, members || body.JSON()[0] == '{'}
}

type failScope struct {
	a       *Answer
	body    lang.Value
	members bool
}

// Lookup returns what a name of the rule stands for.
func (s failScope) Lookup(name string) (lang.Term, bool) {
	switch name {
	case "status":
		return lang.Of(s.a.Code), true
	case "headers":
		return lang.Members{
			Keys: func() []string {
				names := make([]string, 0, len(s.a.Header))
				for name := range s.a.Header {
					names = append(names, strings.ToLower(name))
				}
				slices.Sort(names)
				return slices.Compact(names)
			},
			Get: func(name string) (lang.Value, bool) {
				values := s.a.Header.Values(name)
				if len(values) == 0 {
					return lang.Null, true
				}
				return lang.Text(strings.ToValidUTF8(strings.Join(values, ", "), "?")), true
			},
		}, true
	case "body":
		if !s.members {
			return s.body, true
		}
		return lang.Members{
			Keys: func() []string { return keysOf(s.body) },
			Get: func(name string) (lang.Value, bool) {
				return memberOf(s.body, name), true
			},
		}, true
	}
	return nil, false
}

// keysOf lists the members of an object, sorted.
func keysOf(v lang.Value) (keys []string) {
	_ = lang.EachMember([]byte(v.JSON()), func(key, _ []byte) error { // What is no object has none.
		keys = append(keys, string(key))
		return nil
	})
	slices.Sort(keys)
	return slices.Compact(keys)
}

// memberOf is a member of an object; null where there is none.
func memberOf(v lang.Value, name string) (out lang.Value) {
	_ = lang.EachMember([]byte(v.JSON()), func(key, value []byte) error {
		if string(key) == name {
			out = lang.Trusted(string(value))
		}
		return nil
	})
	return out
}

// unread is the outcome of an answer that is none, or too large.
func unread(err error) sinks.Result {
	kind := "bad_response"
	if r := (*envelope.Refusal)(nil); errors.As(err, &r) && r.Reason == envelope.TooLarge {
		kind = "too_large"
	}
	return sinks.CompleteError(&sinks.Error{Type: kind, Message: "the response is no answer: " + err.Error(), Class: "function"})
}

// completion makes a result of the answer of a function, which may be an event that says itself how it went.
func (a *Answer) completion() sinks.Result {
	answer, err := envelope.FromAnswer(a.Header, a.Body, MaxResponse)
	if err != nil {
		return unread(err)
	}
	return outcome(answer)
}

// outcome makes a result of an answer that succeeded, unless it says itself that it did not.
func outcome(answer envelope.Answer) sinks.Result {
	switch answer.Type {
	case envelope.Failed:
		return sinks.CompleteError(errorOf(envelope.FailureOf(answer.Value, answer.Problem), "failed", "the function failed"))
	case envelope.Continue:
		r := sinks.Complete([]byte(answer.Value.JSON()))
		r.Completion.Continue = true
		return r
	}
	return sinks.Complete([]byte(answer.Value.JSON()))
}

// Failure makes an error of the answer to a call that failed: what it says is its data where it can be read, and a message else.
func (a *Answer) Failure() *sinks.Error {
	answer, err := envelope.FromAnswer(a.Header, a.Body, MaxResponse)
	return a.failureOf(answer, err)
}

func (a *Answer) failureOf(answer envelope.Answer, unreadable error) *sinks.Error {
	var said envelope.Failure
	body := a.Body
	if text, isText := answer.Text(); isText {
		body = []byte(text)
		if raw, isJSON := lang.TextOf(bytes.TrimSpace(a.Body)); isJSON && raw == text {
			said.Data = answer.Value
		}
	} else if unreadable == nil {
		said = envelope.FailureOf(answer.Value, answer.Problem)
		body = []byte(answer.Value.JSON())
		if answer.Value.IsNull() {
			body = nil
		}
	}
	return errorOf(said, a.kind(), a.message(body))
}

// errorOf fills in what a failure does not say.
func errorOf(f envelope.Failure, kind, text string) *sinks.Error {
	e := &sinks.Error{Type: kind, Message: text, Class: "function"}
	if f.Type != "" {
		e.Type = f.Type
	}
	if f.Message != "" {
		e.Message = f.Message
	}
	if !f.Data.IsNull() {
		e.Data = []byte(f.Data.JSON())
	}
	return e
}

// message is what a body says that no error was read from: a page's title, or the beginning of a text.
func (a *Answer) message(body []byte) string {
	text := strings.TrimSpace(string(bytes.ToValidUTF8(body[:min(len(body), maxFailText)], []byte("?"))))
	if a.isPage(text) {
		text = titleOf(text)
	}
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	text = strings.TrimPrefix(text, strconv.Itoa(a.Code)+" ") // A page's title begins so.
	switch {
	case text == "":
		return fmt.Sprintf("status %d %s", a.Code, http.StatusText(a.Code))
	case a.Code < 300:
		return text
	}
	return fmt.Sprintf("status %d: %s", a.Code, text)
}

// Brief is what an answer is, in a line.
func (a *Answer) Brief(body []byte) string {
	return "status " + strconv.Itoa(a.Code) + ", " + a.message(body)
}

// isPage tells HTML by its type, or by how it begins.
func (a *Answer) isPage(text string) bool {
	begin := strings.ToLower(text[:min(len(text), 9)])
	return strings.Contains(strings.ToLower(a.Header.Get("Content-Type")), "html") || begin == "<!doctype" || strings.HasPrefix(begin, "<html")
}

// titleOf is what an HTML page says in short: its title, or its text without tags.
func titleOf(page string) string {
	lower := strings.ToLower(page)
	if begin := strings.Index(lower, "<title>"); begin >= 0 && len(lower) == len(page) {
		if title, _, ok := strings.Cut(page[begin+len("<title>"):], "<"); ok && strings.TrimSpace(title) != "" {
			return strings.Join(strings.Fields(title), " ")
		}
	}
	var text strings.Builder
	inside := false
	for _, c := range page {
		switch {
		case c == '<':
			inside = true
			text.WriteByte(' ')
		case c == '>' && inside:
			inside = false
		case !inside:
			text.WriteRune(c)
		}
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// retryAfterMost is what counts of a Retry-After that asks for more: the outbox waits for less yet.
const retryAfterMost = 24 * time.Hour

// retryAfter reads the header's seconds or date (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v != "" && strings.Trim(v, "0123456789") == "" {
		seconds, err := strconv.Atoi(v)
		if err != nil || seconds > int(retryAfterMost/time.Second) {
			return retryAfterMost
		}
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), retryAfterMost)
	}
	return 0
}
