package command

import (
	"os"
	"testing"
	"time"

	"github.com/onward-router/onward/router/soak"
)

// TestSoak is the hostile hour in short: every fault comes at least once. The seed is another each time; a failure names it.
func TestSoak(t *testing.T) {
	t.Parallel()
	table, err := soak.Run(t.Context(), soak.Options{
		Program: os.Args[0], Env: []string{childVariable + "=1"}, Time: 10 * time.Second, Seed: uint64(time.Now().Unix()), Dir: t.TempDir(), Limit: -1, Open: 100, Say: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range table.Notes {
		t.Error(note)
	}
	all := table.Total()
	if table.Bad() || table.Times("kill -9") < 5 || all.Runs < 50 {
		t.Errorf("seed %d: %d kills, %d runs, %d lost, %d wrong, %d open, %d died", table.Seed, table.Times("kill -9"), all.Runs, all.Lost, all.Wrong, table.Open, table.Died)
	}
	for _, fault := range []string{"kill -9 while it recovers", "SIGTERM", "clock jumps", "disk full", "reload", "reload of a bad document"} {
		if table.Times(fault) == 0 {
			t.Errorf("%s never came", fault)
		}
	}
}
