package envelope_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/envelope"
)

// TestSpoiled: a completion whose data are not what they are said to be is read all the same, with what is wrong, in each mode and by each door; the same
// event without a cause is refused as ever.
func TestSpoiled(t *testing.T) {
	t.Parallel()
	const asJSON = "application/json"
	structured := func(rest string) string {
		return `{"specversion":"1.0","id":"1","source":"/f","type":"dev.onward.function.succeeded","causationid":"R~a.1",` + rest
	}
	for name, c := range map[string]struct {
		content, encoding, body string
		want                    string
		is                      envelope.Reason
	}{
		"JSON cut short":           {content: asJSON, body: `{"a":`, want: "data is not JSON", is: envelope.Invalid},
		"NaN":                      {content: asJSON, body: `NaN`, want: "not JSON", is: envelope.Invalid},
		"text of another charset":  {content: "text/plain", body: "\xff", want: "UTF-8", is: envelope.Invalid},
		"a charset that is none":   {content: "text/plain; charset=klingon", body: "x", want: "klingon", is: envelope.Unsupported},
		"no media type":            {content: ";;", body: "1", want: "media type", is: envelope.Unsupported},
		"gzip that is none":        {content: asJSON, encoding: "gzip", body: "1", want: "gzip", is: envelope.Invalid},
		"br":                       {content: asJSON, encoding: "br", body: "1", want: "br", is: envelope.Unsupported},
		"too large":                {content: asJSON, body: `"` + strings.Repeat("x", envelope.MaxCompletion) + `"`, want: "more than", is: envelope.TooLarge},
		"structured, NaN":          {content: envelope.Structured, body: structured(`"data":NaN}`), want: "not a JSON object", is: envelope.Invalid},
		"structured, cut short":    {content: envelope.Structured, body: structured(`"data":{"a":[1,`), want: "not a JSON object", is: envelope.Invalid},
		"structured, no base64":    {content: envelope.Structured, body: structured(`"data_base64":"%"}`), want: "not base64", is: envelope.Invalid},
		"structured, no JSON":      {content: envelope.Structured, body: structured(`"datacontenttype":"application/json","data_base64":"e30x"}`), want: "not JSON", is: envelope.Invalid},
		"structured, a text":       {content: envelope.Structured, body: structured(`"datacontenttype":"text/plain","data":{}}`), want: "not a text", is: envelope.Invalid},
		"structured, data twice":   {content: envelope.Structured, body: structured(`"data":1,"data":2}`), want: "comes twice", is: envelope.Invalid},
		"structured, both of them": {content: envelope.Structured, body: structured(`"data":1,"data_base64":""}`), want: "exclude", is: envelope.Invalid},
	} {
		h := http.Header{"Content-Type": {c.content}}
		fields := []envelope.Field{{Key: "content-type", Value: []byte(c.content)}}
		binary := c.content != envelope.Structured
		if c.encoding != "" {
			h.Set("Content-Encoding", c.encoding)
			fields = append(fields, envelope.Field{Key: "content-encoding", Value: []byte(c.encoding)})
		}
		if binary {
			for name, value := range map[string]string{"specversion": "1.0", "id": "1", "source": "/f", "type": envelope.Succeeded, "causationid": "R~a.1"} {
				h.Set("Ce-"+name, value)
				fields = append(fields, envelope.Field{Key: "ce_" + name, Value: []byte(value)})
			}
		}
		byHTTP, err := envelope.FromHTTP(h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		inRecord, err := envelope.FromRecord(fields)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, head := range []*envelope.Head{byHTTP, inRecord} {
			events, bad, err := head.Read([]byte(c.body), limits)
			if err != nil || len(bad) > 0 || len(events) != 1 {
				t.Errorf("%s: %v, %v", name, bad, err)
				continue
			}
			why, is := envelope.Spoiled(&events[0]).(*envelope.Refusal)
			if !is || why.Reason != c.is || !strings.Contains(why.What, c.want) || string(events[0].Data()) != c.body || envelope.Check(&events[0]) != error(why) {
				t.Errorf("%s: %v, with %d bytes", name, why, len(events[0].Data()))
			}
			mended := envelope.Mended(&events[0])
			if err := envelope.Check(&mended); err != nil || envelope.Extension(&mended, "causationid") != "R~a.1" || mended.Data() != nil {
				t.Errorf("%s: mended: %v", name, err)
			}
		}
		if _, err := envelope.FromAnswer(h, []byte(c.body), envelope.MaxCompletion); err == nil && name != "a charset that is none" {
			t.Errorf("%s: it is an answer", name)
		}
		delete(h, "Ce-Causationid")
		head, err := envelope.FromHTTP(h)
		if err == nil {
			_, _, err = head.Read([]byte(strings.Replace(c.body, "causationid", "other", 1)), limits)
		}
		if err == nil {
			t.Errorf("%s: without a cause it is an event", name)
		}
	}
}

// TestRefusedBody: what a door cannot even read of a body.
func TestRefusedBody(t *testing.T) {
	t.Parallel()
	why := &envelope.Refusal{Reason: envelope.TooLarge, What: "it is too large"}
	header := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/f"}, "Ce-Type": {envelope.Failed}, "Ce-Causationid": {"R~a.1"}}
	head, err := envelope.FromHTTP(header)
	if err != nil || !head.Refuse(why) {
		t.Fatal(err)
	}
	if events, _, err := head.Read(nil, limits); err != nil || envelope.Spoiled(&events[0]) != error(why) {
		t.Errorf("%v, %v", events, err)
	}
	header.Set("Ce-Type", "order")
	if head, err = envelope.FromHTTP(header); err != nil || head.Refuse(why) {
		t.Errorf("no completion: %v", err)
	}
	if head, err = envelope.FromHTTP(http.Header{"Content-Type": {envelope.Structured}}); err != nil || head.Refuse(why) {
		t.Errorf("nobody knows what it is: %v", err)
	}
}
