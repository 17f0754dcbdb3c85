package meter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestOnlySoManyLabels(t *testing.T) {
	t.Parallel()
	l := NewLabels(3)
	var got []string
	for _, name := range []string{"a", "b", "a", "\xff", "c", "b", "d"} {
		got = append(got, l.Of(name))
	}
	if s := strings.Join(got, " "); s != "a b a ? other b other" {
		t.Error(s)
	}
	if n := len(NewLabels(1).Of(strings.Repeat("x", 1000))); n != 128 {
		t.Error(n)
	}
}

func TestExemplarsNameARunNowAndThen(t *testing.T) {
	t.Parallel()
	v := NewHistograms(prometheus.HistogramOpts{Name: "x_seconds", Help: "x", Buckets: []float64{1, 10}}, "function", NewLabels(2))
	now := time.Unix(1000, 0)
	asked := 0
	for i := range 10 {
		v.Of("f").Observe(float64(i), now.Add(time.Duration(i)*Every/4), func() string {
			asked++
			return fmt.Sprint("run", i)
		})
	}
	var m dto.Metric
	if err := v.WithLabelValues("f").(prometheus.Metric).Write(&m); err != nil {
		t.Fatal(err)
	}
	h := m.Histogram
	if asked != 3 || h.GetSampleCount() != 10 || h.Bucket[1].GetExemplar().GetLabel()[0].GetValue() != "run8" {
		t.Errorf("%d, %v", asked, h)
	}
}
