package command

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestJournalMetrics: a router shows the lag of what it has, and of nothing that has passed on.
func TestJournalMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	o := JournalMetrics(reg)
	is := func(want ...string) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range families {
			for _, m := range f.GetMetric() {
				line := fmt.Sprint(f.GetName(), " ", m.GetGauge().GetValue())
				for _, l := range m.GetLabel() {
					line += " " + l.GetValue()
				}
				got = append(got, line)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
	o.Generation([]int{0, 1}, 8)
	o.Lag(0, 5)
	o.Lag(1, 7)
	is("onward_journal_all_partitions 8", "onward_journal_lag 5 0", "onward_journal_lag 7 1", "onward_journal_partitions 2")
	o.Generation([]int{1, 2}, 8)
	o.Lag(0, 9)
	is("onward_journal_all_partitions 8", "onward_journal_lag 7 1", "onward_journal_partitions 2")
	o.Generation(nil, 8)
	is("onward_journal_all_partitions 8", "onward_journal_partitions 0")
}
