package engine

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
	"unicode"

	"github.com/onward-router/onward/config/lang"
)

// What AWS Lambda tells its destinations, for readers that know it: the record of "Capturing records of Lambda asynchronous invocations" in the AWS Lambda
// developer guide, and the message of a dead letter queue. What has no counterpart here says what AWS's own says where it is constant.

// The conditions of a run's end. The first four are AWS's.
const (
	ConditionSuccess   = "Success"
	ConditionExhausted = "RetriesExhausted"        // it failed, and is not tried again
	ConditionAged      = "EventAgeExceeded"        // there was no time left for another try, or nobody answered in time
	ConditionStopped   = "ZeroReservedConcurrency" // its function is stopped by concurrency: 0
	ConditionCancelled = "Cancelled"
)

// ZeroConcurrency is the type of the error of a call of a function that concurrency: 0 has stopped.
const ZeroConcurrency = "zero_concurrency"

// condition is how r ended.
func (r *run) condition() string {
	e := r.outcome.Err
	switch {
	case e == nil:
		return ConditionSuccess
	case r.cancelled:
		return ConditionCancelled
	case e.Type == ZeroConcurrency:
		return ConditionStopped
	case r.aged, e.Type == "deadline", e.Type == "undelivered", e.Type == "unanswered":
		return ConditionAged
	}
	return ConditionExhausted
}

// tried is how often the function was tried whose outcome r ended with. A flow of several steps that succeeded counts once.
func (r *run) tried() int {
	switch {
	case r.condition() == ConditionStopped:
		return 0
	case r.outcome.Err != nil:
		return int(r.attempts)
	case r.def.Flow != nil && r.def.Flow.Use == lang.UseFunction:
		return int(r.calls)
	}
	return 1
}

// invoked is how often AWS would say that the function was: throttled tries and those that its platform failed are no invocations (LocalStack's event manager, held to AWS by its
// snapshots, counts none of them, and none where the function is stopped). A flow of which no function failed counts once.
func (r *run) invoked() int {
	switch {
	case r.outcome.Err != nil && r.attempts > 0:
		return max(0, int(r.attempts-r.rare().spared))
	case r.def.Flow != nil && r.def.Flow.Use == lang.UseFunction:
		return int(r.calls - r.rare().spared)
	}
	return 1
}

// reached says whether a function was at work when its try failed so.
func reached(e *lang.Error) bool {
	switch e.Class {
	case lang.ClassThrottle:
		return false
	case lang.ClassPlatform: // It answered, and nobody could read it; or it died of it.
		return e.Type == "bad_response" || e.Type == "too_large" || e.Type == "runtime_died" || e.Type == "upstream_died"
	}
	return true
}

// spare notes in how many tries the function saw nothing that r ended with, or that failed last.
func (r *run) spare(n int32) {
	if n != r.rare().spared {
		r.own().spared = n
	}
}

// endValue is what a destination's expressions see as end.
func (r *run) endValue(kind string) lang.Value {
	return lang.Object(
		lang.Member{Key: "id", Value: lang.Text(EndID(r.id, r.rare().redrives))},
		lang.Member{Key: "type", Value: lang.Text(kind)},
		lang.Member{Key: "condition", Value: lang.Text(r.condition())},
		lang.Member{Key: "attempts", Value: lang.Of(r.tried())},
		lang.Member{Key: "started", Value: lang.Text(time.Unix(0, r.started).UTC().Format(time.RFC3339Nano))},
		lang.Member{Key: "ended", Value: lang.Text(time.Unix(0, r.ended).UTC().Format(time.RFC3339Nano))},
	)
}

// uuid is made of words, and the same words make the same one (RFC 9562, version 8).
func uuid(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// requestID is AWS's name for all tries of one event: a UUID.
func (r *run) requestID() string { return uuid(r.id.String()) }

// defaultARN names a function that is not AWS's in the form that their readers parse: a region and an account that no customer has.
func defaultARN(function string) string {
	return "arn:aws:lambda:onward:000000000000:function:" + function + ":$LATEST"
}

// arn is how the record names the function: always with what it was qualified by.
func (r *run) arn(d *lang.Destination) string {
	if d.ARN == "" {
		return defaultARN(strings.TrimPrefix(r.def.Trigger, lang.InvokePrefix))
	}
	if strings.Count(d.ARN, ":") == 6 {
		return d.ARN + ":$LATEST"
	}
	return d.ARN
}

// record is r's end as AWS tells it. Where it would be larger than the destination takes, or a value may be, it leaves out the request, and then the response, as AWS does.
func (s *State) record(r *run, d *lang.Destination) lang.Value {
	dress := func(request, response bool) lang.Value {
		v := r.awsRecord(d, request, response)
		if d.Format == lang.FormatEventBridge {
			v = r.eventBridge(d, v)
		}
		return v
	}
	fits := func(v lang.Value) bool {
		return s.unfit("the record", v) == nil && (d.Bytes == 0 || v.Size() <= int(d.Bytes))
	}
	v := dress(true, true)
	if !fits(v) {
		v = dress(false, true)
	}
	if !fits(v) {
		v = dress(false, false)
	}
	return v
}

func (r *run) awsRecord(d *lang.Destination, request, response bool) lang.Value {
	condition := r.condition()
	list := []lang.Member{
		{Key: "version", Value: lang.Text("1.0")},
		{Key: "timestamp", Value: lang.Text(time.Unix(0, r.ended).UTC().Format("2006-01-02T15:04:05.000Z"))},
		{Key: "requestContext", Value: lang.Object(
			lang.Member{Key: "requestId", Value: lang.Text(r.requestID())},
			lang.Member{Key: "functionArn", Value: lang.Text(r.arn(d))},
			lang.Member{Key: "condition", Value: lang.Text(condition)},
			lang.Member{Key: "approximateInvokeCount", Value: lang.Of(r.invoked())},
		)},
	}
	if request {
		list = append(list, lang.Member{Key: "requestPayload", Value: r.data})
	}
	if condition == ConditionStopped { // It was never invoked: there is no response.
		return lang.Object(list...)
	}
	context := []lang.Member{{Key: "statusCode", Value: lang.Of(200)}, {Key: "executedVersion", Value: lang.Text("$LATEST")}}
	if r.outcome.Err != nil {
		context = append(context, lang.Member{Key: "functionError", Value: lang.Text("Unhandled")})
	}
	list = append(list, lang.Member{Key: "responseContext", Value: lang.Object(context...)})
	if response {
		list = append(list, lang.Member{Key: "responsePayload", Value: r.payload()})
	}
	return lang.Object(list...)
}

// payload is what the function answered; of a failure in the form of Lambda's runtimes.
func (r *run) payload() lang.Value {
	e := r.outcome.Err
	if e == nil {
		return r.outcome.Value
	}
	if list, ok := members(e.Data); ok {
		for _, m := range list {
			if m.Key == "errorMessage" || m.Key == "errorType" {
				return e.Data // It comes from such a runtime.
			}
		}
	}
	return lang.Object(
		lang.Member{Key: "errorMessage", Value: lang.Text(r.lastWords(e))},
		lang.Member{Key: "errorType", Value: lang.Text(e.Type)},
		lang.Member{Key: "requestId", Value: lang.Text(r.requestID())},
		lang.Member{Key: "stackTrace", Value: lang.Of([]string{})},
	)
}

// lastWords are an error's message as the function said it: that there was no time for another try is told by the condition.
func (r *run) lastWords(e *lang.Error) string {
	if r.aged {
		if i := strings.LastIndex(e.Message, notAgain); i > 0 {
			return e.Message[:i]
		}
	}
	return e.Message
}

// eventBridge is a record as EventBridge delivers it.
func (r *run) eventBridge(d *lang.Destination, record lang.Value) lang.Value {
	arn := r.arn(d)
	parts := strings.SplitN(arn, ":", 7)
	region, account := parts[3], parts[4]
	how := "Success"
	if r.outcome.Err != nil {
		how = "Failure"
	}
	return lang.Object(
		lang.Member{Key: "version", Value: lang.Text("0")},
		lang.Member{Key: "id", Value: lang.Text(uuid(r.id.String(), "eventbridge", EndID(r.id, r.rare().redrives), d.Name))},
		lang.Member{Key: "detail-type", Value: lang.Text("Lambda Function Invocation Result - " + how)},
		lang.Member{Key: "source", Value: lang.Text("lambda")},
		lang.Member{Key: "account", Value: lang.Text(account)},
		lang.Member{Key: "time", Value: lang.Text(time.Unix(0, r.ended).UTC().Format("2006-01-02T15:04:05Z"))},
		lang.Member{Key: "region", Value: lang.Text(region)},
		lang.Member{Key: "resources", Value: lang.Of([]string{"arn:aws:events:" + region + ":" + account + ":event-bus/default", arn})},
		lang.Member{Key: "detail", Value: record},
	)
}

// letterAttributes are what a dead letter queue of AWS gets beside the request: RequestID, ErrorCode and ErrorMessage, by names that an event's attributes
// may have.
func letterAttributes(r *run) []lang.Member {
	message := ""
	if e := r.outcome.Err; e != nil {
		message = r.lastWords(e)
	}
	return []lang.Member{
		{Key: "requestid", Value: lang.Text(r.requestID())}, {Key: "errorcode", Value: lang.Text("200")}, {Key: "errormessage", Value: lang.Text(attributeText(message))},
	}
}

// knativeAttributes are those of the event that started r, which a dead letter sink of Knative gets, and its three (Knative Eventing, delivery failure: event
// extensions): where it failed, the code if an answer by HTTP had one, and what was answered, in base64 and cut.
func knativeAttributes(r *run) []lang.Member {
	list, _ := members(r.event)
	e := r.outcome.Err
	dest := "/triggers/" + r.def.Trigger
	if s := r.def.Flow; s != nil && s.Use == lang.UseFunction {
		dest = "/functions/" + s.Target
	}
	own := []lang.Member{{Key: "knativeerrordest", Value: lang.Text(dest)}}
	if code, is := strings.CutPrefix(e.Type, "http_"); is {
		own = append(own, lang.Member{Key: "knativeerrorcode", Value: lang.Text(code)})
	}
	body := e.Message
	if !e.Data.IsNull() {
		if body = e.Data.JSON(); body[0] == '"' {
			_ = e.Data.Decode(&body) // It is a text.
		}
	}
	const most = 768 // bytes, which are 1,024 characters
	own = append(own, lang.Member{Key: "knativeerrordata", Value: lang.Text(base64.StdEncoding.EncodeToString([]byte(body[:min(len(body), most)])))})
	return replaced(list, own)
}

// attributeText is a text as an attribute may hold it: on one line, and cut where it is long.
func attributeText(text string) string {
	const most = 1000
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text)
	if text = strings.Join(strings.Fields(text), " "); text == "" {
		return "failed"
	}
	n := min(len(text), most)
	for n > 0 && n < len(text) && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}
