package runtimes

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
)

//go:embed testdata/python/requirements.txt
var requirements []byte

//go:embed testdata/knative/requirements.txt
var knativeRequirements []byte

//go:embed testdata/node/package.json
var packageJSON []byte

//go:embed testdata/node/package-lock.json
var packageLock []byte

var (
	withPython  = &tooltest.Search{With: "of Python's runtimes", Cure: "install python3 and pip", Find: python(requirements, "awslambdaric, functions_framework, flask, fastapi, uvicorn"), Must: true}
	withKnative = &tooltest.Search{With: "of Knative's functions in Python", Cure: "install python3 and pip", Find: python(knativeRequirements, "func_python.cloudevent"), Must: true}
	withNode    = &tooltest.Search{With: "of Node's runtimes", Cure: "install node 20 or later and npm", Find: node, Must: true}
	withGo      = &tooltest.Search{With: "of Go's runtimes", Cure: "let go fetch modules", Find: golang, Must: true}
)

// python fetches packages into a folder of their own, which need not get on with others'.
func python(requirements []byte, modules string) func() (*tooltest.Tool, error) {
	return func() (*tooltest.Tool, error) { return fetchPython(requirements, modules) }
}

func fetchPython(requirements []byte, modules string) (*tooltest.Tool, error) {
	abi, err := tooltest.Fetch(tooltest.Quick, "", "python3", "-c", "import sysconfig; print(sysconfig.get_config_var('SOABI'))")
	if err != nil {
		return nil, err
	}
	dir, err := tooltest.Cached(fmt.Sprintf("runtimes-%08x-%s", crc32.ChecksumIEEE(requirements), abi), func(part string) (string, error) {
		if err := os.WriteFile(filepath.Join(part, "requirements.txt"), requirements, 0o644); err != nil {
			return "", err
		}
		_, err := tooltest.Fetch(tooltest.Quick, part, "python3", "-m", "pip", "install", "-q", "--only-binary", ":all:", "--target", "whole", "-r", "requirements.txt")
		return filepath.Join(part, "whole"), err
	})
	if err != nil {
		return nil, err
	}
	x := &tooltest.Tool{Path: "python3", Env: []string{"PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1"}}
	return x, x.Works("-c", "import "+modules)
}

// node keeps the folder node_modules as such: modules of the newer kind look for one another by that name.
func node() (*tooltest.Tool, error) {
	dir, err := tooltest.Cached(fmt.Sprintf("runtimes-node-%08x", crc32.ChecksumIEEE(packageLock)), func(part string) (string, error) {
		whole := filepath.Join(part, "whole")
		if err := os.Mkdir(whole, 0o755); err != nil {
			return "", err
		}
		for name, text := range map[string][]byte{"package.json": packageJSON, "package-lock.json": packageLock} {
			if err := os.WriteFile(filepath.Join(whole, name), text, 0o644); err != nil {
				return "", err
			}
		}
		_, err := tooltest.Fetch(tooltest.Quick, whole, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		return whole, err
	})
	if err != nil {
		return nil, err
	}
	x := &tooltest.Tool{Path: "node", Env: []string{"NODE_PATH=" + filepath.Join(dir, "node_modules")}}
	return x, x.Works("-e", "require('express'); require('faas-js-runtime')")
}

// golang builds the functions of a module of their own; the tool's path is the folder of their programs.
func golang() (*tooltest.Tool, error) {
	goSum, err := os.ReadFile("testdata/go/go.sum")
	if err != nil {
		return nil, err
	}
	dir, err := tooltest.Cached(fmt.Sprintf("runtimes-go-%08x", crc32.ChecksumIEEE(goSum)), func(part string) (string, error) {
		whole := filepath.Join(part, "whole")
		if err := os.Mkdir(whole, 0o755); err != nil {
			return "", err
		}
		_, err := tooltest.Fetch(tooltest.Slow, "testdata/go", "go", "build", "-o", whole, "./lambda", "./framework", "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie")
		return whole, err
	})
	return &tooltest.Tool{Path: dir}, err
}

// free is an address that nobody listens at.
func free() (address, port string) {
	address = tooltest.Address()
	_, port, _ = net.SplitHostPort(address)
	return address, port
}

// run starts a process that ends with the test.
func run(t *testing.T, c *exec.Cmd, dir string, env ...string) {
	t.Helper()
	said, err := os.CreateTemp(t.TempDir(), "said")
	if err != nil {
		t.Fatal(err)
	}
	c.Dir, c.Stdout, c.Stderr = dir, said, said
	c.Env = append(c.Env, env...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // It may have ended before.
		_ = c.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(said.Name())
			t.Logf("%s:\n%.4000s", c, text)
		}
		_ = said.Close()
	})
}

// listening waits until a process takes connections.
func listening(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing listens at %s", address)
		}
	}
}

// begin runs a router with one function, "f", that tells of the events "doubled" that it answers with.
func begin(t *testing.T, function string, told string) *router.Router {
	t.Helper()
	reg := new(plugin.Registry)
	builtin.Register(reg)
	sinks.Register(reg)
	triggers.Register(reg)
	set, findings := config.Parse("runtimes.yaml", []byte(fmt.Sprintf(document, function, told)), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	dir := t.TempDir()
	j, err := file.Open(file.Options{Dir: dir, SegmentBytes: 1 << 20, LowWater: -1, NoSync: true, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.Open(router.Options{Set: set, Registry: reg, Journal: j, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	<-r.Ready()
	return r
}

const document = `
version: 1
functions: { f: %s, told: { http: { url: %q } } }
triggers:
  t: { filters: [{ exact: { type: test } }], flow: { map: { items: "${ data }", join: settled, do: { function: f } } } }
  doubled: { filters: [{ exact: { type: doubled } }], flow: { function: told } }
`

type outcome struct {
	Outcome string
	Value   json.RawMessage
	Error   struct {
		Type, Message, Class string
		Data                 json.RawMessage
	}
}

func (o *outcome) String() string {
	if o.Outcome != "failed" {
		return o.Outcome + " " + string(o.Value)
	}
	return fmt.Sprintf("%s %s: %s %s", o.Error.Class, o.Error.Type, o.Error.Message, o.Error.Data)
}

// cases are what the functions are asked to do, beside doubling 20 numbers.
var cases = []string{"fail", "error", "empty", "slow"}

// drive has a router ask its function, and holds what became of it to what is due: the beginnings of the outcomes of cases.
func drive(t *testing.T, function string, begun func(), want ...string) (replies func() int64) {
	t.Helper()
	var told atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told.Add(1) }))
	t.Cleanup(s.Close)
	r := begin(t, function, s.URL)
	begun()
	var items []map[string]any
	for n := range 20 {
		items = append(items, map[string]any{"do": "double", "n": n})
	}
	for _, do := range cases {
		items = append(items, map[string]any{"do": do, "n": 0})
	}
	e := event.New()
	e.SetID("1")
	e.SetSource("/test")
	e.SetType("test")
	if err := e.SetData(event.ApplicationJSON, items); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	id, err := r.Start(ctx, "t", &e)
	if err != nil {
		t.Fatal(err)
	}
	end, err := r.Wait(ctx, id)
	if err != nil {
		lines, _ := r.Explain(context.Background(), id)
		t.Fatalf("%v; %s", err, strings.Join(lines, "\n"))
	}
	var got []outcome
	if err := end.Result.Decode(&got); err != nil || len(got) != len(items) {
		t.Fatalf("%v: %v, %v", err, end.Result, end.Error)
	}
	for n := range 20 {
		if text := strings.ReplaceAll(got[n].String(), " ", ""); text != fmt.Sprintf(`succeeded{"n":%d}`, 2*n) {
			t.Errorf("%d: %s", n, text)
		}
	}
	for i, w := range want {
		if text := got[20+i].String(); !strings.HasPrefix(text, w) {
			t.Errorf("%s: %s; want %s", cases[i], text, w)
		}
	}
	return told.Load
}

const (
	byRule  = `{ http: { url: "http://%s/", fail: "${ status >= 400 || body.error != null }" }, timeout: 1500ms }`
	knative = `{ contract: knative, http: { url: "http://%s/", fail: "${ status >= 400 || body.error != null }" }, timeout: 1500ms }`
	failed  = `function failed: boom {"error":"boom"}`
)

// TestRuntimes drives all that are to be had, side by side.
func TestRuntimes(t *testing.T) {
	t.Parallel()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	pythons, nodes := filepath.Join(wd, "testdata/python"), filepath.Join(wd, "testdata/node")
	serve := func(t *testing.T, command func(port string) *exec.Cmd, dir string, env ...string) string {
		address, port := free()
		run(t, command(port), dir, append(env, "PORT="+port, "LISTEN_ADDRESS="+address)...)
		listening(t, address)
		return address
	}
	command := func(s *tooltest.Search, args ...string) func(t *testing.T) func(string) *exec.Cmd {
		return func(t *testing.T) func(string) *exec.Cmd {
			x := s.Get(t)
			return func(port string) *exec.Cmd {
				own := make([]string, len(args))
				for i, a := range args {
					own[i] = strings.ReplaceAll(a, "PORT", port)
				}
				return x.Command(context.Background(), own...)
			}
		}
	}
	for name, c := range map[string]struct {
		command func(t *testing.T) func(string) *exec.Cmd
		dir     string
		env     []string
		want    []string
		replies int64 // events that are answered, and go on
	}{
		"functions-framework, Python": {command(withPython, "-m", "functions_framework", "--target", "framework", "--source", "main.py", "--host", "127.0.0.1", "--port", "PORT"), pythons, nil, []string{"function http_500: status 500: Internal Server Error", failed, "succeeded null", "timeout timeout: "}, 0},
		"Flask":                       {command(withPython, "-m", "flask", "--app", "main", "run", "--port", "PORT"), pythons, nil, []string{"function http_500: status 500: Internal Server Error", failed, "succeeded null", "timeout timeout: "}, 0},
		"FastAPI":                     {command(withPython, "-m", "uvicorn", "fast:app", "--port", "PORT"), pythons, nil, []string{`function http_422: status 422: {"detail":{"code":"E1"}} {"detail":{"code":"E1"}}`, failed, "succeeded null", "timeout timeout: "}, 0},
		"functions-framework, Node":   {command(withNode, "-e", "require(process.env.NODE_PATH + '/@google-cloud/functions-framework/build/src/main.js')"), nodes, []string{"FUNCTION_TARGET=framework", "HOST=127.0.0.1"}, []string{"function http_500: ", failed, "succeeded null", "timeout timeout: "}, 0},
		"Express":                     {command(withNode, "index.js"), nodes, nil, []string{"function http_500: status 500: ", failed, "succeeded null", "timeout timeout: "}, 0},
		"functions-framework, Go": {func(t *testing.T) func(string) *exec.Cmd {
			dir := withGo.Get(t).Path
			return func(string) *exec.Cmd {
				return (&tooltest.Tool{Path: filepath.Join(dir, "framework")}).Command(context.Background())
			}
		}, "", []string{"FUNCTION_TARGET=work"}, []string{"function http_500: status 500: boom", failed, "succeeded null", "timeout timeout: "}, 0},
		"faas-js-runtime": {command(withNode, "knative.js"), nodes, nil, []string{"function http_500: status 500: boom", failed, "succeeded null", "timeout timeout: "}, 10},
		"func-python":     {command(withKnative, "main.py"), filepath.Join(wd, "testdata/knative"), nil, []string{"function http_500: ", failed, "succeeded null", "timeout timeout: "}, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			form := byRule
			if c.replies > 0 {
				form = knative
			}
			replies := drive(t, fmt.Sprintf(form, serve(t, c.command(t), c.dir, c.env...)), func() {}, c.want...)
			for end := time.Now().Add(2 * time.Minute); replies() != c.replies; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d replies went on; want %d", replies(), c.replies)
				}
			}
		})
	}
}

// TestLambdaRuntimes: unmodified handlers of AWS's runtimes poll the router; that one of them answers after its deadline, and ends, harms nobody.
func TestLambdaRuntimes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command func(t *testing.T) *exec.Cmd
		fail    string
	}{
		"awslambdaric": {func(t *testing.T) *exec.Cmd {
			return withPython.Get(t).Command(context.Background(), "-m", "awslambdaric", "main.handler")
		}, `function ValueError: boom {"errorMessage":"boom","errorType":"ValueError"`},
		"aws-lambda-go": {func(t *testing.T) *exec.Cmd {
			return (&tooltest.Tool{Path: filepath.Join(withGo.Get(t).Path, "lambda")}).Command(context.Background())
		}, `function errorString: boom {"errorMessage":"boom","errorType":"errorString"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			commands := []*exec.Cmd{c.command(t), c.command(t), c.command(t)}
			address, _ := free()
			drive(t, `{ lambdaRuntime: "`+address+`", timeout: 1500ms }`, func() {
				for _, x := range commands {
					run(t, x, "testdata/python", "AWS_LAMBDA_RUNTIME_API="+address, "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_REGION=local")
				}
			}, c.fail, `succeeded {"error":"boom"}`, "succeeded null", "timeout timeout: ")
		})
	}
}

// TestEmulator: AWS's runtime interface emulator, with handlers in it, says failures and time-outs in its own way, and takes one call at a time. Of a call that the
// router gives up it goes on; one that is over by its own clock costs the handler its life.
func TestEmulator(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler func(t *testing.T) (command, env []string)
		limit   string // of the emulator, in seconds, with what a start takes
		timeout string // of the router
		want    []string
	}{
		"awslambdaric": {func(t *testing.T) ([]string, []string) {
			return []string{"python3", "-m", "awslambdaric", "main.emulated"}, withPython.Get(t).Env
		}, "60", "1500ms", []string{`function ValueError: boom {"errorMessage":"boom","errorType":"ValueError"`, `succeeded {"error":"boom"}`, "succeeded null", "timeout timeout: "}},
		"aws-lambda-go": {func(t *testing.T) ([]string, []string) {
			return []string{filepath.Join(withGo.Get(t).Path, "lambda")}, nil
		}, "2", "30s", []string{`function errorString: boom {"errorMessage":"boom","errorType":"errorString"`, `succeeded {"error":"boom"}`, "succeeded null", "timeout Sandbox.Timedout: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, env := c.handler(t)
			address, _ := free()
			api, _ := free()
			x := &tooltest.Tool{Path: filepath.Join(withGo.Get(t).Path, "aws-lambda-rie"), Env: env}
			run(t, x.Command(context.Background(), append([]string{"--log-level", "error", "--runtime-interface-emulator-address", address, "--runtime-api-address", api}, handler...)...), "testdata/python", "AWS_LAMBDA_FUNCTION_TIMEOUT="+c.limit)
			listening(t, address)
			url := "http://" + address + "/2015-03-31/functions/function/invocations"
			warm(t, url)
			drive(t, fmt.Sprintf("{ contract: lambda, timeout: %s, http: { url: %q } }", c.timeout, url), func() {}, c.want...)
		})
	}
}

// warm asks until there is a result: the first call waits for the handler's start, which may take longer than a call may.
func warm(t *testing.T, url string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Post(url, "application/json", strings.NewReader(`{"do":"double","n":1}`))
		if err == nil {
			text, _ := io.ReadAll(resp.Body) // What is cut off is no result.
			_ = resp.Body.Close()
			if strings.ReplaceAll(string(text), " ", "") == `{"n":2}` {
				return
			}
			err = fmt.Errorf("%s", text)
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
