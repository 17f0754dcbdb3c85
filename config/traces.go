package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Traces say where traces of runs go, and how much of them. What OpenTelemetry's variables say counts where nothing else does.
type Traces struct {
	Endpoint      string // of a collector; empty: there are none
	Headers       map[string]string
	Sample        float64
	Spans, Queue  int
	Timeout       time.Duration
	Compression   string
	CA, Cert, Key string

	from string // what named the endpoint
}

// The variables of OpenTelemetry that say where the exporter sends to.
const (
	otlpTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	otlpEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
)

var traceSettings = []setting{
	{key: "traces.endpoint", def: "", help: "collector of traces (OTLP over HTTP), e.g. http://127.0.0.1:4318; empty: there are no traces; default: OTEL_EXPORTER_OTLP_ENDPOINT", set: text(func(s *Settings) *string { return &s.Traces.Endpoint }), foreign: []string{otlpTracesEndpoint, otlpEndpoint}, shown: withoutUser},
	{key: "traces.headers", def: "", help: "what the collector wants to be sent, such as a token: name=value, with commas between several; better in the environment than on a command line; default: OTEL_EXPORTER_OTLP_HEADERS", set: traceHeaders, foreign: []string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"}, shown: headerNames},
	{key: "traces.sample", def: "1", help: "share of runs that are traced, from 0 to 1, where the event that starts one does not say itself", set: share(func(s *Settings) *float64 { return &s.Traces.Sample })},
	{key: "traces.spans", def: 1000, help: "spans of a run at most; its own says how many are left out", set: whole(func(s *Settings) *int { return &s.Traces.Spans })},
	{key: "traces.queue", def: 32_768, help: "what may wait for the collector; beyond that it is lost, and counted", set: whole(func(s *Settings) *int { return &s.Traces.Queue })},
	{key: "traces.timeout", def: "10s", help: "how long the collector may take; default: OTEL_EXPORTER_OTLP_TIMEOUT", set: spanOrMillis(func(s *Settings) *time.Duration { return &s.Traces.Timeout }), foreign: []string{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"}},
	{key: "traces.compression", def: "none", help: "none or gzip; default: OTEL_EXPORTER_OTLP_COMPRESSION", set: text(func(s *Settings) *string { return &s.Traces.Compression }), foreign: []string{"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"}},
	{key: "traces.ca", def: "", help: "authorities (PEM) of the collector's certificate; default: OTEL_EXPORTER_OTLP_CERTIFICATE, or the system's", set: text(func(s *Settings) *string { return &s.Traces.CA }), foreign: []string{"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"}},
	{key: "traces.cert", def: "", help: "the router's own certificate (PEM) for the collector; default: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", set: text(func(s *Settings) *string { return &s.Traces.Cert }), foreign: []string{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"}},
	{key: "traces.key", def: "", help: "the key of that certificate (PEM); default: OTEL_EXPORTER_OTLP_CLIENT_KEY", set: text(func(s *Settings) *string { return &s.Traces.Key }), foreign: []string{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"}},
}

// withoutUser is an address without what may be a secret in it.
func withoutUser(value string) string {
	u, err := url.Parse(value)
	if err != nil {
		return "***"
	}
	return u.Redacted()
}

// headerNames are headers without their values.
func headerNames(value string) string {
	var names []string
	for pair := range strings.SplitSeq(value, ",") {
		if name, _, ok := strings.Cut(pair, "="); ok {
			names = append(names, strings.TrimSpace(name)+"=***")
		}
	}
	return strings.Join(names, ",")
}

func traceHeaders(s *Settings, value string) error {
	s.Traces.Headers = make(map[string]string)
	n := 0
	for pair := range strings.SplitSeq(value, ",") {
		if n++; strings.TrimSpace(pair) == "" {
			continue
		}
		name, coded, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		text, err := url.PathUnescape(strings.TrimSpace(coded))
		switch {
		case !ok || name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) }):
			return fmt.Errorf("header %d of it is not name=value; write api-key=SECRET", n) // What it is may be a secret.
		case err != nil || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
			return fmt.Errorf("the value of %q is no value of a header; write other letters than those of it as %%XX", name)
		}
		s.Traces.Headers[name] = text
	}
	return nil
}

func share(f func(*Settings) *float64) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		x, err := strconv.ParseFloat(value, 64)
		if *f(s) = x; err != nil || !(x >= 0 && x <= 1) {
			return fmt.Errorf("%q is not a number from 0 to 1; write 0.1 for a tenth", value)
		}
		return nil
	}
}

// spanOrMillis takes a number without a unit as milliseconds, as OpenTelemetry's variables have them.
func spanOrMillis(f func(*Settings) *time.Duration) func(*Settings, string) error {
	return func(s *Settings, value string) error {
		if n, err := strconv.ParseUint(value, 10, 31); err == nil && n > 0 {
			*f(s) = time.Duration(n) * time.Millisecond
			return nil
		}
		return span(f)(s, value)
	}
}

// check completes the endpoint, and says what is wrong with it.
func (t *Traces) check() (errs []error) {
	foreign := slices.Contains([]string{otlpEndpoint, otlpTracesEndpoint}, t.from)
	if foreign && (strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none") {
		t.Endpoint = ""
	}
	if t.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		errs = append(errs, fmt.Errorf("traces.endpoint is not an http or https address (from %s); write http://host:4318", t.from))
	case t.from != otlpTracesEndpoint && !strings.HasSuffix(u.Path, "/v1/traces"): // That one is whole.
		u.Path = strings.TrimSuffix(u.Path, "/") + "/v1/traces"
		t.Endpoint = u.String()
	}
	if name := firstSet([]string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"}); foreign && name != "" && os.Getenv(name) == "grpc" {
		errs = append(errs, fmt.Errorf("%s is grpc, and traces go by HTTP only; set traces.endpoint to the collector's port for HTTP, http://host:4318, or OTEL_TRACES_EXPORTER to none", name))
	}
	if t.Compression != "none" && t.Compression != "gzip" {
		errs = append(errs, fmt.Errorf("traces.compression %q; write none or gzip", t.Compression))
	}
	if (t.Cert == "") != (t.Key == "") {
		errs = append(errs, errors.New("traces.cert and traces.key go together; set both, or neither"))
	}
	if t.Spans < 1 || t.Queue < 1 {
		errs = append(errs, errors.New("traces.spans and traces.queue are at least 1; leave traces.endpoint out to have no traces"))
	}
	return errs
}

// secrets are the variables that hold the headers: they have tokens in them.
func (t *Traces) secrets() []string {
	return append([]string{envName("traces.headers")}, []string{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"}...)
}
