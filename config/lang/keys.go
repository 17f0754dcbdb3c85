package lang

import (
	"reflect"

	"github.com/onward-router/onward/config/plugin"
)

// A KeyForm is what a document may write under one key of a struct.
type KeyForm struct {
	Name, Help, Default string
	Required            bool
	Value               bool // it may stand for the whole
	Type                reflect.Type
	Schema              plugin.Schema
}

// Keys returns the keys of a struct's form, in order: of a step the common ones, of a struct that embeds a step what it adds to those.
func (s *Schemas) Keys(t reflect.Type) []KeyForm {
	s.Of(t)
	form := s.object(s.Form(t))
	var keys []KeyForm
	for _, f := range fieldsOf(t) {
		own, _ := form[f.Name].(plugin.Schema)
		keys = append(keys, KeyForm{Name: f.Name, Help: f.Help, Default: f.Default, Required: f.Required, Value: f.Value, Type: f.Type, Schema: own})
	}
	return keys
}

// object returns the properties of a form that may be written as an object, among other ways.
func (s *Schemas) object(form plugin.Schema) plugin.Schema {
	if properties, ok := form["properties"].(plugin.Schema); ok {
		return properties
	}
	ways, _ := form["anyOf"].([]any)
	for _, way := range ways {
		if properties := s.object(way.(plugin.Schema)); properties != nil {
			return properties
		}
	}
	return nil
}
