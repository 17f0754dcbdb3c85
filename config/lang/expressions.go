package lang

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// A Place is where an expression stands in a policy's settings.
type Place struct {
	Field     string // the keys that lead to it, joined by dots; places in lists and keys of maps are left out
	Condition bool   // it must be true or false
}

// Expressions gives the expressions of a policy's settings (a pointer to its struct), in order, without those of the steps inside.
func Expressions(settings any, each func(e Expr, at Place)) {
	if settings != nil {
		expressions(reflect.ValueOf(settings), Place{}, each)
	}
}

func expressions(v reflect.Value, at Place, each func(Expr, Place)) {
	switch {
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
		if !v.IsNil() {
			expressions(v.Elem(), at, each)
		}
	case v.Type() == typeExpr:
		each(v.Interface().(Expr), at)
	case v.Type() == typeStep || v.Type() == typeSteps:
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			expressions(v.Index(i), at, each)
		}
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			expressions(v.MapIndex(key), at, each)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				expressions(v.Field(i), at.below(f), each)
			}
		}
	}
}

// below is the place of a field: under its key, or, of a type that decodes itself, under its own name.
func (p Place) below(f reflect.StructField) Place {
	name, options, _ := strings.Cut(f.Tag.Get("doc"), ",")
	next := Place{p.Field, strings.Contains(options, "condition")}
	switch {
	case name == "" && f.Anonymous, name == "-":
		return next
	case name == "":
		name = string(unicode.ToLower(rune(f.Name[0]))) + f.Name[1:]
	}
	if next.Field != "" {
		name = next.Field + "." + name
	}
	next.Field = name
	return next
}
