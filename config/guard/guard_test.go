package guard

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// counted is the metric's value for a place.
func counted(t *testing.T, where string) (n float64) {
	r := prometheus.NewRegistry()
	r.MustRegister(Panics)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "onward_guarded_panics_total" && m.GetLabel()[0].GetValue() == where {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestDo(t *testing.T) {
	before := counted(t, "test")
	ran := false
	if err := Do("test", func() { ran = true }); err != nil || !ran {
		t.Errorf("%v, %t", err, ran)
	}
	err := Do("test", func() { panic(errors.New("a label with \xff")) })
	var p *Panicked
	if !errors.As(err, &p) || p.Where != "test" || !strings.Contains(err.Error(), "a label with") {
		t.Errorf("%v", err)
	}
	if got := counted(t, "test") - before; got != 1 {
		t.Errorf("counted %v times", got)
	}
}
