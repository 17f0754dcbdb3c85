package command

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/onward-router/onward/router"
	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// A sheet is what lines are printed on: none is wider than it.
type sheet struct {
	w     io.Writer
	width int  // of the terminal; 0: there is none, and lines are as long as they are
	ascii bool // nothing else can be shown
}

// sheet returns the one to print on: the terminal, if there is one, in the letters of the locale.
func (p *program) sheet() *sheet {
	s := &sheet{w: p.out, ascii: !speaksUTF8(os.Getenv)}
	if f, ok := p.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.width = 80
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			s.width = w
		}
	}
	return s
}

// speaksUTF8 reports whether the locale's letters are UTF-8 (POSIX: LC_ALL before LC_CTYPE before LANG).
func speaksUTF8(env func(string) string) bool {
	set := strings.ToUpper(cmp.Or(env("LC_ALL"), env("LC_CTYPE"), env("LANG")))
	return strings.Contains(set, "UTF-8") || strings.Contains(set, "UTF8")
}

// text is a text as it can be shown on one line: what would move the cursor is a space, and what the locale has no letter for a question mark.
func (s *sheet) text(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsControl(c) || unicode.In(c, unicode.Zl, unicode.Zp, unicode.Bidi_Control):
			return ' '
		case s.ascii && c > unicode.MaxASCII:
			return '?'
		}
		return c
	}, text)
}

// line prints a line, as much of it as there is room for.
func (s *sheet) line(text string) {
	text = strings.TrimRight(s.text(text), " ")
	if s.width > 0 {
		text = cut(text, s.width, "...")
	}
	fmt.Fprintln(s.w, text)
}

// cut keeps the beginning of a text that is too wide, and what stands for the rest.
func cut(text string, most int, rest string) string {
	if uniseg.StringWidth(text) <= most {
		return text
	}
	if len(rest) >= most {
		rest = ""
	}
	kept, left := "", most-len(rest)
	for g := uniseg.NewGraphemes(text); g.Next() && g.Width() <= left; left -= g.Width() {
		kept += g.Str()
	}
	return kept + rest
}

// shorten keeps the end of a path, which tells it apart.
func shorten(path string, most int) string {
	wide := uniseg.StringWidth(path)
	if wide <= most {
		return path
	}
	g := uniseg.NewGraphemes(path)
	for wide > most-1 && g.Next() {
		wide -= g.Width()
	}
	_, end := g.Positions()
	return "~" + path[end:]
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-uniseg.StringWidth(text), 0))
}

// A column of the timeline: its title, and what it shows of a step. The first gives way last.
type column struct {
	title string
	width int
	of    func(*router.PastStep) string
}

// columnsOf are the columns behind the name, those that there is room for.
func (s *sheet) columnsOf(begin time.Time, names int) []column {
	part := func(of func(*router.Times) time.Duration) func(*router.PastStep) string {
		return func(x *router.PastStep) string {
			if x.Times == nil {
				return ""
			}
			return s.brief(of(x.Times))
		}
	}
	all := []column{
		{"TRY", -3, func(x *router.PastStep) string {
			if x.Attempt > 1 || x.Again {
				return fmt.Sprint(x.Attempt)
			}
			return ""
		}},
		{"OUTCOME", 9, func(x *router.PastStep) string { return x.Outcome }},
		{"FROM", -7, func(x *router.PastStep) string { return s.brief(x.Queued.Sub(begin)) }},
		{"QUEUE", -7, part(func(t *router.Times) time.Duration { return t.Queue.D() })},
		{"FUNCTION", -8, part(func(t *router.Times) time.Duration { return t.Function.D() })},
		{"ROUTER", -7, part(func(t *router.Times) time.Duration { return t.Router.D() })},
	}
	for _, out := range []string{"FROM", "TRY", "ROUTER", "QUEUE", "FUNCTION"} {
		if s.width == 0 || names+widthOf(all) <= s.width {
			break
		}
		all = slices.DeleteFunc(all, func(c column) bool { return c.title == out })
	}
	return all
}

func widthOf(columns []column) (n int) {
	for _, c := range columns {
		n += 1 + max(c.width, -c.width)
	}
	return n
}

// gantt prints a line a step, with a bar where there is a terminal that is wide enough, and below a failure why.
func (s *sheet) gantt(steps []*router.PastStep) {
	begin, end, names := steps[0].Queued, steps[0].Queued, 4
	for _, x := range steps {
		begin = earliest(begin, x.Queued)
		end = latest(end, x.Queued, x.Sent, x.Ended)
		names = max(names, uniseg.StringWidth(s.text(x.Path)))
	}
	if s.width > 0 {
		names = min(names, max(12, s.width/3), 60)
	}
	columns := s.columnsOf(begin, names)
	bar := s.width - names - widthOf(columns) - 2
	if bar < 10 {
		bar = 0
	}
	row := func(name string, of func(*column) string, chart string) {
		line := pad(name, names)
		for i := range columns {
			line += fmt.Sprintf(" %*s", columns[i].width*-1, of(&columns[i]))
		}
		s.line(line + "  " + chart)
	}
	row("STEP", func(c *column) string { return c.title }, "")
	for _, x := range steps {
		row(shorten(s.text(x.Path), names), func(c *column) string { return c.of(x) }, chart(x, begin, end, bar))
		if x.Error != nil && x.Outcome != "cancelled" {
			s.line(fmt.Sprintf("    %s: %s", x.Error.Type, x.Error.Message))
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}

// chart is a step's bar.
func chart(x *router.PastStep, begin, end time.Time, width int) string {
	if width == 0 || !end.After(begin) {
		return ""
	}
	whole := float64(end.Sub(begin))
	at := func(t time.Time) int { return min(max(int(float64(width-1)*float64(t.Sub(begin))/whole), 0), width-1) }
	ended := x.Ended
	if ended.IsZero() {
		ended = end
	}
	from, sent := at(x.Queued), at(x.Queued)
	to := max(at(ended), from)
	if !x.Sent.IsZero() {
		sent = min(max(at(x.Sent), from), to)
	}
	mark := map[string]string{"failed": "x", "cancelled": "-", "skipped": "-", "open": ">"}[x.Outcome]
	return strings.Repeat(" ", from) + strings.Repeat(".", sent-from) + strings.Repeat("#", to-sent) + cmp.Or(mark, "#")
}

// brief is a duration in seven letters at most.
func (s *sheet) brief(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s"
	case d < time.Millisecond:
		text := d.Round(time.Microsecond).String()
		if s.ascii {
			text = strings.Replace(text, "µ", "u", 1)
		}
		return text
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < day:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}
