package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
)

// Secrets returns the environment variables that hold secrets by what the documents say ({env: NAME}), each with who names it.
func (s *Set) Secrets() map[string]string {
	out := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(s.Functions)) {
		secretsOf(reflect.ValueOf(s.Functions[name].Settings), "function "+name, out)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		secretsOf(reflect.ValueOf(s.Sources[name].Settings), "source "+name, out)
	}
	return out
}

// secretsOf walks settings of any kind: a key env that is a text names a variable whose value is read when it is used, which is what secrets are.
func secretsOf(v reflect.Value, by string, out map[string]string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			secretsOf(v.Elem(), by, out)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			secretsOf(v.Index(i), by, out)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			secretsOf(v.MapIndex(key), by, out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			if key, _, _ := strings.Cut(f.Tag.Get("doc"), ","); key == "env" && f.Type.Kind() == reflect.String {
				if name := v.Field(i).String(); name != "" && out[name] == "" {
					out[name] = by
				}
				continue
			}
			secretsOf(v.Field(i), by, out)
		}
	}
}

// inheriting are settings of functions that get variables of the router's own by their names.
type inheriting interface{ Inherits() []string }

// keepSecrets reports functions that would get a secret as if it were a plain variable.
func (l *loader) keepSecrets() {
	secrets := l.set.Secrets()
	for _, name := range slices.Sorted(maps.Keys(l.set.Functions)) {
		f := l.set.Functions[name]
		s, ok := f.Settings.(inheriting)
		if !ok {
			continue
		}
		for _, variable := range s.Inherits() {
			if by := secrets[variable]; by != "" {
				l.findings = append(l.findings, lang.Finding{
					Pos: f.Pos, Path: "functions." + name + "." + f.Sink.Name + ".env", What: fmt.Sprintf("%q is a secret of %s", variable, by),
					Cure: fmt.Sprintf("leave it out, or say secrets: { %s: { env: %s } } if the program is meant to have it", variable, variable),
				})
			}
		}
	}
}
