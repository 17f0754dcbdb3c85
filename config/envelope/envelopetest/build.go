package envelopetest

import "strings"

// structured is an event in JSON with further members beside those that every event has.
func structured(name, members, want string) Case {
	if members != "" {
		members = "," + members
	}
	return raw(name, `{"specversion":"1.0","id":"1","source":"/s","type":"t"`+members+`}`, want)
}

// raw is a text that says it is an event.
func raw(name, body, want string) Case {
	return Case{Name: "structured/" + name, Mode: Structured, Headers: []Header{{"Content-Type", "application/cloudevents+json"}}, Body: body, Want: want}
}

// batched is a text that says it is a batch.
func batched(name, body, want string) Case {
	return Case{Name: "batch/" + name, Mode: Batched, Headers: []Header{{"Content-Type", "application/cloudevents-batch+json"}}, Body: body, Want: want}
}

// binary is an event in headers, "name: value" a line; - in place of a value leaves one out that every event has.
func binary(name, headers, body, want string) Case {
	c := Case{Name: "binary/" + name, Mode: Binary, Body: body, Want: want}
	said := make(map[string]bool)
	for _, line := range strings.Split(headers, "\n") {
		if line == "" {
			continue
		}
		key, value, _ := strings.Cut(line, ": ")
		said[key] = true
		if value != "-" {
			c.Headers = append(c.Headers, Header{key, value})
		}
	}
	for _, h := range []Header{{"Ce-Specversion", "1.0"}, {"Ce-Id", "1"}, {"Ce-Source", "/s"}, {"Ce-Type", "t"}, {"Content-Type", "application/json"}} {
		if !said[h.Name] {
			c.Headers = append(c.Headers, h)
		}
	}
	return c
}

// at limits cases to doors.
func at(d Door, cases ...Case) []Case {
	for i := range cases {
		cases[i].Doors = d
	}
	return cases
}

// as says what a function's answer of a case is.
func as(c Case, says string) Case {
	c.Says = says
	return c
}

// with changes the content type of a structured case.
func with(contentType string, c Case) Case {
	c.Headers = []Header{{"Content-Type", contentType}}
	return c
}

// encoded says how a case's body is encoded.
func encoded(encoding string, c Case) Case {
	c.Headers = append(c.Headers, Header{"Content-Encoding", encoding})
	return c
}
