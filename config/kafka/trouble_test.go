package kafka

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config/logtest"
	"github.com/onward-router/onward/config/quiet"
)

// TestTroubleIsSaidOnce: of calls that fail for a while one line goes out in half a minute, with how many it stands for, and one when it is over.
func TestTroubleIsSaidOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said logtest.Log
		c := &Client{troubles: troubles{id: "onward", log: slog.New(quiet.New(slog.NewTextHandler(&said, nil)))}}
		lines := func() int { return strings.Count(said.String(), "do not do what they are asked for") }
		c.troubles.note("fetch", errors.New("refused"), true)
		if c.Trouble() != nil || lines() != 0 {
			t.Errorf("at once: %v, %s", c.Trouble(), said.String())
		}
		time.Sleep(troubleSoon)
		for range 50 {
			c.troubles.note("fetch", errors.New("refused"), false)
			time.Sleep(100 * time.Millisecond)
		}
		if err := c.Trouble(); err == nil || !strings.Contains(err.Error(), "fetch, tried for 7s: refused") || lines() != 1 {
			t.Errorf("%v, %s", err, said.String())
		}
		time.Sleep(quiet.Pause)
		synctest.Wait()
		if lines() != 2 || !strings.Contains(said.String(), quiet.Held+"=48") {
			t.Error(said.String())
		}
		c.troubles.end("fetch", true)
		c.troubles.end("fetch", true) // Its other call.
		if c.Trouble() != nil || strings.Count(said.String(), "do again what they are asked for") != 1 {
			t.Errorf("it is over: %v, %s", c.Trouble(), said.String())
		}
		time.Sleep(2 * quiet.Pause)
	})
}
