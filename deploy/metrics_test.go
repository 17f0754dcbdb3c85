package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/command"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/triggers"
	kafkasource "github.com/onward-router/onward/triggers/kafka"
	"github.com/onward-router/onward/triggers/webhook"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"sigs.k8s.io/yaml"
)

func strictJSON(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// serve runs a router in this process, until the test ends, and returns its address and what it registered.
func serve(t *testing.T) (address string, metrics *prometheus.Registry) {
	t.Helper()
	set, findings := config.Parse("none.yaml", []byte("version: 1\nfunctions: { f: { log: f }, many: { http: { url: \"http://127.0.0.1:1/\" }, batch: 10 } }\nsources: { once: { schedule: { at: 2199-12-01T06:00:00Z } }, lines: { file: no-such-file } }\ntriggers: { f: { flow: { function: f } } }\n"), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	metrics = prometheus.NewRegistry()
	r, err := router.Open(router.Options{Set: set, Registry: registry(), Journal: memory.New(memory.Options{}), Listen: "127.0.0.1:0", Metrics: metrics, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	command.JournalMetrics(metrics) // Of a journal on Kafka.
	source, err := kafkasource.New("orders", &kafkasource.Settings{Cluster: kafka.Cluster{Brokers: []string{"127.0.0.1:1"}}, Topics: []string{"orders"}})
	if err != nil {
		t.Fatal(err)
	}
	metrics.MustRegister(source.(triggers.Measured).Collectors()...) // Of a source on Kafka; it is never run.
	hook, err := webhook.New("hook", new(webhook.Settings))
	if err != nil {
		t.Fatal(err)
	}
	metrics.MustRegister(hook.(triggers.Measured).Collectors()...) // Of a webhook.
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-r.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the router is not ready")
	}
	return r.Addr(), metrics
}

// checkPath asks a router for a path of its API: 200 is due.
func checkPath(t *testing.T, where, address, path string) {
	t.Helper()
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s answers %s", where, path, resp.Status)
	}
}

// A family is a metric as it is registered.
type family struct {
	help      string
	labels    []string
	histogram bool
}

var described = regexp.MustCompile(`fqName: "([^"]+)", help: ("(?:[^"\\]|\\.)*").*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

var constants = regexp.MustCompile(`([a-z_]+)="`)

func families(t *testing.T, r *prometheus.Registry) map[string]family {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		r.Describe(descs)
		close(descs)
	}()
	out := make(map[string]family)
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("%s", d)
		}
		var labels []string
		if m[4] != "" {
			labels = strings.Split(m[4], ",")
		}
		for _, constant := range constants.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, constant[1])
		}
		help, err := strconv.Unquote(m[2])
		if err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		out[m[1]] = family{help, labels, strings.HasSuffix(m[1], "_seconds") || m[1] == "onward_batch_calls"}
	}
	if len(out) < 15 {
		t.Fatalf("%d metrics", len(out))
	}
	for name := range out { // In OpenMetrics a counter's family has its name without _total.
		if whole, is := strings.CutSuffix(name, "_total"); is && !reflect.DeepEqual(out[whole], family{}) {
			t.Errorf("%s and %s are one family", name, whole)
		}
	}
	return out
}

var (
	ours    = regexp.MustCompile(`\bonward_[a-z_]+`)
	grouped = regexp.MustCompile(`\bby \(([^)]*)\)`)
	matched = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	told    = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}`)
)

// checkExpression holds what an expression speaks of to what the router registers: names, a histogram's parts, labels.
func checkExpression(t *testing.T, where, expression, legend string, known map[string]family) {
	t.Helper()
	labels := []string{"instance", "job"} // Prometheus sets them.
	names := ours.FindAllString(expression, -1)
	if len(names) == 0 {
		t.Errorf("%s: %s is about nothing", where, expression)
	}
	for _, name := range names {
		f, ok := known[name]
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if whole, cut := strings.CutSuffix(name, part); cut && known[whole].histogram {
				f, ok = known[whole], true
				f.histogram = false
				labels = append(labels, "le")
			}
		}
		if !ok || f.histogram {
			t.Errorf("%s: there is no metric %s", where, name)
		}
		labels = append(labels, f.labels...)
	}
	var used []string
	for _, m := range grouped.FindAllStringSubmatch(expression, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			used = append(used, strings.TrimSpace(l))
		}
	}
	for _, m := range matched.FindAllStringSubmatch(expression, -1) {
		used = append(used, m[1])
	}
	for _, m := range told.FindAllStringSubmatch(legend, -1) {
		used = append(used, m[1])
	}
	for _, l := range used {
		if !slices.Contains(labels, l) {
			t.Errorf("%s: there is no label %q in %s", where, l, expression)
		}
	}
	if strings.Count(expression, "(") != strings.Count(expression, ")") || strings.Count(expression, "{") != strings.Count(expression, "}") {
		t.Errorf("%s: brackets do not match in %s", where, expression)
	}
}

func TestAlertsAreAboutMetricsThatExist(t *testing.T) {
	t.Parallel()
	_, metrics := serve(t)
	known := families(t, metrics)
	b, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(b, &file); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Onward") {
				t.Errorf("alert %q: its name is taken, or not ours", r.Alert)
			}
			seen[r.Alert] = true
			checkExpression(t, r.Alert, r.Expr, r.Annotations["summary"]+strings.ReplaceAll(r.Annotations["description"], "$value", ""), known)
			if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s lacks a severity, a summary or a description", r.Alert)
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("%d alerts", len(seen))
	}
}

func TestDashboardIsAboutMetricsThatExist(t *testing.T) {
	t.Parallel()
	_, metrics := serve(t)
	known := families(t, metrics)
	b, err := os.ReadFile("dashboards/onward.json")
	if err != nil {
		t.Fatal(err)
	}
	type position struct{ X, Y, W, H int }
	var board struct {
		UID, Title string
		Templating struct {
			List []struct {
				Name, Type string
				Query      json.RawMessage
			}
		}
		Panels []struct {
			ID      int
			Title   string
			GridPos position
			Targets []struct{ RefID, Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	var placed []position
	shown, ids := make(map[string]bool), make(map[int]bool)
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: its id is taken, or it is empty", p.ID, p.Title)
		}
		ids[p.ID] = true
		g := p.GridPos
		for _, o := range placed {
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				t.Errorf("panel %q lies on another", p.Title)
			}
		}
		if placed = append(placed, g); g.X+g.W > 24 || g.W < 1 || g.H < 1 {
			t.Errorf("panel %q does not lie on the grid: %v", p.Title, g)
		}
		for _, x := range p.Targets {
			checkExpression(t, p.Title, x.Expr, x.LegendFormat, known)
			for _, name := range ours.FindAllString(x.Expr, -1) {
				for _, part := range []string{"_bucket", "_sum", "_count"} {
					name = strings.TrimSuffix(name, part)
				}
				shown[name] = true
			}
		}
	}
	for name := range known {
		if !shown[name] {
			t.Errorf("%s is shown nowhere", name)
		}
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			checkExpression(t, v.Name, strings.ReplaceAll(string(v.Query), `"`, ""), "", known)
		}
	}
}

// TestRunsLimit: the alert speaks of the default of limits.runs.
func TestRunsLimit(t *testing.T) {
	t.Parallel()
	out, err := onward(t, nil, "settings", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ Settings []config.Origin }
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		t.Fatal(err)
	}
	alerts, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range said.Settings {
		if s.Key == "limits.runs" && (s.Value != "1000000" || !strings.Contains(string(alerts), "onward_runs > 800000")) {
			t.Errorf("limits.runs is %s", s.Value)
		}
	}
}

// TestMetricsAreLinted by the rules of Prometheus itself, as they are gathered.
func TestMetricsAreLinted(t *testing.T) {
	t.Parallel()
	address, metrics := serve(t)
	checkPath(t, "metrics", address, "/metrics")
	problems, err := testutil.GatherAndLint(metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// promtool is Prometheus's own, the machine's or Debian's.
var promtool = &tooltest.Search{With: "of the rules and metrics by promtool", Cure: "install promtool: Debian has it in the package prometheus", Find: func() (*tooltest.Tool, error) {
	if path, err := exec.LookPath("promtool"); err == nil {
		return &tooltest.Tool{Path: path}, nil
	}
	x, root, err := tooltest.Debian("prometheus")
	if err != nil {
		return nil, err
	}
	x.Path = filepath.Join(root, "usr/bin/promtool")
	return x, x.Works("--version")
}}

// TestPromtool has Prometheus's own tool check the rules, and what a router exposes.
func TestPromtool(t *testing.T) {
	t.Parallel()
	tool := promtool.Get(t)
	if out, err := tool.Command(t.Context(), "check", "rules", "alerts.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	address, _ := serve(t)
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	check := tool.Command(t.Context(), "check", "metrics")
	check.Stdin = resp.Body
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
