package schedulertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers"
)

// An odd policy runs one step n times and joins the outcomes. It keeps all laws, but for the one that its setting fault names.
type odd struct {
	Do     lang.Step       `doc:"do,required"`
	Then   *lang.Step      `doc:"then"`
	N      int             `doc:"n" default:"4"`
	Window int             `doc:"window"`
	Join   schedulers.Join `doc:"join" default:"all"`
	Also   lang.Expr       `doc:"also"`
	Fault  string          `doc:"fault"`

	hidden int
	cached *lang.Value
}

// Cleanup is for the faults of a frame that is cancelled.
func (p *odd) Cleanup(slot int) bool {
	return slot == 1 && strings.HasSuffix(p.Fault, "when cancelled")
}

type oddState struct {
	Last  lang.Value
	Binds int
	Round int
	All   []lang.Value
}

func (p *odd) Next(f schedulers.Frame, s *oddState, ev schedulers.Event) error {
	p.hidden++
	switch ev.Kind {
	case schedulers.Started:
		return p.start(f)
	case schedulers.Fired:
		f.After("again", time.Second)
	case schedulers.Cancelled:
		switch p.Fault {
		case "panics when cancelled":
			panic("no")
		case "spawns anything when cancelled":
			f.Spawn(0, 1)
		case "never ends when cancelled":
			f.After("again", time.Second)
		case "tidies up when cancelled":
			f.Window(1, p.Window)
			f.Spawn(1, 1)
		}
	case schedulers.Done:
		s.Last = ev.Outcome.Collected()
		return p.done(f, s, ev)
	}
	return nil
}

func (p *odd) start(f schedulers.Frame) error {
	switch p.Fault {
	case "unknown slot":
		f.Spawn(2, 1)
	case "window below zero":
		f.Window(0, -1)
	case "no class":
		f.Fail(&lang.Error{Type: "x", Message: "of no class"})
	case "errs without a class":
		return &lang.Error{Type: "x"}
	case "cancels what it spawns":
		f.Window(0, p.Window)
		f.Spawn(0, p.N+1)
		f.Cancel(0, p.N)
		return nil
	case "keeps the first input":
		if p.cached == nil {
			in := f.Input()
			p.cached = &in
		}
		f.Succeed(*p.cached)
		return nil
	case "asks the clock":
		f.Succeed(lang.Of(time.Now().UnixNano()))
		return nil
	case "keeps the last input":
		in := f.Input()
		p.cached = &in
	case "fewer than none":
		f.Spawn(0, -1)
	case "cancels what is not there":
		f.Cancel(0, 0)
	case "gives back what did not come":
		f.GiveBack()
	case "discards too late":
		f.Spawn(0, p.N)
		f.Discard(0)
		return nil
	case "no error":
		f.Fail(nil)
	case "panics":
		var none *odd
		_ = none.N
	case "rearms for ever":
		f.After("again", time.Second)
		return nil
	case "waits for nothing":
		return nil
	case "errs":
		return errors.New("it cannot")
	case "window too late":
		f.Spawn(0, p.N)
		f.Window(0, p.Window)
		return nil
	case "changes its settings":
		p.N++
	}
	if p.Fault != "no window" {
		f.Window(0, p.Window)
	}
	f.Spawn(0, p.N)
	return p.look(f)
}

// look evaluates an expression of its own, with a name of its own.
func (p *odd) look(f schedulers.Scope) error {
	vars := lang.Vars{{Name: "bound", Value: lang.Of(p.N)}}
	switch p.Fault {
	case "undeclared name of its own":
		vars = append(vars, lang.Var{Name: "more", Value: lang.Null})
	case "missing name of its own":
		vars = nil
	}
	_, err := f.Eval(p.Also, vars)
	return err
}

func (p *odd) DeclareOwn(field string) []string {
	if field == "also" {
		return []string{"bound"}
	}
	return nil
}

func (p *odd) done(f schedulers.Frame, s *oddState, ev schedulers.Event) error {
	switch p.Fault {
	case "collects at each event":
		_ = f.Collect(0)
	case "keeps everything":
		s.All = append(s.All, ev.Outcome.Settled())
	}
	switch counts := f.Counts(0); {
	case p.Fault == "hidden settings" && p.hidden%7 == 0:
		f.Fail(lang.Failf(lang.ClassFunction, "hidden", "it hangs on what is not in the state"))
	case p.Fault == "fails when settled" && counts.Failed == 2:
		f.Fail(lang.Failf(lang.ClassFunction, "too_many", "two failed"))
	case ev.Outcome.Verdict == lang.Failed && !p.Join.Settled() && p.Fault == "another error":
		f.Fail(lang.Failf(lang.ClassFunction, "child_failed", "a child failed"))
	case ev.Outcome.Verdict == lang.Failed && !p.Join.Settled() && p.Fault != "waits for all" && p.Fault != "loses failures":
		f.Fail(ev.Outcome.Err)
	case p.Fault == "abandons" && counts.Done() == 2:
		f.Succeed(lang.Null)
	case counts.Done() < counts.Spawned:
	case p.Fault == "loses failures":
		f.Succeed(lang.Null)
	case p.Fault == "stops short":
	case p.Fault == "keeps the last input":
		f.Succeed(*p.cached)
	case p.Fault == "last wins":
		f.Succeed(s.Last)
	case p.Fault == "forgets errors", p.Fault == "out of order":
		values := make([]lang.Value, counts.Spawned)
		for i := range values {
			o := f.Outcome(0, i)
			if p.Fault == "out of order" {
				o = f.Outcome(0, len(values)-1-i)
				values[i] = o.Collected()
				if p.Join.Tells() {
					values[i] = o.Settled()
				}
			} else {
				values[i] = o.Value
			}
		}
		f.Succeed(lang.List(values...))
	default:
		f.Succeed(p.Join.List(f, 0))
	}
	return nil
}

func (p *odd) Bind(f schedulers.Scope, s *oddState, slot, index int) (schedulers.Binding, error) {
	if p.Fault == "binds with undeclared names" {
		if _, err := f.Eval(p.Also, nil); err != nil {
			return schedulers.Binding{}, err
		}
	}
	b := schedulers.Binding{Input: lang.Of(index), Vars: lang.Vars{{Name: "index", Value: lang.Of(index)}}}
	switch p.Fault {
	case "binding counts":
		s.Binds++
	case "binding moves on":
		b.Input = s.Last
	case "undeclared name":
		b.Vars = append(b.Vars, lang.Var{Name: "last", Value: lang.Null})
	case "missing name":
		b.Vars = nil
	case "undeclared sibling":
		b.Siblings = []int{1}
	case "sibling at work":
		b.Siblings = []int{0}
	case "binding panics":
		panic("no")
	}
	return b, nil
}

func (p *odd) Declare(int) schedulers.Declaration {
	d := schedulers.Declaration{Names: []string{"index"}, Many: p.Fault != "not many"}
	if p.Fault == "sibling at work" {
		d.Siblings = []int{0}
	}
	return d
}

func oddRegistry() *plugin.Registry {
	r := new(plugin.Registry)
	schedulers.Register[odd, oddState](r, "odd", 1, "Breaks the law that it is told to.")
	return r
}

// TestLawsAreLaws: every law is broken by someone, and the one who breaks it is found; who breaks none is not.
func TestLawsAreLaws(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]Law{
		"":                               "",
		"errs":                           "",
		"hidden settings":                Same,
		"cancels what it spawns":         "",
		"window below zero":              Legal,
		"no class":                       Legal,
		"errs without a class":           Legal,
		"keeps the first input":          Alone,
		"keeps the last input":           Alone,
		"asks the clock":                 Same,
		"loses failures":                 Joined,
		"collects at each event":         Flat,
		"keeps everything":               Flat,
		"abandons":                       Kept,
		"rearms for ever":                Ends,
		"waits for nothing":              Ends,
		"stops short":                    Ends,
		"last wins":                      Commutes,
		"no window":                      Bounded,
		"window too late":                Bounded,
		"unknown slot":                   Legal,
		"fewer than none":                Legal,
		"cancels what is not there":      Legal,
		"gives back what did not come":   Legal,
		"discards too late":              Legal,
		"no error":                       Legal,
		"panics":                         Legal,
		"panics when cancelled":          Legal,
		"spawns anything when cancelled": Legal,
		"never ends when cancelled":      Ends,
		"tidies up when cancelled":       "",
		"binding panics":                 Legal,
		"waits for all":                  Joined,
		"another error":                  Joined,
		"fails when settled":             Joined,
		"forgets errors":                 Joined,
		"out of order":                   Joined,
		"binding counts":                 Pure,
		"binding moves on":               Pure,
		"undeclared name":                Declared,
		"missing name":                   Declared,
		"undeclared sibling":             Declared,
		"sibling at work":                Declared,
		"not many":                       Declared,
		"undeclared name of its own":     Declared,
		"missing name of its own":        Declared,
		"binds with undeclared names":    Declared,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			o := Options{Plays: 60}
			n := 6
			if want == Flat {
				n = 400
			}
			for _, join := range []string{"all", "settled"} {
				o.Documents = append(o.Documents, fmt.Sprintf(`{do: {function: f}, then: {function: g}, n: %d, window: 2, join: %s, also: "${ bound > 0 }", fault: %q}`, n, join, fault))
			}
			tally, err := check(oddRegistry(), "odd", o)
			switch {
			case want == "" && err != nil:
				t.Errorf("it keeps all laws, and: %v", err)
			case want == "" && (tally.Plays != 60 || fault == "" && (tally.Reordered == 0 || tally.Succeeded == 0 || tally.Failed == 0)):
				t.Errorf("too little was played: %s", tally)
			case want != "" && (err == nil || !strings.Contains(err.Error(), string(want))):
				t.Errorf("want %q, got: %v", want, err)
			case want != "" && !strings.Contains(err.Error(), "-schedulertest.seed="):
				t.Errorf("the seed is missing: %v", err)
			}
		})
	}
}

// TestChangedSettings: a policy that changes its settings is found, whichever law is first to see it.
func TestChangedSettings(t *testing.T) {
	t.Parallel()
	o := Options{Documents: []string{`{do: {function: f}, fault: "changes its settings"}`}}
	if _, err := check(oddRegistry(), "odd", o); err == nil || !strings.Contains(err.Error(), "law broken") {
		t.Error(err)
	}
}

// A loose policy has no join, and does what its word says with failures.
type loose struct {
	Do    lang.Step `doc:"do,required"`
	Fault string    `doc:"fault"`
}

func (p *loose) Next(f schedulers.Frame, _ *struct{}, ev schedulers.Event) error {
	switch {
	case ev.Kind == schedulers.Started:
		f.Spawn(0, 1)
	case ev.Outcome.Verdict == lang.Failed && p.Fault == "":
		f.Fail(ev.Outcome.Err)
	case ev.Kind == schedulers.Done:
		f.Succeed(lang.Null)
	}
	return nil
}

// TestPartial: a policy that loses failures is found, unless it says that it may; what children answer can be told.
func TestPartial(t *testing.T) {
	t.Parallel()
	r := new(plugin.Registry)
	schedulers.Register[loose, struct{}](r, "loose", 1, "Loses failures.")
	answered := 0
	for doc, want := range map[string]Law{`{do: {function: f}}`: "", `{do: {function: f}, fault: loses}`: Kept} {
		o := Options{Documents: []string{doc}, Plays: 60}
		if _, err := check(r, "loose", o); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), string(want))) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
		o.Partial = func(p *Play) bool { return p.Left == 0 }
		if _, err := check(r, "loose", o); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
		o.Partial = nil
		o.Answer = func(_ Child, given schedulers.Binding, _ *rand.Rand) (lang.Outcome, bool) {
			answered++
			return lang.Success(given.Input), true
		}
		if tally, err := check(r, "loose", o); err != nil || tally.Failed > 0 {
			t.Errorf("%s: %v, %s", doc, err, tally)
		}
	}
	if answered == 0 {
		t.Error("nobody was asked for an answer")
	}
}

type hiding struct {
	Seen struct{ Deep map[string][]*hidingPlace }
}

type hidingPlace struct {
	Value lang.Value // It saves itself.
	place int
}

// TestHiddenState: a field that is not saved is found by the type alone, and what saves itself is left alone.
func TestHiddenState(t *testing.T) {
	t.Parallel()
	if at := hidden(reflect.TypeFor[*hiding](), nil); at != "schedulertest.hidingPlace.place" {
		t.Errorf("%q", at)
	}
	_ = hidingPlace{place: 1}
	for _, fine := range []reflect.Type{reflect.TypeFor[*oddState](), reflect.TypeFor[time.Time](), reflect.TypeFor[struct{}]()} {
		if at := hidden(fine, nil); at != "" {
			t.Errorf("%s: %q", fine, at)
		}
	}
}

type hider struct {
	Do lang.Step `doc:"do,required"`
}

type hiderState struct{ Open, done int }

func (p *hider) Next(f schedulers.Frame, s *hiderState, ev schedulers.Event) error {
	if ev.Kind == schedulers.Started {
		f.Spawn(0, 1)
		return nil
	}
	s.done++
	f.Succeed(lang.Null)
	return nil
}

// TestHider: a policy with such a state is refused before anything is played.
func TestHider(t *testing.T) {
	t.Parallel()
	r := new(plugin.Registry)
	schedulers.Register[hider, hiderState](r, "hider", 1, "Keeps what is not saved.")
	err := sourceOf(r, "hider")
	if err == nil || !strings.Contains(err.Error(), string(Encoded)) || !strings.Contains(err.Error(), "hiderState.done is not exported") {
		t.Error(err)
	}
}

// TestLook: a clock, a goroutine and what reaches for the world are found in the source.
func TestLook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go":      "package a\n\nimport (\n\t\"math/rand/v2\"\n\t\"time\"\n)\n\nfunc f() time.Duration {\n\tgo f()\n\treturn time.Since(time.Unix(int64(rand.Int()), 0)) + time.Second\n}\n",
		"a_test.go": "package a\n\nimport \"os\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	faults, err := look(dir)
	want := "a.go:4: it imports math/rand/v2 a.go:9: it starts a goroutine a.go:10: it calls time.Since"
	if err != nil || strings.Join(faults, " ") != want {
		t.Errorf("%q, %v", faults, err)
	}
}

// TestWanted: an outcome that is not the one wanted is found.
func TestWanted(t *testing.T) {
	t.Parallel()
	o := Options{
		Documents: []string{`{do: {function: f}, join: settled}`},
		Want:      func(p *Play) (lang.Outcome, bool) { return lang.Success(lang.Of(len(p.Told))), true },
	}
	if _, err := check(oddRegistry(), "odd", o); err == nil || !strings.Contains(err.Error(), string(Wanted)) {
		t.Error(err)
	}
}

// TestSettings: documents that are no settings are refused, with what is wrong.
func TestSettings(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{do: {function: f}, m: 3}`: `unknown key "m"`,
		`{n: 3}`:                    "do is missing",
		`{do: [`:                    "",
	} {
		if _, err := check(oddRegistry(), "odd", Options{Documents: []string{doc}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", doc, err)
		}
	}
	if _, err := check(oddRegistry(), "even", Options{}); err == nil {
		t.Error("an unknown policy passes")
	}
}

// TestBenchCancels: children that a policy cancels, before and after they open, and the tally that it sees.
func TestBenchCancels(t *testing.T) {
	t.Parallel()
	s, err := Load(oddRegistry(), "odd", `{do: {function: f}, n: 5, window: 2, join: settled}`)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBench(s, lang.Null, lang.Null)
	b.Start()
	b.grant(Request{Op: Cancel, A: 3})
	b.grant(Request{Op: Cancel, A: 3})
	b.grant(Request{Op: Cancel, A: 0})
	if open := b.Open(); len(open) != 2 || open[0].Index+open[1].Index != 3 {
		t.Errorf("open are %v, want 1 and 2", open)
	}
	if c := b.Counts(0); c != (schedulers.Counts{Spawned: 5, Open: 2, Failed: 2}) {
		t.Errorf("%+v", c)
	}
	b.Done(0, 1, lang.Success(lang.Of(1)))
	b.Done(0, 2, lang.Skip())
	b.Done(0, 4, lang.Success(lang.Of(4)))
	if o, ended := b.Ended(); !ended || o.Value.JSON() != `[{"outcome":"cancelled"},{"outcome":"succeeded","value":1},{"outcome":"skipped"},{"outcome":"cancelled"},{"outcome":"succeeded","value":4}]` {
		t.Error(o)
	}
}
