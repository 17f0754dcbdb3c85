// Package lambdaruntime is the sink whose functions ask for what they do: it serves the Runtime API of AWS Lambda (2018-06-01), which the runtimes of AWS poll, so
// that handlers written for them run unmodified, beside the router and without AWS.
//
// What nobody has asked for waits in the router: as many calls are at work as runtimes poll. A runtime that dies with a call has lost a try: the call goes to
// another one, under the same id.
package lambdaruntime

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// Settings are the sink's part of a document.
type Settings struct {
	Listen   string `doc:"listen,required,value" help:"the address at which runtimes poll: what AWS_LAMBDA_RUNTIME_API says to them, such as 127.0.0.1:9001"`
	Path     string `doc:"path" help:"a path before /2018-06-01, such as /resize, where several functions share the address"`
	ARN      string `doc:"arn" help:"the ARN that handlers are told of; default: one of no account, that ends in the function's name"`
	Insecure bool   `doc:"insecure" help:"listen beyond this machine: the Runtime API has no authentication, and whoever reaches it gets the invocations and answers them"`
}

// isLoopback reports whether a name or an address is this machine's own, and nobody else's.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Check reports what cannot be served.
func (s *Settings) Check() (out []plugin.Problem) {
	host, port, err := net.SplitHostPort(s.Listen)
	switch {
	case err != nil || port == "":
		out = append(out, plugin.Problem{Path: []string{"listen"}, What: fmt.Sprintf("%q is not an address", s.Listen), Cure: "write host:port, such as 127.0.0.1:9001"})
	case !s.Insecure && !isLoopback(host):
		out = append(out, plugin.Problem{Path: []string{"listen"}, What: fmt.Sprintf("%q leaves this machine, and the Runtime API has no authentication", s.Listen), Cure: "listen at 127.0.0.1, or say insecure: true where only runtimes reach it"})
	}
	if s.Path != "" && !isPath.MatchString(s.Path) {
		out = append(out, plugin.Problem{Path: []string{"path"}, What: fmt.Sprintf("%q is not a path before /2018-06-01", s.Path), Cure: "write /name, of letters, digits, - and _"})
	}
	return out
}

// Alone is where runtimes poll: they are one function's.
func (s *Settings) Alone() string { return "the Runtime API at " + s.Listen + s.Path }

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"listen": plugin.Schema{"pattern": ":.+$"}, "path": plugin.Schema{"pattern": "^(" + isPath.String()[1:len(isPath.String())-1] + ")?$"}}}
}

// NotCancelled says why a handler cannot be told that its call is dropped.
func (*Settings) NotCancelled() string {
	return "a runtime has one call at a time, and hears of no other meanwhile"
}

type sink struct {
	s    *Settings
	name string
	host sinks.Host
	at   *endpoint // once it is open
}

// New makes the sink.
func New(name string, s *Settings, h sinks.Host) (sinks.Sink, error) {
	return &sink{s: s, name: name, host: h}, nil
}

// Open begins to serve, or takes over from the sink that served the same function before a reload.
func (k *sink) Open() (err error) {
	k.at, err = attach(k)
	return err
}

// Close serves no more, unless another sink has taken over.
func (k *sink) Close() error {
	if k.at == nil {
		return nil
	}
	return k.at.detach(k)
}

// Waiting returns how many calls runtimes have asked for and not got.
func (k *sink) Waiting() int {
	if k.at == nil {
		return 0
	}
	return k.at.waiting()
}

// Deliver gives each delivery to the runtime that has asked for the longest time.
func (k *sink) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	if k.at == nil {
		sinks.Each(deliveries, func(*sinks.Delivery) sinks.Result {
			return sinks.Again(0, &sinks.Error{Type: "unreachable", Message: "nothing listens at " + k.s.Listen, Class: "platform"})
		})
		return
	}
	calls := make(map[*sinks.Delivery]*call, len(deliveries))
	for _, d := range deliveries {
		calls[d] = newCall(k, d)
		k.at.begin(calls[d])
	}
	sinks.Each(deliveries, func(d *sinks.Delivery) sinks.Result { return k.at.end(calls[d]) })
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "lambdaRuntime", 1, "Serves AWS Lambda's Runtime API: unmodified handlers of AWS's runtimes poll it.", New)
}
