package router

import (
	"context"
	"errors"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/triggers"
)

// died keeps events that a trigger could not take. What the disk does not take is said, and tried again.
func (r *Router) died(list ...*engine.Letter) {
	_ = r.endings.Letters().Keep(list...)
	r.shards.Died(list...)
}

// park keeps what a source got and what is no event.
func (r *Router) park(x triggers.Parked) {
	_ = r.endings.Letters().Keep(engine.LetterOfParked(x.Source, x.Place, x.Reason, x.Bytes, x.Time.UTC()))
}

// redrive sends a dead letter again, as what it is.
func (r *Router) redrive(ctx context.Context, l *engine.Letter) error {
	switch l.Kind() {
	case engine.LetterEvent:
		return r.gate.Again(ctx, l)
	case engine.LetterParked:
		return errors.New("it is no event, and there is nothing to send; see it by onward dead show, mend its sender, and remove it by onward dead purge")
	}
	return r.outbox.Redrive(ctx, l)
}
