package filter

import (
	"slices"
	"testing"
)

func TestTypes(t *testing.T) {
	t.Parallel()
	of := func(name string) Filter { return Filter{Exact: map[string]string{"type": name}} }
	no := of("never")
	got := Types([]Filter{of("b"), {Any: []Filter{of("c"), {All: []Filter{of("a"), of("b")}}, {Prefix: map[string]string{"type": "d"}}}}, {Not: &no}, {Exact: map[string]string{"source": "/x"}}})
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if got := Types(nil); got != nil {
		t.Errorf("%v", got)
	}
}
