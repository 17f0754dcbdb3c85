package engine

import (
	"bytes"
	"testing"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/journal"
)

// ticks folds records that do nothing, at the given times, and returns the fold's time after each, in seconds. Halfway it saves and loads.
func ticks(t *testing.T, at ...float64) (now []float64) {
	t.Helper()
	s := New(new(plugin.Registry), nil)
	var out Effects
	for i, x := range at {
		if i == len(at)/2 {
			var b bytes.Buffer
			if err := s.Save(&b); err != nil {
				t.Fatal(err)
			}
			s = New(new(plugin.Registry), nil)
			if err := s.Load(&b); err != nil {
				t.Fatal(err)
			}
		}
		rec := Record(journal.Cancel, journal.RunID{1}, &CancelFact{})
		rec.Time, rec.Offset = time.Unix(0, int64(x*1e9)), int64(i)
		if _, err := s.Fold(&rec, &out); err != nil {
			t.Fatal(err)
		}
		now = append(now, float64(s.now)/1e9)
	}
	return now
}

// TestFoldTime: whatever the journal's clock does, the fold's time never goes back and never stands while that goes on, also over a snapshot; it catches up,
// and a clock that is set to and fro does not carry it away.
func TestFoldTime(t *testing.T) {
	t.Parallel()
	const hour, day = 3600.0, 24 * 3600.0
	for name, c := range map[string]struct{ at, want []float64 }{
		"a clock that goes":           {[]float64{day, day + 1, day + 1, day + 5}, []float64{day, day + 1, day + 1, day + 5}},
		"it is set forth":             {[]float64{day, day + hour, day + hour + 1}, []float64{day, day + hour, day + hour + 1}},
		"it was ahead, and was right": {[]float64{day, day + hour, day + 1, day + 17, day + 33}, []float64{day, day + hour, day + hour, day + hour + 15, day + hour + 30}},
		"and is forth again":          {[]float64{day + hour, day, day + 16, day + hour + 20, day + hour + 21}, []float64{day + hour, day + hour, day + hour + 15, day + hour + 20, day + hour + 21}},
		"back twice":                  {[]float64{day, day - hour, day - hour + 16, day - 2*hour, day - 2*hour + 16}, []float64{day, day, day + 15, day + 15, day + 30}},
		"a night without records":     {[]float64{day, day - hour, day - hour + 8*hour}, []float64{day, day, day + 7*hour}},
		"ahead, and a night":          {[]float64{9 * day, day, day + 8*hour}, []float64{9 * day, 9 * day, 9*day + 600*15/16.0}},
		"to and fro between brokers": {
			[]float64{day + hour, day, day + hour + 1, day + 1, day + hour + 2, day + 2}, []float64{day + hour, day + hour, day + hour + 1, day + hour + 1, day + hour + 2, day + hour + 2},
		},
		"ahead by less than passes": {[]float64{day + 2, day, day + 3.2, day + 3.2}, []float64{day + 2, day + 2, day + 5, day + 5}},
		"no clock":                  {[]float64{day, -5, -4, day + 1}, []float64{day, day, day, day + 1}},
	} {
		got := ticks(t, c.at...)
		for i := range c.want {
			if d := got[i] - c.want[i]; d > 1e-6 || d < -1e-6 {
				t.Errorf("%s: after %v the fold's times are %v, want %v", name, c.at, got, c.want)
				break
			}
		}
	}
}
