package envelopetest

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
)

//go:embed emitters.json
var emitted []byte

// Cases returns all, made once: they are shared, and not to be changed.
func Cases() []Case { return all() }

var all = sync.OnceValue(func() []Case {
	all := slices.Concat(attributes(), forms(), data(), batches(), emitters())
	for i := range all {
		if all[i].Name == "structured/gzip" {
			all[i].Body = zip(all[i].Body)
		}
	}
	return all
})

// sent are what the SDKs of other languages were given: the event's words after its time, in either mode. (JS 10.0.0, Python 1.12.0 and 2.2.0, as they put
// it on the wire.)
var sent = map[string]string{
	"object": `datacontenttype=application/json | data={"a":1,"b":[true,null,"x"]}`, "object, no type": `data={"a":1}`, "text": `datacontenttype=text/plain | data="größe \"x\" \\ \n"`, "JSON text": `datacontenttype=application/json | data="hello"`,
	"bytes": "datacontenttype=application/octet-stream | bytes=AAH//g==", "bytes, no type": "bytes=AAH//g==", "bytes that are text": "datacontenttype=image/png | bytes=aGk=", "none": "", "xml": `datacontenttype=application/xml | data="<a>ü</a>"`,
	"accents": "datacontenttype=application/json | subject=café | ext=é | data=1", "all": "datacontenttype=application/json | subject=s | dataschema=https://x.example/s | num=42 | flag=true | data=[1]", "number": "datacontenttype=application/json | data=5",
}

// otherwise is what an SDK puts on the wire though it was given that: by sdk, name and mode.
var otherwise = map[string]string{
	"js/object, no type/binary": `datacontenttype=application/json; charset=utf-8 | data={"a":1}`, "js/none/binary": "datacontenttype=application/json; charset=utf-8",
	"js/bytes, no type/binary": "!not UTF-8", "js/JSON text/binary": "!data is not JSON", "python 2/JSON text/binary": "!data is not JSON", // Said to be JSON, and not.
	"python 1/text/binary": `datacontenttype=text/plain | data="\"gr\\u00f6\\u00dfe \\\"x\\\" \\\\ \\n\""`, "python 1/xml/binary": `datacontenttype=application/xml | data="\"<a>\\u00fc</a>\""`,
	"python 1/object, no type/binary": "bytes=eyJhIjogMX0=", "python 2/object, no type/binary": "bytes=eyJhIjogMX0=", // Without a type there is none.
	"python 2/accents/binary": "datacontenttype=application/json | subject=café ☃ | ext=é 100% | data=1", "python 2/accents/structured": "datacontenttype=application/json | subject=café ☃ | ext=é 100% | data=1",
	"python 2/all/binary": "datacontenttype=application/json | subject=s | dataschema=https://x.example/s | num=42 | flag=True | data=[1]",
}

// answered is what a function's answer of these bytes is, where its type says nothing.
var answered = map[string]string{
	"python 1/object, no type/binary": `{"a":1}`, "python 2/object, no type/binary": `{"a":1}`, "python 1/text/binary": `"gr\u00f6\u00dfe \"x\" \\ \n"`,
}

func emitters() []Case {
	var rows []struct {
		SDK, Name, Mode string
		Headers         [][2]string
		Body            string
	}
	if err := json.Unmarshal(emitted, &rows); err != nil {
		panic(err) // The file is part of the program.
	}
	var out []Case
	for _, r := range rows {
		key := r.SDK + "/" + r.Name + "/" + r.Mode
		body, _ := base64.StdEncoding.DecodeString(r.Body) // As above.
		c := Case{Name: "emitters/" + key, Mode: Structured, Body: string(body), Want: sent[r.Name], Says: answered[key]}
		if r.Mode == "binary" {
			c.Mode, c.Doors = Binary, HTTP // As HTTP has them: percents, and é as one byte.
		}
		for _, h := range r.Headers {
			v, _ := base64.StdEncoding.DecodeString(h[1]) // As above.
			c.Headers = append(c.Headers, Header{h[0], string(v)})
		}
		if want, is := otherwise[key]; is {
			c.Want = want
		}
		if c.Want == "" {
			c.Want = "time=2026-11-26T22:57:05.123Z"
		} else if c.Want[0] != '!' {
			c.Want = "time=2026-11-26T22:57:05.123Z | " + c.Want
		}
		out = append(out, c)
	}
	return out
}
