package config

import (
	"reflect"

	"github.com/onward-router/onward/config/lang"
)

// SameSource reports whether two sources are the same in what their documents say. One that is moved in its document is the same.
func SameSource(a, b *Source) bool { return len(sourceKeys(a, b)) == 0 }

// same compares settings as documents say them: by what is exported, and expressions by their text.
func same(a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		if x, ok := a.Interface().(lang.Expr); ok {
			return x.Source() == b.Interface().(lang.Expr).Source()
		}
		if opaque(a.Type()) {
			return a.Equal(b)
		}
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() && !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			if !b.MapIndex(key).IsValid() || !same(a.MapIndex(key), b.MapIndex(key)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}

// opaque reports values that show nothing and compare as they are, such as lang.Value.
func opaque(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			return false
		}
	}
	return t.NumField() > 0 && t.Comparable()
}
