package envelopetest

import (
	"bytes"
	"compress/gzip"
	"strings"
)

const event64 = `{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", `

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// forms are cases of an event as a JSON text.
func forms() []Case {
	return []Case{
		structured("no data", ``, ""), raw("a list", `[]`, "!not a JSON object"), raw("null", `null`, "!not a JSON object"), raw("nothing", ``, "!not a JSON object"), raw("a text", `"x"`, "!not a JSON object"), raw("two", `{} {}`, "!not a JSON object"),
		raw("trailing text", `{"specversion":"1.0","id":"1","source":"/s","type":"t"} x`, "!not a JSON object"), raw("cut short", `{"specversion":"1.0","id":"1"`, "!not a JSON object"), raw("a trailing comma", `{"specversion":"1.0",}`, "!not a JSON object"),
		raw("single quotes", `{'specversion':'1.0'}`, "!not a JSON object"), raw("a comment", `{/**/"specversion":"1.0"}`, "!not a JSON object"), raw("blanks", " \r\n\t{ \"specversion\" : \"1.0\" , \"id\" : \"1\", \"source\":\"/s\",\"type\" :\"t\" } \n", ""),
		raw("a mark of byte order", "\ufeff"+`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}`, "data=1"), raw("in another order", `{"data":{"a":1},"type":"t","source":"/s","id":"1","specversion":"1.0"}`, `data={"a":1}`),
		raw("0.3 that ends the SDK", `{"datacontentencoding":"","specversion":"0.3","id":"1","source":"/a","type":"t"}`, `!specversion "0.3" is not supported`), raw("empty object", `{}`, "!specversion is missing"),
		structured("data twice", `"data":1,"data":2`, "!data comes twice"), structured("data_base64 twice", `"data_base64":"AA==","data_base64":"AA=="`, "!data_base64 comes twice"), structured("both", `"data":1,"data_base64":"AA=="`, "!exclude each other"),
		structured("data null and data_base64", `"data":null,"data_base64":"AA=="`, "!exclude each other"), structured("data and data_base64 null", `"data":1,"data_base64":null`, "data=1"),
		structured("not UTF-8 in data", "\"data\":\"a\xff\"", "!not UTF-8"), structured("half a surrogate in data", `"data":"\ud83d"`, "!half a surrogate"), structured("512 deep", `"data":`+nested(512), "data="+nested(512)), structured("513 deep", `"data":`+nested(513), "!nested deeper than 512"),
		structured("100,000 deep", `"data":`+nested(100_000), "!nested deeper than 512"), structured("100,000 deep, cut", `"data":`+strings.Repeat(`{"a":`, 100_000), "!nested deeper than 512"),
		with("Application/CloudEvents+JSON", structured("content type in capitals", `"data":1`, "data=1")), with("application/cloudevents+json; charset=UTF-8", structured("content type with a charset", `"data":1`, "data=1")),
		with(`application/cloudevents+json;charset="utf-8" ; x=y`, structured("content type with parameters", `"data":1`, "data=1")), with("application/cloudevents+json; charset=iso-8859-1", structured("in ISO-8859-1", "\"subject\":\"caf\xe9\",\"data\":\"\xe9\"", `subject=café | data="é"`)),
		with("application/cloudevents+json; charset=koi8-r", structured("in KOI8-R", ``, "!charset \"koi8-r\" is not read")), with("application/cloudevents+json; charset=utf-16le", raw("in UTF-16", utf16le(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"ü🙂"}`), `data="ü🙂"`)),
		with("application/cloudevents+avro", structured("in Avro", ``, "!is not supported")), with("application/cloudevents+xml", structured("in XML", ``, "!is not supported")), with("application/cloudevents", structured("in no format", ``, "!is not supported")),
	}
}

func utf16le(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > 0xffff {
			r -= 0x10000
			hi, lo := 0xd800+r>>10, 0xdc00+r&0x3ff
			b.Write([]byte{byte(hi), byte(hi >> 8), byte(lo), byte(lo >> 8)})
			continue
		}
		b.Write([]byte{byte(r), byte(r >> 8)})
	}
	return b.String()
}

func utf16be(s string) string {
	b := []byte(utf16le(s))
	for i := 0; i < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return string(b)
}

// data are cases of what an event carries, in the structured mode.
func data() []Case {
	out := []Case{
		structured("JSON", `"data":{"b":1,"a":[1.0,12345678901234567890,null]}`, `data={"b":1,"a":[1.0,12345678901234567890,null]}`), structured("JSON null", `"data":null`, ""), structured("JSON text", `"data":"x"`, `data="x"`), structured("JSON with blanks", `"data": { "a" : [ 1 ] } `, `data={"a":[1]}`),
		structured("JSON false", `"data":false`, "data=false"), structured("JSON that repeats a key", `"data":{"a":1,"a":2}`, `data={"a":1,"a":2}`), structured("JSON declared", `"datacontenttype":"application/json","data":1`, "datacontenttype=application/json | data=1"),
		structured("JSON declared in capitals", `"datacontenttype":"Application/JSON","data":{"a":1}`, `datacontenttype=Application/JSON | data={"a":1}`), structured("JSON by suffix", `"datacontenttype":"application/vnd.x+json","data":[1]`, "datacontenttype=application/vnd.x+json | data=[1]"),
		structured("text/json", `"datacontenttype":"text/json","data":[1]`, "datacontenttype=text/json | data=[1]"), structured("JSON with a charset", `"datacontenttype":"application/json; charset=iso-8859-1","data":"ü"`, `datacontenttype=application/json; charset=iso-8859-1 | data="ü"`),
		structured("the type after the data", `"data":"a\u00fc","datacontenttype":"text/plain"`, `datacontenttype=text/plain | data="aü"`), structured("text", `"datacontenttype":"text/plain","data":"größe \"\\ \n"`, `datacontenttype=text/plain | data="größe \"\\ \n"`),
		structured("text that is JSON", `"datacontenttype":"text/plain","data":"{\"a\":1}"`, `datacontenttype=text/plain | data="{\"a\":1}"`), structured("empty text", `"datacontenttype":"text/plain","data":""`, `datacontenttype=text/plain | data=""`),
		structured("text null", `"datacontenttype":"text/plain","data":null`, "datacontenttype=text/plain"), structured("text with a charset", `"datacontenttype":"text/plain; charset=iso-8859-1","data":"ü"`, `datacontenttype=text/plain; charset=iso-8859-1 | data="ü"`),
		structured("an object as text", `"datacontenttype":"text/plain","data":{"a":1}`, "!data is not a text"), structured("a number as XML", `"datacontenttype":"application/xml","data":1`, "!data is not a text"), structured("XML", `"datacontenttype":"application/xml","data":"<a>ü</a>"`, `datacontenttype=application/xml | data="<a>ü</a>"`),
		structured("SVG", `"datacontenttype":"image/svg+xml","data":"<svg/>"`, `datacontenttype=image/svg+xml | data="<svg/>"`), structured("a text as PNG", `"datacontenttype":"image/png","data":"hi"`, "datacontenttype=image/png | bytes=aGk="), structured("NDJSON", `"datacontenttype":"application/x-ndjson","data":"{}\n{}"`, `datacontenttype=application/x-ndjson | data="{}\n{}"`),
		structured("no media type", `"datacontenttype":"a b/c;","data":1`, "!datacontenttype"), structured("a type of one word", `"datacontenttype":"json","data":1`, "!datacontenttype"), structured("type empty", `"datacontenttype":"","data":1`, "!datacontenttype is empty"), structured("type null", `"datacontenttype":null,"data":1`, "data=1"),
		structured("type twice", `"datacontenttype":"text/plain","datacontenttype":"text/plain"`, "!datacontenttype comes twice"), structured("a charset twice", `"datacontenttype":"text/plain; charset=a; charset=b","data":"x"`, "!datacontenttype"),
		// JSON format 3.1.1: base64 has no JSON for a default, in whatever order and spacing it comes.
		raw("base64 with blanks", event64+`"data_base64": "eyJhIjoxfQ=="}`, "bytes=eyJhIjoxfQ=="), raw("base64 first", `{"data_base64":"eyJhIjoxfQ==","specversion":"1.0","id":"1","source":"/s","type":"t"}`, "bytes=eyJhIjoxfQ=="),
		raw("base64 before its type", event64+`"data_base64" : "eyJhIjoxfQ==" , "datacontenttype": "application/json"}`, `datacontenttype=application/json | data={"a":1}`), raw("base64 after its type", event64+`"datacontenttype": "application/json", "data_base64": "eyJhIjoxfQ=="}`, `datacontenttype=application/json | data={"a":1}`),
		raw("base64 before the version", `{ "data_base64" : "aGk=" , "datacontenttype":"image/png", "specversion":"1.0","id":"1","source":"/s","type":"t"}`, "datacontenttype=image/png | bytes=aGk="), structured("base64 escaped", `"data_base64":"\u0061G\u006b\u003d"`, "bytes=aGk="), structured("base64 of a slash", `"data_base64":"\/\/8="`, "bytes=//8="),
		structured("base64 empty", `"data_base64":""`, "bytes="), structured("base64 null", `"data_base64":null`, ""), structured("base64 of text", `"datacontenttype":"text/plain","data_base64":"Z3LDtsOfZQ=="`, `datacontenttype=text/plain | data="größe"`), structured("base64 of text in ISO-8859-1", `"datacontenttype":"text/plain; charset=iso-8859-1","data_base64":"6Q=="`, `datacontenttype=text/plain; charset=iso-8859-1 | data="é"`),
		structured("base64 of no text", `"datacontenttype":"text/plain","data_base64":"//4="`, "!data is not UTF-8"), structured("base64 of no JSON", `"datacontenttype":"application/json","data_base64":"ew=="`, "!data is not JSON"), structured("base64 of deep JSON", `"datacontenttype":"application/json","data_base64":"`+strings.Repeat("W1tb", 300)+strings.Repeat("XV1d", 300)+`"`, "!nested deeper than 512"),
		structured("base64 that is none", `"data_base64":"%"`, "!data_base64 is not base64"), structured("base64 without its end", `"data_base64":"aGk"`, "!data_base64 is not base64"), structured("base64 for URLs", `"data_base64":"_-8="`, "!data_base64 is not base64"), structured("base64 a number", `"data_base64":1`, "!data_base64 is not base64"), structured("base64 an object", `"data_base64":{}`, "!data_base64 is not base64"),
	}
	return append(out, bodies()...)
}

// bodies are cases of what an event carries, in the binary mode.
func bodies() []Case {
	typed := func(contentType string) string { return "Content-Type: " + contentType }
	return []Case{
		binary("JSON", "", `{"a":1}`, `data={"a":1}`), binary("JSON in capitals", typed("Application/JSON"), `{"a":1}`, `data={"a":1}`), binary("JSON with a charset", typed("application/json; charset=utf-8"), `"ü"`, `data="ü"`), binary("JSON by suffix", typed("application/problem+json"), `{"a":1}`, `data={"a":1}`),
		binary("JSON in ISO-8859-1", typed("application/json; charset=iso-8859-1"), "\"\xe9\"", `data="é"`), binary("JSON in UTF-16", typed("application/json; charset=utf-16"), "\xff\xfe"+utf16le(`{"a":"🙂"}`), `data={"a":"🙂"}`), binary("JSON not UTF-8", "", "\"\xe9\"", "!not UTF-8"), binary("JSON with a mark", "", "\ufeff1", "data=1"),
		binary("no JSON", "", `{"a":1`, "!data is not JSON"), binary("two", "", `1 2`, "!data is not JSON"), binary("NaN", "", `NaN`, "!data is not JSON"), binary("513 deep", "", nested(513), "!nested deeper than 512"), binary("512 deep", "", nested(512), "data="+nested(512)), binary("half a surrogate", "", `"\ud800"`, "!half a surrogate"),
		binary("null", "", "null", ""), binary("nothing", "", "", ""), binary("nothing, untyped", typed("-"), "", ""), binary("blanks", "", "  ", "!data is not JSON"),
		as(binary("untyped text", typed("-"), "hello", "bytes=aGVsbG8="), `"hello"`), as(binary("untyped JSON", typed("-"), `{"a":1}`, "bytes=eyJhIjoxfQ=="), `{"a":1}`), binary("untyped bytes", typed("-"), "\xff\x00", "bytes=/wA="),
		binary("text", typed("text/plain"), "hällo", `data="hällo"`), as(binary("text that is JSON", typed("text/plain"), `{"a":1}`, `data="{\"a\":1}"`), `{"a":1}`), binary("text in capitals", typed("TEXT/Plain; Charset=UTF-8"), "x", `data="x"`), binary("text not UTF-8", typed("text/plain"), "\xff", "!data is not UTF-8"),
		binary("text in ISO-8859-1", typed("text/plain; charset=ISO-8859-1"), "caf\xe9", `data="café"`), binary("text in Latin-1", typed(`text/plain; charset="latin1"`), "\xe9", `data="é"`), binary("text in US-ASCII", typed("text/plain; charset=us-ascii"), "x", `data="x"`), binary("text in UTF-16LE", typed("text/plain; charset=utf-16le"), utf16le("ü🙂"), `data="ü🙂"`),
		binary("text in UTF-16BE", typed("text/plain; charset=utf-16be"), utf16be("ü"), `data="ü"`), binary("text in UTF-16 with a mark", typed("text/plain; charset=utf-16"), "\xfe\xff"+utf16be("ü"), `data="ü"`), binary("text in UTF-16 without", typed("text/plain; charset=utf-16"), utf16be("ü"), `data="ü"`), binary("text in half UTF-16", typed("text/plain; charset=utf-16"), "x", "!odd number of bytes"),
		binary("text with half a pair", typed("text/plain; charset=utf-16le"), "\x00\xd8", "!half a surrogate pair"), binary("text in KOI8-R", typed("text/plain; charset=koi8-r"), "x", `!charset "koi8-r" is not read`), binary("text in windows-1252", typed("text/plain; charset=windows-1252"), "x", "!is not read"), binary("text with NUL", typed("text/plain"), "a\x00b", `data="a\u0000b"`),
		binary("CSV", typed("text/csv"), "a,b\n1,2", `data="a,b\n1,2"`), binary("XML", typed("application/xml"), "<a/>", `data="<a/>"`), binary("Atom", typed("application/atom+xml"), "<a/>", `data="<a/>"`), binary("a form", typed("application/x-www-form-urlencoded"), "a=1&b=2", `data="a=1&b=2"`), binary("YAML", typed("application/yaml"), "a: 1", `data="a: 1"`),
		as(binary("HTML", typed("text/html; charset=utf-8"), "<html>", `data="<html>"`), "!an HTML page"), binary("PNG", typed("image/png"), "\x89PNG", "bytes=iVBORw=="), binary("PNG that is text", typed("image/png"), "hi", "bytes=aGk="), binary("PNG that is JSON", typed("image/png"), "{}", "bytes=e30="),
		as(binary("octets that are text", typed("application/octet-stream"), "hi", "bytes=aGk="), `{"datacontenttype":"application/octet-stream","data_base64":"aGk="}`), as(binary("octets that are JSON", typed("application/octet-stream"), "{}", "bytes=e30="), "{}"), binary("Avro", typed("application/avro"), "\x00", "bytes=AA=="), binary("multipart", typed("multipart/form-data; boundary=x"), "--x--", "bytes=LS14LS0="),
		binary("a charset makes a text", typed("application/x-thing; charset=utf-8"), "hi", `data="hi"`), binary("a type of one word", typed("json"), "1", "!Content-Type"), binary("no media type", typed("a/b/c; =;"), "1", "!Content-Type"), binary("two content types", "Content-Type: text/plain\nContent-Type: application/json", "1", "!comes twice"),
		encoded("gzip", binary("gzip", "", zip(`{"a":1}`), `data={"a":1}`)), encoded("GZIP", binary("gzip in capitals", "", zip(`1`), "data=1")), encoded("x-gzip", binary("x-gzip", "", zip(`1`), "data=1")), encoded("identity", binary("identity", "", "1", "data=1")), encoded("gzip", binary("gzip that is none", "", "{}", "!not gzip")),
		encoded("gzip", binary("gzip cut short", "", zip(`{"a":1}`)[:20], "!not gzip")), encoded("gzip", binary("gzip and more", "", zip(`1`)+"x", "!not gzip")), encoded("br", binary("br", "", "x", `!content encoding "br" is not read`)), encoded("zstd", binary("zstd", "", "x", "!is not read")), encoded("deflate", binary("deflate", "", "x", "!is not read")),
		encoded("gzip, gzip", binary("gzip of gzip", "", zip(zip("1")), "!is not read")), encoded("gzip", structured("gzip", ``, "")), encoded("gzip", binary("a bomb", "", zip(strings.Repeat("\x00", 40<<20)), "!decompressed, it has more than")), encoded("gzip", binary("nothing in gzip", "", zip(""), "")),
	}
}

// Batches are lists of events.
func batches() []Case {
	one := func(id, members string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/s","type":"t"` + members + `}`
	}
	out := []Case{
		batched("empty", "[]", ""), batched("one", "["+one("1", "")+"]", "data=null"), batched("two", " [ "+one("1", `,"data":1`)+" , "+one("2", `,"data_base64":"aGk="`)+" ] ", "data=1 || id=2 | bytes=aGk="), batched("an object", one("1", ""), "!the batch is not a JSON list"),
		batched("null", "null", "!the batch is not a JSON list"), batched("nothing", "", "!the batch is not a JSON list"), batched("cut short", "["+one("1", ""), "!the batch is not a JSON list"), batched("two lists", "[] []", "!the batch is not a JSON list"),
	}
	bad := map[string]string{"null": "null", "a number": "1", "not UTF-8": one("\xff", ""), "without a type": `{"specversion":"1.0","id":"2","source":"/s"}`, "a list": "[]", "too deep": one("2", `,"data":`+nested(513)), "a comma too many": `{"specversion":"1.0",}`, "nothing": "", "a bad extension": one("2", `,"price":19.99`)}
	for _, name := range []string{"null", "a number", "not UTF-8", "without a type", "a list", "too deep", "a comma too many", "nothing", "a bad extension"} {
		body := "[" + one("1", "") + "," + bad[name] + "," + one("3", "") + "]"
		out = append(out, at(HTTP, batched("one is "+name, body, "!event 1: "))...)
		out = append(out, at(Kafka, batched("one is "+name, body, "data=null || id=3 | data=null"))...) // Nobody is there to send it again: the good are taken.
	}
	return out
}

func zip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // Into memory.
	_ = w.Close()
	return b.String()
}
