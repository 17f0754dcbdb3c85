package lang_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
)

// TestSpans: what an expression may yield where a duration is due, and what not.
func TestSpans(t *testing.T) {
	t.Parallel()
	yields := func(text string) func(lang.Expr) (lang.Value, error) {
		return func(lang.Expr) (lang.Value, error) { return lang.ParseValue([]byte(text)) }
	}
	span := lang.Span{Expr: lang.MustExpr("${ data }")}
	for text, want := range map[string]time.Duration{
		`"30s"`: 30 * time.Second, `"1h1ms"`: time.Hour + time.Millisecond, `90`: 90 * time.Second, `0.5`: time.Second / 2, `3153600000`: 100 * 365 * 24 * time.Hour, `null`: 0,
		`"0s"`: -1, `"-1s"`: -1, `0`: -1, `-0.5`: -1, `1e-12`: -1, `3153600001`: -1, `1e300`: -1, `-1e300`: -1, `1e999`: -1, `"876001h"`: -1, `""`: -1, `"soon"`: -1, `true`: -1, `[1]`: -1, `{}`: -1,
	} {
		got, err := span.Value("timeout", yields(text))
		var e *lang.Error
		if want >= 0 && (err != nil || got != want) || want < 0 && (!errors.As(err, &e) || e.Type != "bad_duration" || e.Class != lang.ClassFunction || !strings.Contains(e.Message, "timeout: ${ data } yields "+text)) {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	broken := errors.New("no such key")
	if _, err := span.Value("timeout", func(lang.Expr) (lang.Value, error) { return lang.Null, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if d, err := (lang.Span{Const: 7}).Value("timeout", nil); d != 7 || err != nil {
		t.Errorf("a constant is %d, %v", d, err)
	}
}
