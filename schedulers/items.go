package schedulers

import (
	"fmt"
	"math"
	"strconv"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// Whole reads a whole number from 0 to 2^31-1. Numbers from outside keep their form: 3, 3.0 and 3e0 are the same.
func Whole(v lang.Value) (int, bool) {
	n, err := strconv.ParseFloat(v.JSON(), 64)
	return int(n), err == nil && n >= 0 && n <= math.MaxInt32 && n == math.Trunc(n)
}

// Width is how many items there are in what key, an expression over which a step runs, yielded: a list's, or a number n for the items 0 to n-1.
func Width(f Scope, key string, e lang.Expr, items lang.Value) (int, error) {
	if n, ok := f.Length(items); ok {
		return n, nil
	}
	if n, ok := Whole(items); ok {
		return n, nil
	}
	return 0, &lang.Error{Type: "bad_items", Class: lang.ClassFunction, Message: fmt.Sprintf("%s: %s yields %.80s and not a list or a whole number from 0", key, e.Source(), items.JSON())}
}

// Item is item i of what such an expression yielded.
func Item(f Scope, items lang.Value, i int) lang.Value {
	if items.JSON()[0] == '[' {
		return f.Element(items, i)
	}
	return lang.Trusted(strconv.Itoa(i))
}

// CheckItems reports such an expression, under key, that never yields items.
func CheckItems(e lang.Expr, key string) (out []plugin.Problem) {
	path := []string{key}
	v, constant := e.Const()
	if constant && v.JSON()[0] != '[' {
		n, ok := Whole(v)
		if ok && n > lang.MaxWidth {
			out = append(out, plugin.Problem{Path: path, What: fmt.Sprintf("%d items, and %d are the most", n, lang.MaxWidth), Cure: "put a map into a map"})
		}
		if !ok {
			out = append(out, plugin.Problem{Path: path, What: fmt.Sprintf("%s are a list or a whole number from 0, and this is %.80s", key, v.JSON()), Cure: `write a list, a number, or an expression: "${ ... }"`})
		}
	}
	switch kind := e.Kind(); {
	case constant || e.IsZero() || kind == lang.KindAny || kind == "list" || kind == "number":
	default:
		out = append(out, plugin.Problem{
			Path: path, What: fmt.Sprintf("%s are a list or a whole number from 0, and %s always yields %s", key, e.Source(), kind), Cure: `write one expression that yields a list: "${ data.items }"`,
		})
	}
	return out
}

// Window is how many children an expression, under the key window, lets be open at a time; 0, also where there is none, is the engine's own limit.
func Window(e lang.Expr, eval func(lang.Expr) (lang.Value, error)) (int, error) {
	if e.IsZero() {
		return 0, nil
	}
	v, err := eval(e)
	if err != nil {
		return 0, err
	}
	if n, ok := Whole(v); ok && n <= lang.MaxWindow {
		return n, nil
	}
	return 0, lang.Failf(lang.ClassFunction, "bad_window", "window: %s yields %.80s and not a whole number from 0 to %d", e.Source(), v.JSON(), lang.MaxWindow)
}

// CheckWindow reports a window that cannot be.
func CheckWindow(e lang.Expr) []plugin.Problem {
	v, constant := e.Const()
	if n, ok := Whole(v); !constant || ok && n <= lang.MaxWindow {
		return nil
	}
	return []plugin.Problem{{
		Path: []string{"window"}, What: fmt.Sprintf("a window of %.80s, and it is a whole number from 0 to %d", v.JSON(), lang.MaxWindow), Cure: `leave it out for the most, or write an expression: "${ ... }"`,
	}}
}

// WindowSchema is the form of a window.
func WindowSchema() plugin.Schema {
	return plugin.Schema{"anyOf": []any{plugin.Schema{"type": "integer", "minimum": 0, "maximum": lang.MaxWindow}, plugin.Schema{"type": "string", "pattern": `\$\{`}}}
}

// ConstantWidth returns how many items a constant stands for.
func ConstantWidth(e lang.Expr) (int, bool) {
	v, constant := e.Const()
	if !constant {
		return 0, false
	}
	if n, err := lang.ParseJSONNode([]byte(v.JSON())); err == nil && n.Kind == lang.ListNode {
		return len(n.Items), true
	}
	return Whole(v)
}
