package traces

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// An exporter speaks OTLP over HTTP, in protocol buffers.
type exporter struct {
	o        *Options
	shown    string // the endpoint, without what is secret in it
	client   *http.Client
	resource *resourcepb.Resource
}

// The tries of one POST, and the pauses between them where the collector asks for none.
const (
	sendTries = 4
	pauseOf   = 250 * time.Millisecond
	pauseMost = 10 * time.Second
)

func newExporter(o *Options) (*exporter, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("traces.endpoint is not an http or https address; write http://host:4318")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("traces.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("traces.ca: %s has no certificate (PEM)", o.CA)
		}
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("traces.cert, traces.key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return &exporter{
		o: o, shown: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), resource: resourceOf(o),
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: 90 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // Headers are for the endpoint alone.
		},
	}, nil
}

func (x *exporter) close() { x.client.CloseIdleConnections() }

// resourceOf says who tells: what the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES), and else what we are.
func resourceOf(o *Options) *resourcepb.Resource {
	attributes := map[string]string{"service.name": "onward", "service.version": o.Version, "telemetry.sdk.language": "go", "telemetry.sdk.name": "onward", "telemetry.sdk.version": o.Version}
	env := make(map[string]string)
	for _, v := range o.Environment {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	for pair := range strings.SplitSeq(env["OTEL_RESOURCE_ATTRIBUTES"], ",") {
		key, value, ok := strings.Cut(pair, "=")
		if text, err := url.PathUnescape(strings.TrimSpace(value)); ok && err == nil {
			attributes[strings.TrimSpace(key)] = text
		}
	}
	if name := env["OTEL_SERVICE_NAME"]; name != "" {
		attributes["service.name"] = name
	}
	r := new(resourcepb.Resource)
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		if attributes[key] != "" {
			r.Attributes = append(r.Attributes, text(key, attributes[key]))
		}
	}
	return r
}

// send sends spans; again for a while, when the collector asks for that or does not answer. It returns how many of them the collector did not want.
func (x *exporter) send(ctx context.Context, spans []*tracepb.Span) (refused int, err error) {
	body, err := proto.Marshal(&collectorpb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: x.resource, ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "github.com/onward-router/onward", Version: x.o.Version}, Spans: spans}},
	}}})
	if err != nil {
		return 0, err
	}
	if x.o.Gzip {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err = w.Write(body)
		if err = errors.Join(err, w.Close()); err != nil {
			return 0, err
		}
		body = b.Bytes()
	}
	for try := 1; ; try++ {
		refused, pause, err := x.post(ctx, body)
		if err == nil || pause < 0 || try == sendTries {
			return refused, err
		}
		select {
		case <-time.After(min(max(pause, pauseOf<<try), pauseMost)):
		case <-ctx.Done():
			return 0, err
		}
	}
}

// post is one try. A pause of 0 and more says that another makes sense after it.
func (x *exporter) post(ctx context.Context, body []byte) (refused int, pause time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, x.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.o.Endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, -1, errors.New("traces.endpoint is no address") // The error would say it whole.
	}
	req.Header.Set("User-Agent", "onward/"+x.o.Version)
	for name, value := range x.o.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if x.o.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := x.client.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err
		}
		return 0, 0, err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // A part says less, and no more is wanted.
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		var got collectorpb.ExportTraceServiceResponse
		if proto.Unmarshal(said, &got) == nil {
			refused = int(min(max(got.GetPartialSuccess().GetRejectedSpans(), 0), int64(len(body))))
		}
		return refused, 0, nil
	case code == 429, code == 502, code == 503, code == 504:
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return 0, time.Duration(min(max(after, 0), 3600)) * time.Second, fmt.Errorf("it answers %s", resp.Status)
	}
	return 0, -1, fmt.Errorf("it answers %s", resp.Status)
}
