package command

import (
	_ "embed"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/tooltest"
	"github.com/onward-router/onward/schedulers"
)

//go:embed testdata/browser/package.json
var browserPackage []byte

//go:embed testdata/browser/package-lock.json
var browserLock []byte

// anyOf is somebody's own policy: it does not say how its steps hang together.
type anyOf struct {
	Of lang.Steps `doc:"of,value,required" help:"the branches"`
}

func (p *anyOf) Next(f schedulers.Frame, _ *struct{}, ev schedulers.Event) error {
	if ev.Kind == schedulers.Done {
		f.Succeed(ev.Outcome.Value)
		return nil
	}
	for slot := range p.Of.List {
		f.Spawn(slot, 1)
	}
	return nil
}

// withBrowser is Node with playwright-core, and a Chromium in its environment.
var withBrowser = &tooltest.Search{With: "of the page in a browser", Cure: "install node 20 or later, npm and chromium", Must: true, Find: func() (*tooltest.Tool, error) {
	modules, err := tooltest.NPM("page-playwright-1.64.1-axe-4.14.1", browserPackage, browserLock)
	if err != nil {
		return nil, err
	}
	chromium, err := tooltest.Chromium()
	if err != nil {
		return nil, err
	}
	x := &tooltest.Tool{Path: "node", Env: append(chromium.Env, "NODE_PATH="+modules, "CHROMIUM="+chromium.Path)}
	return x, x.Works("-e", "require('playwright-core')")
}}

// TestPage drives the page in a real browser against the real program: testdata/browser, a story a file.
func TestPage(t *testing.T) {
	t.Parallel()
	stories, err := filepath.Glob("testdata/browser/*.mjs")
	if err != nil || len(stories) < 2 {
		t.Fatal(stories, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	turn := make(chan struct{}, 2) // A browser wants a processor for itself.
	for _, story := range stories {
		if filepath.Base(story) == "lib.mjs" {
			continue
		}
		t.Run(filepath.Base(story), func(t *testing.T) {
			t.Parallel()
			x := withBrowser.Get(t)
			turn <- struct{}{}
			defer func() { <-turn }()
			c := x.Command(t.Context(), story)
			c.Env = append(c.Env, "ONWARD="+self, "TMPDIR="+t.TempDir(), "GORACE=atexit_sleep_ms=0", "RACE="+raced)
			c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
			begin := time.Now()
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s\n%s", time.Since(begin).Round(time.Millisecond), out)
		})
	}
}
