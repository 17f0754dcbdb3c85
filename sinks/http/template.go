package http

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
)

// templates are what of the settings has expressions, compiled.
type templates struct {
	url     lang.Expr // zero: there is none
	headers map[string]lang.Expr
}

// templateNames are what the expressions see: the attributes of the event that is sent, and its data.
var templateNames = []string{"event", "data"}

// templateCache bounds the memory that the expressions of one request may take, in bytes.
const templateCache = 1 << 20

// Base is the address up to the first expression: where it goes to is not for data to say.
func (s *Settings) Base() string {
	base, _, _ := strings.Cut(s.URL, "${")
	return base
}

// checkURL reports what is no address.
func (s *Settings) checkURL() []plugin.Problem {
	base := s.Base()
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return []plugin.Problem{{Path: []string{"url"}, What: fmt.Sprintf("%q is not an http or https address", s.URL), Cure: "write http://host:port/path; expressions may stand behind the host"}}
	}
	if base == s.URL {
		return nil
	}
	out := []plugin.Problem{}
	switch _, problems := template([]string{"url"}, s.URL); {
	case len(problems) > 0:
		out = append(out, problems...)
	case u.Path == "" && u.RawQuery == "" && !u.ForceQuery:
		out = append(out, plugin.Problem{Path: []string{"url"}, What: "an expression that says which host to ask", Cure: "write the host out, with / behind it; a function for each host, and choice between them, goes to several"})
	case strings.Contains(base, "#"):
		out = append(out, plugin.Problem{Path: []string{"url"}, What: "an expression behind #, which is not sent", Cure: "put it into the path or behind ?"})
	case s.Handshake != nil:
		out = append(out, plugin.Problem{Path: []string{"handshake"}, What: "a handshake agrees on one address, and this one changes by event", Cure: "write the address without expressions, or leave the handshake out"})
	}
	return out
}

// template compiles a text that has expressions; the zero Expr for one that has none.
func template(path []string, text string) (e lang.Expr, out []plugin.Problem) {
	if !strings.Contains(text, "${") {
		return e, nil
	}
	problem := func(what, cure string) { out = append(out, plugin.Problem{Path: path, What: what, Cure: cure}) }
	e, err := lang.ParseExpr(lang.Text(text))
	if err != nil {
		problem(err.Error(), "")
		return lang.Expr{}, out
	}
	for _, f := range e.Check() {
		problem(f.What, f.Cure)
	}
	for _, name := range e.Names() {
		if !slices.Contains(templateNames, name) {
			problem(fmt.Sprintf("unknown name %q", name), lang.Nearest(name, templateNames))
		}
	}
	return e, out
}

// templates compiles what Check has accepted.
func (s *Settings) templates() templates {
	t := templates{headers: make(map[string]lang.Expr)}
	t.url, _ = template(nil, s.URL)
	for name, h := range s.Headers {
		if e, _ := template(nil, h.Text); !e.IsZero() {
			t.headers[name] = e
		}
	}
	return t
}

// changes says what of a request has an expression: its url, or a header; empty is nothing.
func (s *Settings) changes() string {
	t := s.templates()
	if !t.url.IsZero() {
		return "its url"
	}
	if len(t.headers) > 0 {
		return "its header " + slices.Sorted(maps.Keys(t.headers))[0]
	}
	return ""
}

// A badTemplate is an expression that yields nothing that can be sent.
type badTemplate struct {
	where string
	err   error
}

func (b *badTemplate) Error() string { return b.where + ": " + b.err.Error() }

// fill evaluates the expressions of a request: its address, and its headers by name.
func (k *sink) fill(d *sinks.Delivery) (*url.URL, map[string]string, error) {
	t := &k.asked
	if t.url.IsZero() && len(t.headers) == 0 {
		return k.url, nil, nil
	}
	data, err := envelope.Value(d.Event())
	if err != nil {
		return nil, nil, err
	}
	scope := lang.Vars{{Name: "event", Value: envelope.Attributes(d.Event())}, {Name: "data", Value: data}}
	cache := lang.NewCache(templateCache)
	cache.Budget(lang.RecordCost)
	to := k.url
	if !t.url.IsZero() {
		text, err := t.url.EvalText(scope, cache, inURL)
		if err == nil {
			to, err = url.Parse(text)
		}
		if err == nil && (to.Scheme != k.url.Scheme || to.Host != k.url.Host) { // It cannot be: what is before the first expression ends the host.
			err = fmt.Errorf("it leads to %s", to.Host)
		}
		if err != nil {
			return nil, nil, &badTemplate{"url", err}
		}
	}
	headers := make(map[string]string, len(t.headers))
	for name, e := range t.headers {
		text, err := e.EvalText(scope, cache, func(_, s string) (string, error) { return s, nil })
		if err == nil && strings.ContainsFunc(text, endsHeader) {
			err = errors.New("its value has a control character, such as a line's end; write .replace('\\n', ' ') behind it, or send it in the data")
		}
		if err != nil {
			return nil, nil, &badTemplate{"header " + name, err}
		}
		headers[name] = text
	}
	return to, headers, nil
}

// inURL is a value at its place in an address: in a path a part of one segment, behind ? a part of one argument. A segment that would be left out, or would lead
// upwards, is refused.
func inURL(before, s string) (string, error) {
	if strings.Contains(before, "?") {
		return url.QueryEscape(s), nil
	}
	if s == "" || s == "." || s == ".." {
		return "", fmt.Errorf("%q is no part of a path", s)
	}
	return url.PathEscape(s), nil
}
