package router_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/router/journal"
)

var golden = flag.Bool("golden", false, "take the golden folder of this release anew; only before a release, never after it")

// goldenNow is the folder of the release that is being made. Those of former releases stay beside it as they are, and are opened for ever.
const goldenNow = "testdata/golden/level-2"

const goldenDocument = `version: 1
functions:
  double: { http: { url: "URL/double" }, timeout: 1000h }
  fail: { http: { url: "URL/fail" } }
  told: { http: { url: "URL/told" }, timeout: 1000h, maxAge: 1000h }
triggers:
  ended: { flow: { function: double } }
  called: { flow: { sequence: [{ function: double }, { function: double, input: "${ previous + 1 }" }, { function: double }] } }
  wide: { flow: { map: { items: "${ data }", window: 3, do: { function: double } } } }
  graph: { flow: { dag: [{ name: a, function: double }, { name: b, function: double, input: 5 }, { name: c, function: double, needs: [a, b], input: "${ steps.a + steps.b }" }] } }
  fork: { flow: { forkjoin: { branches: { a: { wait: 3s }, b: { signal: go }, c: { function: double, input: 8 } } } } }
  caught: { flow: { function: fail, catch: [{ do: { function: double, input: 11 } }] } }
  chosen: { flow: { choice: [{ if: "${ data > 1 }", function: double, input: 7 }] } }
  telling: { flow: { function: double }, onSuccess: { function: told } }
`

// goldenRuns are the runs of the folder: odd numbers are held by their function when the folder is taken.
var goldenRuns = []struct{ trigger, data, result string }{
	{"ended", `4`, `8`}, {"called", `2`, `20`}, {"wide", `[2,3,4,5,6,7]`, `[4,6,8,10,12,14]`}, {"graph", `6`, `{"c":44}`}, {"fork", `1`, `{"a":1,"b":"gone","c":16}`},
	{"caught", `1`, `22`}, {"chosen", `9`, `14`}, {"telling", `2`, `4`},
}

// A goldenRun is what is written beside the folder of one run.
type goldenRun struct {
	Trigger string `json:"trigger"`
	Run     string `json:"run"`
	Result  string `json:"result"`
}

// A goldenWorld doubles numbers and is told of a run's end; while it holds, neither odd numbers nor the end get an answer.
type goldenWorld struct {
	holds bool
	told  atomic.Int64
}

func (g *goldenWorld) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	_ = json.NewDecoder(r.Body).Decode(&n) // It is a number.
	switch {
	case r.URL.Path == "/fail":
		w.WriteHeader(http.StatusBadRequest)
		return
	case g.holds && (n%2 == 1 || r.URL.Path == "/told"):
		<-r.Context().Done()
		return
	case r.URL.Path == "/told":
		g.told.Add(1)
	}
	_ = json.NewEncoder(w).Encode(2 * n)
}

// TestGoldenFolder opens the journals of this release and of all before it, with a run of each policy under way, and lets them go on: each comes to what
// it would have come to then.
func TestGoldenFolder(t *testing.T) {
	t.Parallel()
	if *golden {
		takeGolden(t)
		return
	}
	folders, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("%v, %v", folders, err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(folder, "runs.json"))
			var runs []goldenRun
			if err = errors.Join(err, json.Unmarshal(text, &runs)); err != nil || len(runs) < len(goldenRuns) {
				t.Fatalf("%d runs, %v", len(runs), err)
			}
			dir := t.TempDir()
			unpack(t, filepath.Join(folder, "journal.tar.gz"), dir)
			world := new(goldenWorld)
			server := httptest.NewServer(world)
			t.Cleanup(server.Close)
			document, err := os.ReadFile(filepath.Join(folder, "document.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			r := start(t, dir, strings.ReplaceAll(string(document), "URL", server.URL))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, x := range runs {
				id, err := journal.ParseRunID(x.Run)
				if err != nil {
					t.Fatal(err)
				}
				if x.Trigger == "fork" {
					postSignal(t, r.Addr(), x.Run)
				}
				f, err := r.Wait(ctx, id)
				if err != nil {
					lines, _ := r.Explain(t.Context(), id)
					t.Fatalf("%s: %v; %q", x.Trigger, err, lines)
				}
				if f.State != "succeeded" || f.Result.JSON() != x.Result {
					t.Errorf("%s: %s %s %v; want %s", x.Trigger, f.State, f.Result, f.Error, x.Result)
				}
			}
			for deadline := time.Now().Add(20 * time.Second); world.told.Load() == 0 && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
			if world.told.Load() != 1 {
				t.Errorf("told %d times of the end", world.told.Load())
			}
		})
	}
}

func postSignal(t *testing.T, addr, run string) {
	t.Helper()
	resp, err := http.Post("http://"+addr+"/v1/runs/"+run+"/signals/go", "application/json", strings.NewReader(`"gone"`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("the signal: %s %s", resp.Status, b)
	}
}

// takeGolden brings runs to where they wait, and keeps the folder as a process that is killed then leaves it.
func takeGolden(t *testing.T) {
	world := &goldenWorld{holds: true}
	server := httptest.NewServer(world)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	document := strings.ReplaceAll(goldenDocument, "URL", server.URL)
	r := start(t, dir, document)
	var runs []goldenRun
	for i, x := range goldenRuns {
		if i == len(goldenRuns)/2 { // So that there are snapshots, and records behind them.
			time.Sleep(time.Second)
			server.CloseClientConnections()
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r = start(t, dir, document)
		}
		e := event.New()
		e.SetID("golden")
		e.SetSource("/golden")
		e.SetType("golden")
		if err := e.SetData(event.ApplicationJSON, json.RawMessage(x.data)); err != nil {
			t.Fatal(err)
		}
		id, err := r.Start(t.Context(), x.trigger, &e)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, goldenRun{x.trigger, id.String(), x.result})
	}
	time.Sleep(time.Second) // All of them wait for what does not come.
	text, err := json.MarshalIndent(runs, "", "  ")
	if err = errors.Join(err, os.MkdirAll(goldenNow, 0o755), os.WriteFile(filepath.Join(goldenNow, "runs.json"), text, 0o644),
		os.WriteFile(filepath.Join(goldenNow, "document.yaml"), []byte(goldenDocument), 0o644)); err != nil {
		t.Fatal(err)
	}
	pack(t, dir, filepath.Join(goldenNow, "journal.tar.gz"))
	server.CloseClientConnections()
}

func pack(t *testing.T, dir, name string) {
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: d.Name(), Mode: 0o600, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	if err = errors.Join(err, w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, name, dir string) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, os.WriteFile(filepath.Join(dir, filepath.Base(h.Name)), b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
