package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/mapping"
	"github.com/onward-router/onward/triggers/triggertest"
)

// A memory is a router's folder.
type memory struct {
	mu    sync.Mutex
	b     []byte
	fails int
}

func (m *memory) Recall(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.b), nil
}

func (m *memory) Keep(_ context.Context, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails > 0 {
		m.fails--
		return errors.New("the disk is full")
	}
	m.b = slices.Clone(b)
	return nil
}

// to is how far a file is read, by what is kept.
func (m *memory) to(path string) int64 {
	b, _ := m.Recall(context.Background())
	k, _ := decodeKept(b)
	for _, p := range k.Files {
		if p.Path == path && p.Gone.IsZero() {
			return p.Offset
		}
	}
	return -1
}

// An end is a folder with a file a key, and what was written to each.
type end struct {
	t    *testing.T
	dir  string
	m    *memory
	s    *Source
	mu   sync.Mutex
	told map[string]int64 // by id, where its line ends
	file map[string]string
}

func (e *end) write(key string, lines ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	path := filepath.Join(e.dir, key)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		e.t.Error(err)
	}
}

func (e *end) send(key string, events ...event.Event) {
	for i := range events {
		b, err := envelope.Marshal(&events[i])
		if err != nil {
			e.t.Error(err)
		}
		e.write(key, string(b))
		info, err := os.Stat(filepath.Join(e.dir, key))
		if err != nil {
			e.t.Error(err)
			return
		}
		e.mu.Lock()
		e.told[events[i].ID()], e.file[events[i].ID()] = info.Size(), filepath.Join(e.dir, key)
		e.mu.Unlock()
	}
}

func (e *end) is(id string) triggertest.Told {
	for _, p := range e.s.Parked() {
		if bytes.Contains(p.Bytes, []byte(`"id":"`+id+`"`)) {
			return triggertest.Refused
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if to, ok := e.told[id]; ok && e.m.to(e.file[id]) >= to {
		return triggertest.Acknowledged
	}
	return triggertest.Nothing
}

func TestLaws(t *testing.T) {
	triggertest.Run(t, triggertest.Harness{New: func(t *testing.T) triggertest.End {
		e := &end{t: t, dir: t.TempDir(), m: new(memory), told: make(map[string]int64), file: make(map[string]string)}
		made, err := New("laws", &Settings{Path: e.dir, Follow: true, Start: earliest, MaxEvent: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		e.s = made.(*Source)
		e.s.Remember(e.m, nil)
		return triggertest.End{
			Source: e.s, Open: func(triggers.Admit) {}, Send: e.send, Told: e.is, Close: func() {},
			Garbage: func(key string) { e.write(key, "no event", `{"specversion":"1.0"}`, "\xff") },
		}
	}})
}

// A life is a source at work on a folder.
type life struct {
	t      *testing.T
	s      *Source
	cancel func()
	ran    chan error
	mu     sync.Mutex
	seen   []string // id=data
	answer func(events []event.Event) ([]triggers.Receipt, error)
}

func plain() *Settings {
	return &Settings{Follow: true, Start: earliest, MaxEvent: 1 << 10, As: &mapping.As{Type: lang.MustExpr("t"), Subject: lang.MustExpr("${ string(line) }")}}
}

func live(t *testing.T, path string, m *memory, change func(*Settings)) *life {
	t.Helper()
	s := plain()
	s.Path = path
	if change != nil {
		change(s)
	}
	if problems := s.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	made, err := New("in", s)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, s: made.(*Source), ran: make(chan error, 1)}
	l.s.Remember(m, nil)
	return l
}

func (l *life) start() *life {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { l.ran <- l.s.Run(ctx, l.admit) }()
	l.cancel = sync.OnceFunc(func() {
		cancel()
		if err := <-l.ran; err != nil {
			l.t.Error(err)
		}
	})
	l.t.Cleanup(l.cancel)
	return l
}

func (l *life) admit(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]triggers.Receipt, len(events))
	if l.answer != nil {
		var err error
		if out, err = l.answer(events); err != nil {
			return nil, err
		}
	}
	for i := range events {
		if out[i].Err == nil {
			l.seen = append(l.seen, events[i].ID()+"="+string(events[i].Data()))
		}
	}
	return out, nil
}

// data waits for so many events, and returns their data.
func (l *life) data(n int) string {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		l.mu.Lock()
		seen := slices.Clone(l.seen)
		l.mu.Unlock()
		if len(seen) >= n || time.Now().After(end) {
			for i, x := range seen {
				_, seen[i], _ = strings.Cut(x, "=")
			}
			return strings.Join(seen, " ")
		}
	}
}

func (l *life) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, x := range l.seen {
		id, _, _ := strings.Cut(x, "=")
		out = append(out, id)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// TestFolder: files in order of their names, and a new one; a line that has no end waits for it; a router that starts again goes on where it was.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), new(memory)
	write(t, filepath.Join(dir, "b"), "3\r\n\n  \n4")
	write(t, filepath.Join(dir, "a"), "\ufeff1\n2\n")
	write(t, filepath.Join(dir, ".hidden"), "9\n")
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := live(t, dir, m, nil).start()
	if got := l.data(3); got != "1 2 3" {
		t.Errorf("%q", got)
	}
	write(t, filepath.Join(dir, "c"), "5\n")
	if got := l.data(4); got != "1 2 3 5" {
		t.Errorf("%q", got)
	}
	l.cancel()
	appendTo(t, filepath.Join(dir, "b"), "4\n6\n")
	l = live(t, dir, m, nil).start()
	if got := l.data(2); got != "44 6" {
		t.Errorf("after a restart: %q", got)
	}
	if r := l.s.Report(); !strings.Contains(r.At, "files") && !strings.Contains(r.At, "b:") {
		t.Errorf("%+v", r)
	}
	l.cancel()
}

// TestIDs: a line has its id of its file and its place, the same after a crash that has lost how far it was; files of equal lines do not have them in common.
func TestIDs(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), new(memory)
	write(t, filepath.Join(dir, "a"), "1\n1\n")
	write(t, filepath.Join(dir, "b"), "1\n1\n")
	l := live(t, dir, m, nil)
	var crashed []byte // What is durable before the first line is taken.
	l.answer = func(events []event.Event) ([]triggers.Receipt, error) {
		if crashed == nil {
			crashed, _ = m.Recall(context.Background())
		}
		return make([]triggers.Receipt, len(events)), nil
	}
	l.start()
	l.data(4)
	l.cancel()
	ids := l.ids()
	if s := slices.Compact(slices.Sorted(slices.Values(ids))); len(s) != 4 {
		t.Errorf("%q", ids)
	}
	again := live(t, dir, &memory{b: crashed}, nil).start()
	again.data(4)
	again.cancel()
	if !slices.Equal(again.ids(), ids) {
		t.Errorf("%q, and then %q", ids, again.ids())
	}
}

// TestRotated: a file that gets another name is read to its end, under the old name and the new one; one that is cut or written anew is read from its beginning.
func TestRotated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pattern string
		change  func(t *testing.T, path string)
		down    bool // the router is, meanwhile
		want    string
	}{
		"renamed, and found":          {"log*", func(t *testing.T, p string) { appendTo(t, p, "3\n"); rename(t, p, p+".1"); write(t, p, "4\n") }, false, "1 2 3 4"},
		"renamed, and found, down":    {"log*", func(t *testing.T, p string) { appendTo(t, p, "3\n"); rename(t, p, p+".1"); write(t, p, "4\n5\n6\n") }, true, "4 5 6 3"},
		"renamed away":                {"log", func(t *testing.T, p string) { rename(t, p, p+".1"); appendTo(t, p+".1", "3\n"); write(t, p, "4\n") }, false, "1 2 3 4"},
		"the same lines anew":         {"log", func(t *testing.T, p string) { rename(t, p, p+".1"); write(t, p, "1\n2\n") }, false, "1 2 1 2"},
		"cut":                         {"log", func(t *testing.T, p string) { write(t, p, "4\n") }, false, "1 2 4"},
		"cut, and longer than before": {"log", func(t *testing.T, p string) { write(t, p, "4\n5\n6\n7\n") }, false, "1 2 4 5 6 7"},
		"cut, and as long as before":  {"log", func(t *testing.T, p string) { time.Sleep(20 * time.Millisecond); write(t, p, "4\n5\n") }, true, "4 5"},
		"replaced by a longer copy":   {"log", func(t *testing.T, p string) { write(t, p+".new", "1\n2\n3\n"); rename(t, p+".new", p) }, true, "3"},
		"copied":                      {"log*", func(t *testing.T, p string) { write(t, p+".copy", "1\n2\n") }, true, "1 2"},
		"gone, and there again": {"log", func(t *testing.T, p string) {
			rename(t, p, p+".1")
			time.Sleep(3 * looking)
			rename(t, p+".1", p)
			appendTo(t, p, "3\n")
		}, false, "1 2 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, m := t.TempDir(), new(memory)
			path := filepath.Join(dir, "log")
			write(t, path, "1\n2\n")
			l := live(t, filepath.Join(dir, c.pattern), m, nil).start()
			l.data(2)
			until(t, "it is kept", func() bool { return m.to(path) == 4 })
			if c.down {
				l.cancel()
			}
			c.change(t, path)
			if c.down {
				l = live(t, filepath.Join(dir, c.pattern), m, nil).start()
			}
			n := strings.Count(c.want, " ") + 1
			got := l.data(n)
			if name == "renamed, and found" && got == "1 2 4 3" { // The new one may come first.
				got = c.want
			}
			if got != c.want {
				t.Errorf("%q; want %q", got, c.want)
			}
			l.cancel()
			l = live(t, filepath.Join(dir, c.pattern), m, nil).start()
			time.Sleep(2 * looking)
			if got := l.data(0); got != "" {
				t.Errorf("again: %q", got)
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestBad: what is no event is parked with its place, a line that is too long is not read into memory, and what follows is taken.
func TestBad(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), new(memory)
	path := filepath.Join(dir, "x")
	long := strings.Repeat("x", 300_000)
	write(t, path, strings.Join([]string{
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}`, `{"specversion":"1.0","id":"","source":"/s","type":"t"}`, "plain", `{"a":1}`, long,
		`[{"specversion":"1.0","id":"2","source":"/s","type":"t","data":2},{"id":"3"},{"specversion":"1.0","id":"4","source":"/s","type":"t","data":4}]`, strings.Repeat("y", 1<<10) + "\r", long + "z",
	}, "\n"))
	l := live(t, path, m, func(s *Settings) { s.As = nil }).start()
	if got := l.data(3); got != "1 2 4" {
		t.Errorf("%q", got)
	}
	until(t, "all is parked", func() bool { return len(l.s.Parked()) == 7 })
	appendTo(t, path, long+"\n"+`{"specversion":"1.0","id":"5","source":"/s","type":"t","data":5}`+"\n")
	if got := l.data(4); got != "1 2 4 5" {
		t.Errorf("%q", got)
	}
	var said []string
	for _, p := range l.s.Parked() {
		said = append(said, strings.TrimPrefix(p.Place, path)+" "+p.Reason)
		if len(p.Bytes) > 1<<10 {
			t.Errorf("%s: %d bytes are kept", p.Place, len(p.Bytes))
		}
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{":2 id is missing", ":3 no CloudEvent: the line has no specversion; say as:", ":4 no CloudEvent", ":5 it has more than 1024 bytes; raise maxEvent", ":6 event 1 of the line:", ":7 no CloudEvent", ":8 it has more than 1024 bytes"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s; want %s", all, want)
		}
	}
}

// TestRefused: a file waits while the router takes nothing of it, others go on, and what is refused for good is parked.
func TestRefused(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), new(memory)
	write(t, filepath.Join(dir, "a"), "1\n2\n3\n")
	write(t, filepath.Join(dir, "b"), "4\n5\n")
	l := live(t, dir, m, nil)
	tries := 0
	l.answer = func(events []event.Event) ([]triggers.Receipt, error) {
		out := make([]triggers.Receipt, len(events))
		for i := range events {
			switch string(events[i].Data()) {
			case "2":
				if tries++; tries < 4 {
					out[i].Err = triggers.ErrBusy
				}
			case "5":
				out[i].Err = fmt.Errorf("%w: no", triggers.ErrRefused)
			}
		}
		return out, nil
	}
	l.start()
	if got := l.data(4); got != "1 3 4 2" {
		t.Errorf("%q", got)
	}
	if parked := l.s.Parked(); len(parked) != 1 || string(parked[0].Bytes) != "5" {
		t.Errorf("%v", parked)
	}
	until(t, "it is kept", func() bool { return m.to(filepath.Join(dir, "a")) == 6 && m.to(filepath.Join(dir, "b")) == 4 })
}

// TestNothingIsReadBeforeItIsKnown: ids hang on what is kept.
func TestNothingIsReadBeforeItIsKnown(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), &memory{fails: 2}
	write(t, filepath.Join(dir, "a"), "1\n")
	l := live(t, dir, m, nil)
	l.answer = func(events []event.Event) ([]triggers.Receipt, error) {
		if b, _ := m.Recall(context.Background()); b == nil {
			t.Error("a line is taken, and its file is not known")
		}
		return make([]triggers.Receipt, len(events)), nil
	}
	l.start()
	if got := l.data(1); got != "1" {
		t.Errorf("%q", got)
	}
}

// TestOnce: without follow a last line needs no end, and it says when all is read.
func TestOnce(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), new(memory)
	write(t, filepath.Join(dir, "a.ndjson"), "1\n2")
	write(t, filepath.Join(dir, "b.txt"), "3\n")
	l := live(t, filepath.Join(dir, "*.ndjson"), m, func(s *Settings) { s.Follow = false }).start()
	if got := l.data(2); got != "1 2" {
		t.Errorf("%q", got)
	}
	until(t, "all is read", func() bool { return l.s.Report().Note == "all is read" })
	appendTo(t, filepath.Join(dir, "a.ndjson"), "4\n")
	time.Sleep(2 * looking)
	if got := l.data(2); got != "1 2" {
		t.Errorf("%q", got)
	}
}

// TestLatest: what is written from now on.
func TestLatest(t *testing.T) {
	t.Parallel()
	dir, m := t.TempDir(), new(memory)
	path := filepath.Join(dir, "a")
	write(t, path, "1\n2\nha")
	l := live(t, path, m, func(s *Settings) { s.Start = latest }).start()
	until(t, "it is known", func() bool { return m.to(path) == 4 })
	appendTo(t, path, "lf\n3\n")
	if got := l.data(2); got != "half 3" {
		t.Errorf("%q", got)
	}
	l.cancel()
	appendTo(t, path, "4\n")
	l = live(t, path, m, func(s *Settings) { s.Start = latest }).start()
	if got := l.data(1); got != "4" {
		t.Errorf("%q", got)
	}
}

// TestStdin: to its end; what the router does not take now is handed over again; the same input has the same ids.
func TestStdin(t *testing.T) {
	t.Parallel()
	var ids [2][]string
	for i := range ids {
		l := live(t, "-", new(memory), nil)
		l.s.stdin = newInput(io.MultiReader(strings.NewReader("1\n2\n"+strings.Repeat("x", 2000)+"\n"), strings.NewReader("\n1")))
		busy := 2
		l.answer = func(events []event.Event) ([]triggers.Receipt, error) {
			if busy--; busy > 0 {
				return nil, triggers.ErrBusy
			}
			return make([]triggers.Receipt, len(events)), nil
		}
		l.start()
		if got := l.data(3); got != "1 2 1" {
			t.Errorf("%q", got)
		}
		until(t, "all is read", func() bool { return l.s.Report().Note == "all is read" })
		if parked := l.s.Parked(); len(parked) != 1 || parked[0].Place != "-:3" {
			t.Errorf("%v", parked)
		}
		ids[i] = l.ids()
	}
	if !slices.Equal(ids[0], ids[1]) || len(slices.Compact(slices.Sorted(slices.Values(ids[0])))) != 3 {
		t.Errorf("%q", ids)
	}
}

// TestStdinGoesOn: a source that a reload puts in the place of another goes on behind what that has handed over, with the line that it has read and the router has
// not taken, and with what comes while nobody reads.
func TestStdinGoesOn(t *testing.T) {
	t.Parallel()
	from, to := io.Pipe()
	in := newInput(from)
	go func() {
		for i := range 6 {
			_, _ = fmt.Fprintln(to, i+1)
		}
		_ = to.Close()
	}()
	var got, ids []string
	for life := range 4 {
		l := live(t, "-", new(memory), nil)
		l.s.stdin = in
		refused := make(chan struct{}, 100)
		l.answer = func(events []event.Event) ([]triggers.Receipt, error) {
			if life < 3 && string(events[0].Data()) == fmt.Sprint(2*life+2) { // Each second line is the next one's.
				refused <- struct{}{}
				return nil, triggers.ErrBusy
			}
			return make([]triggers.Receipt, len(events)), nil
		}
		l.start()
		if life < 3 {
			<-refused
			l.cancel()
		} else {
			until(t, "all is read", func() bool { return l.s.Report().Note == "all is read" })
		}
		for i, x := range strings.Fields(l.data(0)) {
			if n := len(got); n == 0 || got[n-1] != x {
				got, ids = append(got, x), append(ids, l.ids()[i])
			}
		}
	}
	if strings.Join(got, " ") != "1 2 3 4 5 6" || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 6 {
		t.Errorf("%q, %q", got, ids)
	}
}

// TestDamagedMemory: what cannot be read is said, and all is read from its beginning.
func TestDamagedMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "1\n")
	for _, b := range []string{`{"files":[{"path"`, `{"files":[null,{"offset":-1},{"heads":99999}]}`, `[]`} {
		l := live(t, dir, &memory{b: []byte(b)}, nil).start()
		if got := l.data(1); got != "1" {
			t.Errorf("%s: %q", b, got)
		}
		l.cancel()
	}
}

// TestLint: what cannot be read is refused.
func TestLint(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Settings){
		"no file is named": func(s *Settings) { s.Path = "" }, "is no pattern": func(s *Settings) { s.Path = "[" }, "unknown start": func(s *Settings) { s.Start = "now" },
		"there is nothing to read": func(s *Settings) { s.Start, s.Follow = latest, false }, `unknown name "key"`: func(s *Settings) { s.As.ID = lang.MustExpr("${ key }") },
	} {
		s := plain()
		s.Path = "x"
		change(s)
		if got := fmt.Sprint(s.Check()); !strings.Contains(got, want) {
			t.Errorf("%s; want %s", got, want)
		}
	}
}

// TestProbe says how many files there are, and why one cannot be read.
func TestProbe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "")
	for path, want := range map[string]string{dir: "1 files", "-": "standard input", filepath.Join(dir, "none"): "there is no file"} {
		l := live(t, path, nil, func(s *Settings) { s.Follow = false })
		found, err := l.s.Probe(t.Context())
		if got := found + fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// FuzzLineReader: whatever the pieces that a stream comes in, lines are what they are.
func FuzzLineReader(f *testing.F) {
	f.Add([]byte("a\nbb\r\n\nccc"), 2)
	f.Add([]byte("aaaa\r\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, text []byte, limit int) {
		limit = 1 + limit&0x7f
		r := newLineReader(bytes.NewReader(text), limit)
		at := int64(0)
		for {
			line, n, how, err := r.next()
			if err != nil && !errors.Is(err, errTooLong) {
				break
			}
			if how == long {
				m, _, _ := r.skip()
				n += m
			}
			from := text[at:]
			want, _, ended := bytes.Cut(from, []byte("\n"))
			size := int64(len(want))
			if ended {
				size++
			}
			want = bytes.TrimSuffix(want, []byte("\r"))
			if n != size || err == nil && !bytes.Equal(line, want) || err != nil && (len(want) <= limit && how != long || !bytes.HasPrefix(want, line) || len(line) != limit) || (how == partial) != (!ended && err == nil) {
				t.Fatalf("%q, limit %d, at %d: %q %d %d %v", text, limit, at, line, n, how, err)
			}
			at += n
		}
		if at != int64(len(text)) {
			t.Fatalf("%d of %d", at, len(text))
		}
	})
}
