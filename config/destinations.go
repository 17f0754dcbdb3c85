package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// destinationRetry is how a destination is tried that says nothing of it and has no function that does: nobody else has the event.
func destinationRetry() lang.Retries {
	jitter := lang.DefaultJitter
	return lang.Retries{{
		Attempts: 3, Backoff: lang.Span{Const: plugin.Duration(lang.DefaultBackoff)}, Factor: lang.DefaultFactor, Max: lang.Span{Const: plugin.Duration(lang.DefaultMax)},
		Jitter: &jitter,
	}}
}

// Check reports what no destination can have.
func (d *destinationDoc) Check() []plugin.Problem {
	var out []plugin.Problem
	aws := d.Format == lang.FormatAWS || d.Format == lang.FormatEventBridge
	if d.Format != "" && !slices.Contains(lang.Formats, d.Format) {
		out = append(out, plugin.Problem{Path: []string{"format"}, What: fmt.Sprintf("unknown format %q", d.Format), Cure: lang.Nearest(d.Format, lang.Formats)})
	} else if d.Format != "" && !d.Data.IsZero() {
		out = append(out, plugin.Problem{Path: []string{"data"}, What: "format " + d.Format + " says what the data is", Cure: "leave out one of the two"})
	}
	if d.ARN != "" && !aws {
		out = append(out, plugin.Problem{Path: []string{"arn"}, What: "only the formats aws and eventbridge name a function by its ARN", Cure: "leave it out, or add format: aws"})
	} else if n := strings.Count(d.ARN, ":"); d.ARN != "" && (!strings.HasPrefix(d.ARN, "arn:") || n != 6 && n != 7 || strings.ContainsAny(d.ARN, " \t\r\n") || len(d.ARN) > maxARN) {
		out = append(out, plugin.Problem{Path: []string{"arn"}, What: fmt.Sprintf("%.200q is no ARN of a function", d.ARN), Cure: "write arn:aws:lambda:REGION:ACCOUNT:function:NAME, with :VERSION or an alias behind it where it has one"})
	}
	return out
}

// maxARN is how many bytes an ARN may have (AWS Lambda API: FunctionArn has 170 characters, an alias 128 more).
const maxARN = 300

// contentName names a sink by what its settings say, in whatever order: what stands beside it does not change the name.
func contentName(n *lang.Node) string {
	h := sha256.New()
	writeNode(h, n)
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func writeNode(w io.Writer, n *lang.Node) {
	fmt.Fprintf(w, "%d %d ", n.Kind, len(n.Items))
	switch n.Kind {
	case lang.ListNode:
		for _, item := range n.Items {
			writeNode(w, item)
		}
	case lang.MapNode:
		keys := make(map[string]*lang.Node, len(n.Keys))
		for i, key := range n.Keys {
			keys[key.Name] = n.Items[i]
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			fmt.Fprintf(w, "%q ", key)
			writeNode(w, keys[key])
		}
	default:
		fmt.Fprintf(w, "%s ", n.Value)
	}
}

// form checks how a destination is told of a run's end.
func (c *checker) form(d *destination, word, path string) {
	switch {
	case d.Format == "":
	case c.def.Flow == nil:
		c.find(d.pos, path+".format", "add flow:, or pass the event on: event: \"${ event }\"", "format %s tells how a function ended, and without a flow nothing is called", d.Format)
	case (d.Format == lang.FormatDLQ || d.Format == lang.FormatKnative) && word == "onSuccess":
		c.find(d.pos, path+".format", "write it under onFailure", "format %s tells of a failure", d.Format)
	}
	if d.Event.IsZero() {
		return
	}
	switch kind := d.Event.Kind(); kind {
	case lang.KindAny, "map", "object":
	default:
		c.find(d.Event.Pos(), path+".event", `write names of attributes with their values: event: { type: com.example.thing, subject: "${ data.id }" }`, "event is a %s, and not names of attributes", kind)
		return
	}
	said, names := d.Event.Shape()
	for _, name := range names {
		if !isAttribute(name) {
			c.find(d.Event.Pos(), path+".event."+name, "attributes have names of lower-case letters and digits", "%q is not an attribute's name", name)
			return
		}
	}
	// An event is made of what is constant: what is wrong with that is wrong with each.
	e := event.New()
	e.SetID("0")
	e.SetSource("/onward/" + c.trigger)
	e.SetType("dev.onward.run.succeeded")
	e.DataEncoded = []byte(`""`)
	if err := envelope.Dress(&e, said); err != nil {
		c.find(d.Event.Pos(), path+".event", "attributes have names of lower-case letters and digits, and texts, whole numbers, true or false", "no event has these attributes: %v", err)
	}
}

func isAttribute(name string) bool {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return name != ""
}
