package lang

import "reflect"

// Looks reports whether settings hold an expression that looks at something, those of the steps inside left out: without one nothing of them asks for a
// name.
func Looks(settings any) bool { return settings != nil && looks(reflect.ValueOf(settings)) }

func looks(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
		return !v.IsNil() && looks(v.Elem())
	case v.Type() == typeStep || v.Type() == typeSteps:
		return false
	case v.Type() == typeExpr:
		if !v.CanInterface() {
			return true
		}
		e := v.Interface().(Expr)
		_, constant := e.Const()
		return !e.IsZero() && !constant
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if looks(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); { // One is enough: the order does not matter.
			if looks(it.Value()) {
				return true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if looks(v.Field(i)) {
				return true
			}
		}
	}
	return false
}
