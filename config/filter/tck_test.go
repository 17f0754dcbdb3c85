package filter_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/filter/cesql"
	"sigs.k8s.io/yaml"
)

// A tckCase is one of the specification's test cases (shared/conformance/cesql_tck).
type tckCase struct {
	Name, Expression string
	Result           any
	Error            string
	Event            map[string]any
	EventOverrides   map[string]any
}

// TestTCK evaluates the specification's cases over events that came in by the door: all of them.
func TestTCK(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("../../../shared/conformance/cesql_tck/*.yaml") // The pattern is right.
	if len(files) == 0 {
		t.Skip("NOT RUN: the cases of CloudEvents SQL are not beside this clone (shared/conformance/cesql_tck)")
	}
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var suite struct{ Tests []tckCase }
		if err := yaml.Unmarshal(text, &suite); err != nil {
			t.Fatal(err)
		}
		for _, c := range suite.Tests {
			n++
			if got := c.run(t); got != "" {
				t.Errorf("%s: %s: %s: %s", filepath.Base(file), c.Name, c.Expression, got)
			}
		}
	}
	if n != 275 {
		t.Errorf("%d cases; the kit that this was made for has 275", n)
	}
}

func (c *tckCase) run(t *testing.T) (wrong string) {
	x, err := cesql.Compile(c.Expression)
	if c.Error == string(cesql.ParseError) {
		if e := (*cesql.Error)(nil); !errors.As(err, &e) || e.Kind != cesql.ParseError {
			return "it is read"
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	v, err := x.Eval(c.attributes(t))
	kind := ""
	if e := (*cesql.Error)(nil); errors.As(err, &e) {
		kind = string(e.Kind)
	}
	if kind != c.Error {
		return "error " + kind + ", and not " + c.Error
	}
	var want cesql.Value
	switch r := c.Result.(type) {
	case bool:
		want = cesql.Bool(r)
	case float64:
		want = cesql.Int(int32(r))
	case string:
		want = cesql.Text(r)
	}
	if v != want {
		return v.Kind().String() + " " + v.String()
	}
	return ""
}

// attributes are those of the case's event, as the webhook reads it.
func (c *tckCase) attributes(t *testing.T) filter.Attributes {
	t.Helper()
	e := c.Event
	if e == nil {
		e = map[string]any{"specversion": "1.0", "id": "i", "source": "/s", "type": "t"}
	}
	for name, v := range c.EventOverrides {
		e[name] = v
	}
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	head, err := envelope.FromHTTP(http.Header{"Content-Type": {"application/cloudevents+json"}})
	if err != nil {
		t.Fatal(err)
	}
	events, _, err := head.Read(body, envelope.Limits{Event: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return filter.Of(&events[0])
}
