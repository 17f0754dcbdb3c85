package outbox

import (
	"errors"
	"fmt"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// route puts the event of a run's end past the filters: what it starts is journaled in the run's own partition first.
func (o *Outbox) route(s Owner, inv *engine.Invocation) {
	if inv.Starts != nil {
		go o.start(s, inv, time.Time{})
		return
	}
	matched := o.Intake.Match(inv)
	if matched == nil {
		s.Accepted(inv, "")
		return
	}
	s.Write(engine.Record(journal.Matched, inv.Run, matched))
}

// start starts what was matched or the trigger of a destination, then closes the invocation. A crash in between repeats it under the same run ids. What
// cannot be journaled now is tried again for ever; a trigger that the documents do not have may come back until it has been gone for missingAge.
func (o *Outbox) start(s Owner, inv *engine.Invocation, gone time.Time) {
	if o.keepsSub(s, inv) {
		return
	}
	err := o.begin(s, inv)
	if errors.Is(err, errPlaced) {
		return
	}
	var final *lang.Error
	switch {
	case err == nil && inv.Type == engine.TypeLoose:
		id, _ := o.Intake.Child(inv)
		completed(s, inv, lang.Success(lang.Of(map[string]string{"run": id.String()})), engine.Sending{})
		return
	case err == nil:
		s.Accepted(inv, "")
		return
	case s.Context().Err() != nil:
		return
	case errors.Is(err, triggers.ErrNoTrigger):
		if gone.IsZero() {
			gone = time.Now()
			o.Log.Warn("the trigger that a destination names is not in the documents; the event of the run's end waits for it", "trigger", inv.ToTrigger, "run", inv.Run, "atMost", missingAge)
		}
		long := time.Since(gone) >= missingAge
		switch why := fmt.Sprintf("it has been missing for %s", missingAge); {
		case inv.Purpose != engine.Call && long:
			o.gaveUp(s, inv, lang.Failf(lang.ClassPlatform, "unknown_trigger", "%s; not delivered: %s; load documents that have it, then: onward dead redrive", err, why))
			return
		case inv.Purpose == engine.Call && (long || o.Intake.Current(time.Unix(0, inv.Began))):
			if !long {
				why = "documents that were loaded after this run began do not have it"
			}
			o.gaveUp(s, inv, lang.Failf(lang.ClassPlatform, "unknown_trigger", "%s; its run was not started: %s; load documents that have it, then: start this run again", err, why))
			return
		}
	case errors.As(err, &final):
		o.gaveUp(s, inv, final)
		return
	}
	time.AfterFunc(time.Second, func() {
		if s.Context().Err() == nil {
			o.start(s, inv, gone)
		}
	})
}

// errPlaced says that the run that a call starts is being journaled. The call comes again once that is folded.
var errPlaced = errors.New("the run is being journaled")

// begin starts what an invocation starts. Which run a step starts is journaled in its own run first: documents that change meanwhile must not let a cancel look
// for it elsewhere.
func (o *Outbox) begin(s Owner, inv *engine.Invocation) error {
	if inv.Purpose != engine.Call || inv.Starts != nil {
		return o.Intake.StartFor(s.Context(), inv)
	}
	placed, err := o.Intake.Place(inv)
	if err != nil {
		return err
	}
	s.Write(engine.Record(journal.Matched, inv.Run, placed))
	return errPlaced
}
