package envelopetest

import "strings"

func long(n int) string { return strings.Repeat("x", n) }

// Attributes are cases of what an event says about itself.
func attributes() []Case {
	var out []Case
	add := func(c ...Case) { out = append(out, c...) }
	for _, name := range []string{"specversion", "id", "source", "type"} {
		whole := map[string]string{"specversion": `"1.0"`, "id": `"1"`, "source": `"/s"`, "type": `"t"`}
		object := func(value string) string {
			var members []string
			for _, n := range []string{"specversion", "id", "source", "type"} {
				v := whole[n]
				if n == name {
					v = value
				}
				if v != "" {
					members = append(members, `"`+n+`":`+v)
				}
			}
			return "{" + strings.Join(members, ",") + "}"
		}
		header := "Ce-" + strings.ToUpper(name[:1]) + name[1:]
		add(raw(name+" missing", object(""), "!"+name+" is missing"), raw(name+" null", object("null"), "!"+name+" is not a text"), raw(name+" a number", object("1"), "!"+name+" is not a text"),
			raw(name+" an object", object("{}"), "!"+name+" is not a text"), raw(name+" true", object("true"), "!"+name+" is not a text"),
			raw(name+" twice", strings.Replace(object(whole[name]), "{", `{"`+name+`":`+whole[name]+",", 1), "!"+name+" comes twice"))
		if name == "specversion" {
			continue
		}
		add(raw(name+" empty", object(`""`), "!"+name+" is missing"), raw(name+" blank", object(`"  "`), "!"+name+" is missing"),
			raw(name+" of 1,025 bytes", object(`"/`+long(1024)+`"`), "!"+name+" has 1025 bytes"), raw(name+" of 1,024 bytes", object(`"/`+long(1023)+`"`), name+"=/"+long(1023)),
			raw(name+" of 900 KB", object(`"/`+long(900<<10)+`"`), "!"+name+" has"),
			raw(name+" with a control character", object(`"a\u0001"`), "!"+name+" has a control character (U+0001)"), raw(name+" with a line's end", object(`"a\r\nb"`), "!control character"),
			raw(name+" with half a surrogate", object(`"a\ud800"`), "!half a surrogate"), raw(name+" not UTF-8", object("\"bad\xff\xfe\""), "!not UTF-8"),
			binary(name+" missing", header+": -", "1", "!"+name+" is missing"), binary(name+" empty", header+": ", "1", "!"+name+" is missing"),
			binary(name+" of 1,025 bytes", header+": /"+long(1024), "1", "!"+name+" has 1025 bytes"), binary(name+" of 1,024 bytes", header+": /"+long(1023), "1", name+"=/"+long(1023)+" | data=1"),
			binary(name+" twice", header+": /a\n"+header+": /b", "1", "!comes twice"))
	}
	add(at(HTTP|Answer, binary("specversion missing", "Ce-Specversion: -", "1", "!ce-specversion is missing"))...)
	out[len(out)-1].Says = "1" // An answer with some of the headers is an answer.
	for name, value := range map[string]string{"0.3": "0.3", "1": "1", "1.0.2": "1.0.2", "2.0": "2.0"} {
		add(raw("specversion "+name, `{"specversion":"`+value+`","id":"1","source":"/s","type":"t"}`, `!specversion "`+value+`" is not supported`),
			binary("specversion "+name, "Ce-Specversion: "+value, "1", `!specversion "`+value+`" is not supported`))
	}
	// What is a URI stays as it was sent.
	for _, s := range []string{"/x#", "/x", "/ü", "HTTP://h", "http://h/%7ea", "//h/p", "urn:a:b", "mailto:a@b.c", "a/../b", "?q=1", "#f", "x:", "/a b", "https://h:80/?", "/%e4", "1:a/..", "a+b:c"} {
		want := "source=" + s
		if s == "1:a/.." {
			want = "!source"
		}
		add(structured("source "+s, ``, ""))
		out[len(out)-1].Body = strings.Replace(out[len(out)-1].Body, `"/s"`, `"`+s+`"`, 1)
		out[len(out)-1].Want = want
		if !strings.ContainsAny(s, "% ü") && want[0] != '!' {
			add(binary("source "+s, "Ce-Source: "+s, "1", want+" | data=1"))
		}
	}
	for _, s := range []string{"::%zz", "%zz", "http://[::1", ":"} {
		add(raw("source "+s, `{"specversion":"1.0","id":"1","source":"`+s+`","type":"t"}`, "!is not a URI"))
	}
	add(optional()...)
	add(extensions()...)
	add(names()...)
	return out
}

func optional() []Case {
	return []Case{
		structured("subject", `"subject":"größe ☃"`, "subject=größe ☃"), structured("subject null", `"subject":null`, ""), structured("subject empty", `"subject":""`, "!subject is empty"),
		structured("subject a number", `"subject":5`, "!subject is not a text"), structured("subject long", `"subject":"`+long(1025)+`"`, "!subject has 1025 bytes"),
		structured("subject twice", `"subject":"a","subject":"b"`, "!subject comes twice"), structured("subject escaped", `"subject":"a\"\\\/\u00fc\ud83d\ude42"`, `subject=a"\/ü🙂`),
		structured("subject with DEL", `"subject":"a\u007f"`, "!control character (U+007F)"), structured("subject with C1", `"subject":"a\u0085"`, "!control character (U+0085)"),
		structured("subject with U+FFFF", `"subject":"a\uffff"`, "!which is no character"), structured("subject with U+FDD0", `"subject":"a\ufdd0"`, "!which is no character"),
		structured("subject with U+FFFD", `"subject":"a\ufffd"`, "subject=a\ufffd"), structured("subject with NUL", `"subject":"a\u0000"`, "!control character (U+0000)"),
		structured("subject, two halves in the wrong order", `"subject":"\udc00\ud800"`, "!half a surrogate"),
		binary("subject", "Ce-Subject: abc", "1", "subject=abc | data=1"), binary("subject empty", "Ce-Subject: ", "1", "!subject is empty"), binary("subject UTF-8", "Ce-Subject: größe", "1", "subject=größe | data=1"),
		structured("dataschema", `"dataschema":"https://x/s#f"`, "dataschema=https://x/s#f"), structured("dataschema as sent", `"dataschema":"HTTP://x/%7ea#"`, "dataschema=HTTP://x/%7ea#"),
		structured("dataschema empty", `"dataschema":""`, "!dataschema is empty"), structured("dataschema relative", `"dataschema":"/s"`, "!not an absolute URI"), structured("dataschema null", `"dataschema":null`, ""),
		structured("dataschema, no URI", `"dataschema":"::"`, "!dataschema"), structured("dataschema long", `"dataschema":"http://`+long(1024)+`"`, "!dataschema has"), structured("dataschema a URN", `"dataschema":"urn:x:y"`, "dataschema=urn:x:y"),
		binary("dataschema", "Ce-Dataschema: https://x/s", "1", "dataschema=https://x/s | data=1"), binary("dataschema empty", "Ce-Dataschema: ", "1", "!dataschema is empty"), binary("dataschema, no URI", "Ce-Dataschema: :", "1", "!dataschema"),
		structured("time", `"time":"2026-11-26T22:57:05.123Z"`, "time=2026-11-26T22:57:05.123Z"), structured("time with an offset", `"time":"2026-11-26T23:57:05+01:00"`, "time=2026-11-26T22:57:05Z"),
		structured("time in small letters", `"time":"2026-11-26t22:57:05z"`, "time=2026-11-26T22:57:05Z"), structured("time, a date", `"time":"2026-11-26"`, `!time "2026-11-26" is not a time`),
		structured("time, no offset", `"time":"2026-11-26T22:57:05"`, "!is not a time"), structured("time with a blank", `"time":"2026-11-26 22:57:05Z"`, "!is not a time"), structured("time with a comma", `"time":"2026-11-26T22:57:05,5Z"`, "!is not a time"),
		structured("time, 25 hours", `"time":"2026-11-26T25:00:00Z"`, "!is not a time"), structured("time, one digit", `"time":"2026-11-26T1:00:00Z"`, "!is not a time"), structured("time with an offset of 24 hours", `"time":"2026-11-26T22:57:05+24:00"`, "!is not a time"), structured("time empty", `"time":""`, "!is not a time"), structured("time null", `"time":null`, ""),
		structured("time a number", `"time":1700000000`, "!time is not a text"), structured("time in nanoseconds", `"time":"2026-11-26T22:57:05.123456789Z"`, "time=2026-11-26T22:57:05.123456789Z"),
		binary("time", "Ce-Time: 2026-11-26T22:57:05Z", "1", "time=2026-11-26T22:57:05Z | data=1"), binary("time, yesterday", "Ce-Time: yesterday", "1", "!is not a time"),
	}
}

func extensions() []Case {
	many := ""
	for i := range 33 {
		many += `,"e` + string(rune('a'+i%26)) + string(rune('a'+i/26)) + `":"` + long(1000) + `"`
	}
	var lines []string
	for i := range 33 {
		lines = append(lines, "Ce-E"+string(rune('a'+i%26))+string(rune('a'+i/26))+": "+long(1000))
	}
	return append([]Case{
		structured("extension, a text", `"n":"42"`, "n=42"), structured("extension, a number", `"n":42`, "n=42"), structured("extension, true", `"n":true`, "n=true"), structured("extension, false", `"n":false`, "n=false"),
		structured("extension, null", `"n":null`, ""), structured("extension, negative", `"n":-7`, "n=-7"), structured("extension, the smallest", `"n":-2147483648`, "n=-2147483648"), structured("extension, the largest", `"n":2147483647`, "n=2147483647"),
		structured("extension, too large", `"n":2147483648`, "!2147483648 is not a 32-bit integer"), structured("extension, a fraction", `"price":19.99`, "!19.99 is not a 32-bit integer"), structured("extension, 1.0", `"n":1.0`, "!1.0 is not a 32-bit integer"),
		structured("extension, 1e3", `"n":1e3`, "!1e3 is not a 32-bit integer"), structured("extension, 1E400", `"n":1E400`, "!is not a 32-bit integer"), structured("extension, an object", `"n":{"a":1}`, "!is neither text, number nor boolean"),
		structured("extension, a list", `"n":[]`, "!is neither text, number nor boolean"), structured("extension, empty", `"n":""`, "n="), structured("extension twice", `"n":1,"n":2`, "!n comes twice"), structured("extension twice, in two cases", `"n":1,"N":2`, "!n comes twice"),
		structured("extension, 1,024 bytes", `"n":"`+long(1024)+`"`, "n="+long(1024)), structured("extension, 1,025 bytes", `"n":"`+long(1025)+`"`, "!n has 1025 bytes"), structured("extensions of 33 KB", many[1:], "!more than 32768 bytes in all"),
		structured("extension, a control character", `"n":"a\tb"`, "!n has a control character"), structured("extension, a name in other letters", `"MyExt":"a"`, "myext=a"), structured("extension, a known one", `"traceparent":"00-a-b-01"`, "traceparent=00-a-b-01"),
		structured("extension datacontentencoding", `"datacontentencoding":"base64","data":"aGk="`, `datacontentencoding=base64 | data="aGk="`), structured("extension schemaurl", `"schemaurl":"http://x"`, "schemaurl=http://x"),
		structured("extension with an escaped key", `"\u006e":"a"`, "n=a"), structured("extension, an escaped twin", `"n":"a","\u006e":"b"`, "!n comes twice"), structured("extension, -0", `"n":-0`, "n=0"), structured("extension, 01", `"n":01`, "!not a JSON object"),
		binary("extension", "Ce-N: 42", "1", "n=42 | data=1"), binary("extension, true", "Ce-N: true", "1", "n=true | data=1"), binary("extension, empty", "Ce-N: ", "1", "n= | data=1"), binary("extension twice", "Ce-N: 1\nCe-N: 2", "1", "!comes twice"),
		binary("extension, 1,025 bytes", "Ce-N: "+long(1025), "1", "!n has 1025 bytes"), binary("extensions of 33 KB", strings.Join(lines, "\n"), "1", "!more than 32768 bytes in all"), binary("extension, a control character", "Ce-N: a\x01b", "1", "!n has a control character"),
		binary("extension, a bad name", "Ce-Bad_name: v", "1", "!bad_name"), binary("extension without a name", "Ce-: v", "1", "!is not an attribute's name"), binary("extension data", "Ce-Data: 1", "1", "!the data is the body"),
		binary("extension datacontenttype", "Ce-Datacontenttype: text/plain", "1", "!send Content-Type instead"), binary("extension, a long name", "Ce-"+strings.Repeat("N", 257)+": v", "1", "!is not an attribute's name"),
	}, percents()...)
}

// percents are headers of HTTP, which has an encoding for values that it cannot carry (section 3.1.3.2). Kafka has none.
func percents() []Case {
	out := at(HTTP,
		binary("percent", "Ce-Subject: Euro%20%E2%82%AC%20%f0%9f%98%80", "1", "subject=Euro € 😀 | data=1"), binary("percent, once", "Ce-Subject: %2525", "1", "subject=%25 | data=1"), binary("percent, not encoded", "Ce-Subject: 100% %4 %zz", "1", "subject=100% %4 %zz | data=1"),
		binary("percent to a control character", "Ce-Subject: a%0Ab", "1", "!control character"), binary("percent to NUL", "Ce-Subject: a%00", "1", "!control character"), binary("percent to no UTF-8", "Ce-Subject: %ff%fe", "1", "!does not decode to UTF-8"),
		binary("percent to a surrogate", "Ce-Subject: %ED%A0%80", "1", "!does not decode to UTF-8"), binary("quoted", `Ce-Subject: "a \"b\" \\ c"`, "1", `subject=a "b" \ c | data=1`), binary("quoted percent", `Ce-Subject: "%20"`, "1", "!subject is empty"),
		binary("ISO-8859-1", "Ce-Subject: caf\xe9", "1", "subject=café | data=1"), binary("ISO-8859-1 with percent", "Ce-Subject: \xe9%20%C3%A9", "1", "subject=é é | data=1"), binary("source encoded", "Ce-Source: /%C3%BC", "1", "source=/ü | data=1"),
		binary("source, percent in percent", "Ce-Source: /%2541", "1", "source=/%41 | data=1"), binary("id encoded", "Ce-Id: a%20b", "1", "id=a b | data=1"), binary("C1 by ISO-8859-1", "Ce-Subject: a\x85", "1", "!control character"),
	)
	return append(out, at(Kafka,
		binary("percent", "Ce-Subject: a%20b", "1", "subject=a%20b | data=1"), binary("quoted", `Ce-Subject: "a"`, "1", `subject="a" | data=1`), binary("not UTF-8", "Ce-Subject: \xff", "1", "!subject is not UTF-8"), binary("id not UTF-8", "Ce-Id: \xff", "1", "!id is not UTF-8"),
	)...)
}

func names() []Case {
	return []Case{
		structured("name with an underscore", `"bad_name":"v"`, `!"bad_name" is not an attribute's name`), structured("name with a dash", `"a-b":"v"`, "!is not an attribute's name"), structured("name empty", `"":"v"`, "!is not an attribute's name"),
		structured("name of letters beyond ASCII", `"größe":"v"`, "!is not an attribute's name"), structured("name of 257 letters", `"`+strings.Repeat("n", 257)+`":"v"`, "!is not an attribute's name"), structured("name ID", `"ID":"2"`, "!write id"),
		structured("name Subject", `"Subject":"2"`, "!write subject"), structured("name DATA", `"DATA":"2"`, "!write data"), structured("name data_base64 in capitals", `"DATA_BASE64":"AA=="`, "!is not an attribute's name"),
		structured("name with a control character", `"a\u0000":"v"`, "!is not an attribute's name"), structured("name with half a surrogate", `"\ud800":"v"`, "!half a surrogate"),
	}
}
