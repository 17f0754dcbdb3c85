package config

import (
	"cmp"
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
	switch {
	case d.Bytes != 0 && !aws:
		out = append(out, plugin.Problem{Path: []string{"bytes"}, What: "only records of the formats aws and eventbridge are cut to a size", Cure: "leave it out, or add format: aws"})
	case d.Bytes != 0 && (d.Bytes < minRecord || d.Bytes > lang.MaxValueBytes):
		out = append(out, plugin.Problem{Path: []string{"bytes"}, What: fmt.Sprintf("a record of %s is not made", d.Bytes), Cure: "write 4KiB to 16MiB; AWS takes 256KiB to SNS, 1MiB to SQS"})
	}
	return out
}

// minRecord is what a record has without request and response, and some more.
const minRecord = 4 << 10

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

type destinationDoc struct {
	Name     string       `doc:"name" help:"its name in explanations and dead letters, by which a run that is open finds it again after a reload; default: what it names, or a digest of its sink"`
	Function string       `doc:"function" help:"the function to tell of the event"`
	Trigger  string       `doc:"trigger" help:"the trigger to start with the event, whatever its filters"`
	When     lang.Expr    `doc:"when" help:"the destination is left out unless this is true"`
	Data     lang.Expr    `doc:"data" help:"the event's data; default: how the run ended"`
	Event    lang.Expr    `doc:"event" help:"attributes of the event in place of its own, by name: type, source, subject, id, extensions; ${ event } passes the event on that started the run"`
	Format   string       `doc:"format" help:"the form in which others tell of it: aws (the record of an AWS Lambda destination), eventbridge (that record in EventBridge's envelope), dlq (the input, and the error in attributes), knative (the event as it came, and the error in attributes)"`
	ARN      string       `doc:"arn" help:"how aws and eventbridge name the function; default: arn:aws:lambda:onward:000000000000:function:NAME:$LATEST"`
	Bytes    plugin.Size  `doc:"bytes" help:"how many bytes a record of aws or eventbridge may have, 256KiB for a reader behind SNS, say: one that would have more leaves out the request, then the response, as AWS does; default: 16MiB"`
	Retry    lang.Retries `doc:"retry,sole" help:"when and how often to try again: a rule, or a list of rules with counters apart; default: what its function says, else 3 attempts. What is given up is kept as a dead letter"`
}

type destination struct {
	lang.Destination
	pos lang.Pos
}

// destinations decodes one or a list; an inline sink becomes an anonymous function.
func (l *loader) destinations(t *triggerDoc, word string, n *lang.Node) []destination {
	if n == nil {
		return nil
	}
	items := []*lang.Node{n}
	if n.Kind == lang.ListNode {
		items = n.Items
	}
	var out []destination
	for i, item := range items {
		path := fmt.Sprintf("%s.%s[%d]", t.path, word, i)
		var doc destinationDoc
		c, settings, rest, ok := l.component(plugin.Sink, path, item, append([]string{"name", "function", "trigger", "when", "data", "event", "format", "arn", "bytes", "retry"}, deliveryKeys...))
		if item.Kind != lang.MapNode {
			continue
		}
		rest, delivery := split(rest, deliveryKeys)
		ok = l.prefixed(path, lang.Decode(rest, &doc, l.registry)) && ok
		d := destination{lang.Destination{
			Function: doc.Function, Trigger: doc.Trigger, When: doc.When, Data: doc.Data, Retry: doc.Retry, Event: doc.Event, Format: doc.Format, ARN: doc.ARN, Bytes: doc.Bytes,
		}, item.Pos}
		targets := 0
		if c.Name != "" {
			targets++
		}
		for _, key := range []string{"function", "trigger"} {
			if v := rest.Get(key); v != nil {
				targets++
				if v.Text() == "" {
					l.find(v.Pos, path+"."+key, "write a name", "%s names nothing", key)
				}
			}
		}
		if targets != 1 && ok {
			l.find(item.Pos, path, "write a sink, function: NAME or trigger: NAME", "a destination names one target, and this one %d", targets)
			continue
		}
		d.Name = cmp.Or(doc.Name, doc.Function, doc.Trigger)
		if doc.Name != "" && !isName(doc.Name) {
			l.find(item.Pos, path+".name", "names have letters, digits, - and _", "%q is not a name", doc.Name)
		}
		if c.Name != "" {
			d.Name = cmp.Or(doc.Name, c.Name+"-"+contentName(item.Get(c.Name)))
			name := t.name + "." + word + "." + d.Name
			d.Function = name
			var doc functionDoc
			ok = l.prefixed(path, lang.Decode(delivery, &doc, l.registry)) && ok
			f := &Function{Name: name, Sink: c, Settings: settings, Pos: item.Pos}
			doc.into(f, delivery)
			l.set.Functions[name] = f
			if ok {
				l.build(c, path, name, settings, item.Pos)
			}
		}
		for _, key := range delivery.Keys {
			if c.Name == "" {
				l.find(key.Pos, path+"."+key.Name, "write it where the function is defined", "%s is the function's", key.Name)
			}
		}
		for n, name := 2, d.Name; slices.ContainsFunc(out, func(x destination) bool { return x.Name == d.Name }); n++ {
			if doc.Name != "" {
				l.find(item.Pos, path+".name", "rename one", "two destinations are named %q", doc.Name)
				break
			}
			d.Name = fmt.Sprintf("%s-%d", name, n) // Of the same: it does not matter which is which.
		}
		out = append(out, d)
	}
	return out
}

// split takes the keys that are named out of a mapping.
func split(n *lang.Node, names []string) (rest, taken *lang.Node) {
	rest, taken = &lang.Node{Kind: n.Kind, Pos: n.Pos}, &lang.Node{Kind: n.Kind, Pos: n.Pos}
	for i, key := range n.Keys {
		to := rest
		if slices.Contains(names, key.Name) {
			to = taken
		}
		to.Keys, to.Items = append(to.Keys, key), append(to.Items, n.Items[i])
	}
	return rest, taken
}
