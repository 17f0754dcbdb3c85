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

// CheckWindow reports a window, under the key window, that cannot be.
func CheckWindow(n int) []plugin.Problem {
	path := []string{"window"}
	switch {
	case n > lang.MaxWindow:
		return []plugin.Problem{{Path: path, What: fmt.Sprintf("a window of %d, and %d is the most", n, lang.MaxWindow), Cure: "leave it out for the most"}}
	case n < 0:
		return []plugin.Problem{{Path: path, What: "a window below 0", Cure: "write how many may be open at a time"}}
	}
	return nil
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
