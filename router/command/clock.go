package command

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// clockLook is how often the file of a wrong clock is looked at.
const clockLook = 50 * time.Millisecond

// wrongClock is a clock on the wall that is off by what a file says, such as -1h: how a soak lets the clock of its router jump. The clock that nobody
// sets goes on as it is. What the file says counts until ctx ends.
func wrongClock(ctx context.Context, file string) (func() time.Time, error) {
	var off atomic.Int64
	look := func() error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("%s: %q is not a duration; write -1h or 0s", file, text)
		}
		off.Store(int64(d))
		return nil
	}
	if err := look(); err != nil {
		return nil, err
	}
	go func() {
		tick := time.NewTicker(clockLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = look() // What cannot be read changes nothing.
			}
		}
	}()
	return func() time.Time { return time.Now().Add(time.Duration(off.Load())) }, nil
}
