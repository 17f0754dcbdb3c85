package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/triggers"
)

// onInput makes a life that reads an input.
func onInput(t *testing.T, in *input, m *memory) *life {
	l := live(t, "-", m, nil)
	l.s.stdin = in
	return l
}

// busyAfter takes so many lines, and no more.
func (l *life) busyAfter(n int) {
	l.answer = func(events []event.Event) ([]triggers.Receipt, error) {
		out := make([]triggers.Receipt, len(events))
		for i := range events {
			if n--; n < 0 {
				out[i].Err = triggers.ErrBusy
			}
		}
		return out, nil
	}
}

// TestStdinOverReloads: what a source has read and the router has not taken is the next one's, in this process and in the next, and under the same ids. A line that
// has no end yet is read on with.
func TestStdinOverReloads(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // Whoever reads it ends.
	in, m := newInput(r), new(memory)
	write := func(text string) {
		if _, err := io.WriteString(w, text); err != nil {
			t.Error(err)
		}
	}
	first := onInput(t, in, m)
	first.busyAfter(2)
	first.start()
	write("1\n2\n3\n4\nha")
	if got := first.data(2); got != "1 2" {
		t.Errorf("%q", got)
	}
	other := onInput(t, in, new(memory)).start() // Another source of this process waits.
	until(t, "it says so", func() bool { return other.s.Trouble() != nil })
	other.cancel()
	first.cancel()
	second := onInput(t, in, m)
	second.busyAfter(1)
	second.start()
	if got := second.data(1); got != "3" {
		t.Errorf("%q", got)
	}
	second.cancel()
	third := onInput(t, newInput(strings.NewReader("7\n")), m).start() // Another process.
	if got := third.data(2); got != "4 7" {
		t.Errorf("%q", got)
	}
	until(t, "nothing is kept any more", func() bool {
		b, _ := m.Recall(t.Context())
		k, err := decodeKept(b)
		return err == nil && len(k.Rest) == 0
	})
	again := onInput(t, newInput(strings.NewReader("1\n2\n3\n4\n")), new(memory)).start() // The same from its beginning.
	again.data(4)
	fourth := onInput(t, in, new(memory)).start()
	write("lf\n5\n")
	if got := fourth.data(3); got != "4 half 5" {
		t.Errorf("%q", got)
	}
	if ids := again.ids(); ids[2] != second.ids()[0] || ids[3] != third.ids()[0] {
		t.Errorf("%q, %q, %q", ids, second.ids(), third.ids())
	}
}

// TestStdinInPieces: many lines at once go together, and whatever the pieces are that they come in, all are taken.
func TestStdinInPieces(t *testing.T) {
	t.Parallel()
	const n = 5000
	r, w := io.Pipe()
	go func() {
		var text strings.Builder
		for i := range n {
			fmt.Fprintln(&text, i)
		}
		for s := text.String(); s != ""; {
			m := min(len(s), 3000)
			if _, err := io.WriteString(w, s[:m]); err != nil {
				t.Error(err)
			}
			s = s[m:]
		}
		_ = w.Close() // A pipe of memory.
	}()
	l := onInput(t, newInput(r), new(memory))
	calls := 0
	l.answer = func(events []event.Event) ([]triggers.Receipt, error) {
		calls++
		return make([]triggers.Receipt, len(events)), nil
	}
	l.start()
	got := strings.Fields(l.data(n))
	for i, x := range got {
		if x != fmt.Sprint(i) {
			t.Fatalf("%d is %s", i, x)
		}
	}
	if len(got) != n || calls > n/10 {
		t.Errorf("%d lines in %d calls", len(got), calls)
	}
	until(t, "all is read", func() bool { return l.s.Report().Note == "all is read" })
}

// TestStdinThatFails ends the source, behind what was read.
func TestStdinThatFails(t *testing.T) {
	t.Parallel()
	l := onInput(t, newInput(io.MultiReader(strings.NewReader("1\n2\n"), broken{})), new(memory))
	if err := l.s.Run(t.Context(), func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
		return l.admit(ctx, events)
	}); !errors.Is(err, errBroken) || l.data(2) != "1 2" {
		t.Errorf("%v, %s", err, l.data(2))
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Read([]byte) (int, error) { return 0, errBroken }
