package admission

import (
	"context"
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
)

// Heartbeats are not journaled: they go to the owners of their invocations with the call that brought them, and what an owner does not hear it does not
// hear. The next one comes.

func (in *intake) addBeat(i int, b engine.Beat) {
	in.beats, in.beaters = append(in.beats, b), append(in.beaters, i)
	in.runs = append(in.runs, in.g.handle(b.Run, ""))
	in.receipts[i] = triggers.Receipt{Kind: triggers.Heartbeat, Runs: slices.Clip(in.runs[len(in.runs)-1:])}
	in.g.metrics.taken[triggers.Heartbeat].Inc()
}

// passBeats hands on what a call brought of heartbeats, all together.
func (in *intake) passBeats() {
	if len(in.beats) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(in.ctx, patience)
	defer cancel()
	for i, fate := range in.g.Runs.Beat(ctx, in.beats) {
		if in.asks {
			in.receipts[in.beaters[i]].Fate = func(context.Context) triggers.Fate { return fate }
		}
	}
}

// Beat takes the heartbeat of an invocation by the id under which it was sent.
func (g *Gate) Beat(ctx context.Context, sent string, data lang.Value) (triggers.Fate, error) {
	b, ours := g.beat(sent)
	if !ours {
		return 0, fmt.Errorf("%w: %q is no id of an invocation that this router sent; send it as it came, to its last character", triggers.ErrRefused, clip(sent))
	}
	b.Data = data
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return g.Runs.Beat(ctx, []engine.Beat{b})[0], nil
}

// FateOf says a fold's reason in the words of those who ask.
func (g *Gate) FateOf(run journal.RunID, reason engine.Reason) triggers.Fate {
	return g.fate(run, reason)
}
