package plugin_test

import (
	"slices"
	"testing"

	"github.com/onward-router/onward/config/plugin"
)

func TestVersionsOfAPolicy(t *testing.T) {
	t.Parallel()
	r := new(plugin.Registry)
	for _, version := range []int{2, 1, 3} {
		r.Add(plugin.Component{Door: plugin.Policy, Name: "p", Version: version})
	}
	r.Add(plugin.Component{Door: plugin.Sink, Name: "p", Version: 1})
	for _, r := range []*plugin.Registry{r, r.Clone()} {
		if c, ok := r.Get(plugin.Policy, "p"); !ok || c.Version != 3 {
			t.Errorf("the newest is %+v", c)
		}
		if c, ok := r.At(plugin.Policy, "p", 1); !ok || c.Version != 1 {
			t.Errorf("version 1 is %+v", c)
		}
		if _, ok := r.At(plugin.Policy, "p", 4); ok {
			t.Error("there is a version 4")
		}
		if got := r.Versions(plugin.Policy, "p"); !slices.Equal(got, []int{3, 2, 1}) {
			t.Errorf("versions %v", got)
		}
		if got := r.List(plugin.Policy); len(got) != 1 || got[0].Version != 3 {
			t.Errorf("listed: %+v", got)
		}
	}
	for _, twice := range []plugin.Component{{Door: plugin.Policy, Name: "p", Version: 2}, {Door: plugin.Sink, Name: "p", Version: 2}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken twice", twice)
				}
			}()
			r.Add(twice)
		}()
	}
}
