// Package guard keeps what panics from taking more with it than the one thing that was being done.
package guard

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Panics counts what was guarded against, in this process. Where it runs registers it.
var Panics = func() *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "onward_guarded_panics_total", Help: "Panics that ended what was being done and nothing else, by what it was: each is a fault of the router.",
	}, []string{"where"})
	for _, where := range []string{"decode", "admission", "deliver", "answer", "source"} {
		c.WithLabelValues(where) // A rate has to have something to begin from.
	}
	return c
}()

// A Panicked is the error of what has panicked.
type Panicked struct {
	Where string
	Value any
}

// Error says it.
func (p *Panicked) Error() string {
	return fmt.Sprintf("the router failed at it (%s): %v; please report it", p.Where, p.Value)
}

// Do calls f. When f panics, that is logged with its stack and counted under where - a word of the program, never of an event - and is the error.
func Do(where string, f func()) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		Panics.WithLabelValues(where).Inc()
		slog.Error("a panic has ended what was being done", "where", where, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		err = &Panicked{where, v}
	}()
	f()
	return nil
}
