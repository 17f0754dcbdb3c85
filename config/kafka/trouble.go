package kafka

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/onward-router/onward/config/quiet"
)

// troubles are the calls under way that are being tried again. Who waits for a cluster that is away says so, after a short while.
type troubles struct {
	mu    sync.Mutex
	calls map[string]*trouble // by what they do
	said  bool                // and it is not over
	id    string
	log   *slog.Logger // nil until there is something to say: who opens a client may not have set up the log
}

type trouble struct {
	calls int
	since time.Time
	err   error
}

const troubleSoon = 2 * time.Second // that a call fails so long is worth a line

// note books that a call has failed and is tried again; first, that it has not before.
func (t *troubles) note(doing string, err error, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.calls[doing]
	if x == nil {
		if t.calls == nil {
			t.calls = make(map[string]*trouble)
		}
		x = &trouble{since: time.Now()}
		t.calls[doing] = x
	}
	if first {
		x.calls++
	}
	x.err = err
	lasts := time.Since(x.since)
	if lasts < troubleSoon {
		return
	}
	if t.said = true; t.log == nil {
		t.log = quiet.Of(slog.Default())
	}
	t.log.Warn("kafka: the brokers do not do what they are asked for; it is tried again", "client", t.id, "doing", doing, "for", lasts.Round(time.Second), "error", err)
}

// end books that a call that had failed is over; well, that it came to a good end.
func (t *troubles) end(doing string, well bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.calls[doing]
	if x == nil {
		return
	}
	if x.calls--; x.calls <= 0 || well {
		delete(t.calls, doing)
	}
	if well && len(t.calls) == 0 && t.said {
		t.said = false
		t.log.Info("kafka: the brokers do again what they are asked for", "client", t.id)
	}
}

// Trouble says what the client has been trying in vain for so long that it was logged; nil is nothing.
func (c *Client) Trouble() error {
	c.troubles.mu.Lock()
	defer c.troubles.mu.Unlock()
	var longest *trouble
	doing := ""
	for d, x := range c.troubles.calls {
		if longest == nil || x.since.Before(longest.since) {
			longest, doing = x, d
		}
	}
	if longest == nil || !c.troubles.said {
		return nil
	}
	return fmt.Errorf("%s, tried for %s: %w", doing, time.Since(longest.since).Round(time.Second), longest.err)
}
