package lang

import (
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// SettingsKeys are the keys of a struct of settings, in order.
func SettingsKeys(t reflect.Type) []string { return names(fieldsOf(t)) }

// shape shows the form of a mapping by the keys that must be there, or by its first: with what stands in its place, where that is for this key.
func shape(fields []field, n *Node) string {
	var keys []field
	for _, f := range fields {
		if f.Required {
			keys = append(keys, f)
		}
	}
	switch {
	case len(fields) == 0:
		return "{ key: value }"
	case len(keys) == 0:
		keys = fields[:1]
	}
	said := make([]string, len(keys))
	for i, f := range keys {
		said[i] = f.Name + ": ..."
		if len(keys) == 1 && n.Kind == ScalarNode && fits(n, f.Type) {
			said[i] = f.Name + ": " + n.bare()
		}
	}
	return "{ " + strings.Join(said, ", ") + " }"
}

// fits reports whether a single value is of the kind that a key takes.
func fits(n *Node, t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(typeText) || reflect.PointerTo(t).Implements(typeNode) || t == typeExpr || t == typeValue {
		return false
	}
	text := n.Value.JSON()
	switch t.Kind() {
	case reflect.String:
		return text[0] == '"'
	case reflect.Int, reflect.Int64:
		_, err := strconv.ParseInt(text, 10, 64)
		return err == nil
	}
	return false
}

// asErrorType is the type of errors that a number means which stands where a text is due, among those that a rule is for; else the number as a text.
func asErrorType(n *Node, path []string) string {
	text := n.Value.JSON()
	if in := len(path) - 2; in >= 0 && (path[in] == "on" || path[in] == "never" || path[in] == "errors") {
		if meant, _ := NearStatus(text); meant != "" {
			return "write " + meant
		}
	}
	return "quote it: " + strconv.Quote(text)
}

// asList shows a list of what stands where one is due.
func asList(n *Node, of reflect.Type) string {
	if n.Kind == ScalarNode && of.Kind() == reflect.String && !n.Value.IsNull() {
		return "write [" + n.bare() + "]"
	}
	return "write [ ... ]"
}

// bare is a single value as one writes it: a short word goes without quotes.
func (n *Node) bare() string {
	if text := n.Text(); plainWord.MatchString(text) && len(text) <= 100 {
		return text
	}
	return n.Value.JSON()
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./-][A-Za-z0-9_./:-]*$`)

// bareNumber is the number that a text is, which may end in a unit that goes without saying; empty where it is none.
func bareNumber(text, unit string) string {
	text = strings.ReplaceAll(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), unit)), "_", "")
	if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return ""
	}
	return text
}

// wholeNumber is how the whole number is written that stands here as a text, with an exponent or with marks in it.
func wholeNumber(n *Node) string {
	text := bareNumber(strings.ReplaceAll(n.Text(), ",", ""), "")
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return strconv.FormatInt(i, 10)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return ""
}

// takesSteps reports whether a type is steps: Steps, or a slice of what embeds a step.
func takesSteps(t reflect.Type) bool {
	return t == typeSteps || t.Kind() == reflect.Slice && (t.Elem() == typeStep || embedsStep(t.Elem()))
}
