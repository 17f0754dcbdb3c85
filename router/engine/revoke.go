package engine

import (
	"time"

	"github.com/onward-router/onward/config/lang"
)

// because is why calls are dropped; without a reason nobody waits for them any more.
type because struct{ reason, message string }

func (b because) value() lang.Value {
	members := []lang.Member{{Key: "reason", Value: lang.Text("superseded")}}
	if b.reason != "" {
		members[0].Value = lang.Text(b.reason)
	}
	if b.message != "" {
		members = append(members, lang.Member{Key: "message", Value: lang.Text(b.message)})
	}
	return lang.Object(members...)
}

// revoke tells a function that a call of it was dropped, where it wants to hear of that. It is state until the function has it or its owner gives up, so
// that no crash loses it; a run that has ended stays for so long. Whether the call was sent at all, only its owner knows.
func (s *State) revoke(r *run, call *Invocation) {
	if call.Purpose == Call && call.Type == TypeSub {
		s.cancelSub(r, call)
		return
	}
	if call.Purpose != Call || !r.def.Functions[call.Function].Cancel || r.live.len() >= s.limits.Live {
		return
	}
	s.addLive(r, &Invocation{
		Purpose: Cancel, Path: call.Path, Function: call.Function, Contract: call.Contract, Attempt: call.Attempt, Input: s.why.value(),
		Type: TypeCancel, Cause: call.ID(), Created: time.Unix(0, s.now).UTC(), Fuel: FuelBehind(call.N, s.limits.Fuel),
	}, nil)
}
