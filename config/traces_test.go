package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/spf13/pflag"
)

func loadSettings(t *testing.T, file string, args ...string) (config.Settings, []config.Origin, error) {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.LoadSettings(flags, file)
}

// TestTracesByOpenTelemetrysVariables: they count where nothing of ours says anything, each as its specification has it.
func TestTracesByOpenTelemetrysVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "onward.yaml")
	if err := os.WriteFile(file, []byte("traces: { spans: 7, timeout: 3s }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env      map[string]string
		args     []string
		endpoint string
		fault    string
	}{
		"nothing":     {},
		"a base":      {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://gateway/otlp/"}, endpoint: "https://gateway/otlp/v1/traces"},
		"a whole one": {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/mine", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"}, endpoint: "http://c:4318/mine"},
		"ours before": {env: map[string]string{"ONWARD_TRACES_ENDPOINT": "http://a:4318", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, endpoint: "http://a:4318/v1/traces"},
		"a flag":      {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"}, args: []string{"--traces-endpoint", "http://b/v1/traces"}, endpoint: "http://b/v1/traces"},
		"disabled":    {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d", "OTEL_SDK_DISABLED": "true"}},
		"none":        {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d", "OTEL_TRACES_EXPORTER": "none"}},
		"grpc":        {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, fault: "OTEL_EXPORTER_OTLP_PROTOCOL is grpc"},
		"no address":  {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "d:4317"}, fault: "traces.endpoint is not an http or https address (from OTEL_EXPORTER_OTLP_ENDPOINT)"},
		"no header":   {env: map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "api-key s3cret"}, fault: "header 1 of it is not name=value"},
		"bad header":  {env: map[string]string{"ONWARD_TRACES_HEADERS": "a=1,api-key=s3cret%0a"}, fault: `the value of "api-key" is no value of a header`},
		"no share":    {args: []string{"--traces-sample", "2"}, fault: `traces.sample: "2" is not a number from 0 to 1`},
		"NaN":         {args: []string{"--traces-sample", "NaN"}, fault: `traces.sample: "NaN" is not a number from 0 to 1`},
		"compression": {args: []string{"--traces-endpoint", "http://b", "--traces-compression", "zip"}, fault: `traces.compression "zip"`},
		"a key alone": {args: []string{"--traces-endpoint", "http://b", "--traces-key", "k.pem"}, fault: "traces.cert and traces.key go together"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			s, _, err := loadSettings(t, file, c.args...)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%v; want %s", err, c.fault)
				}
				return
			}
			if err != nil || s.Traces.Endpoint != c.endpoint || s.Traces.Spans != 7 || s.Traces.Timeout != 3*time.Second {
				t.Errorf("%+v, %v", s.Traces, err)
			}
		})
	}
}

// TestTraceHeadersAreSecret: they are taken as they are meant, and neither printed nor given to functions.
func TestTraceHeadersAreSecret(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%20value, tenant=a=b")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")
	t.Setenv("ONWARD_TRACES_ENDPOINT", "https://user:s3cret@host")
	s, origins, err := loadSettings(t, "")
	if err != nil || s.Traces.Headers["api-key"] != "s3cret value" || s.Traces.Headers["tenant"] != "a=b" || s.Traces.Timeout != 2500*time.Millisecond {
		t.Errorf("%+v, %v", s.Traces, err)
	}
	shown := 0
	for _, o := range origins {
		if strings.Contains(o.Value, "s3cret") {
			t.Errorf("%s is printed: %s", o.Key, o.Value)
		}
		if o.Key == "traces.headers" && o.Value == "api-key=***,tenant=***" && o.From == "env OTEL_EXPORTER_OTLP_HEADERS" {
			shown++
		}
	}
	if shown != 1 {
		t.Errorf("%+v", origins)
	}
	for _, name := range []string{"ONWARD_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		if !slices.Contains(s.Secrets(), name) {
			t.Errorf("functions may get %s", name)
		}
	}
}
