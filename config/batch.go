package config

import (
	"fmt"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// A Batch says how many invocations go to a function in one request.
type Batch struct {
	Max    int             `doc:"max,value" help:"invocations of one request, at most" default:"100"`
	Bytes  plugin.Size     `doc:"bytes" help:"bytes of one request, at most; an invocation that has more goes alone" default:"1MiB"`
	Linger plugin.Duration `doc:"linger" help:"how long the first one waits for others, where there is room for it; 0s: what comes together goes together" default:"5ms"`
}

// The bounds of a batch.
const (
	mostBatch  = 10_000
	mostBytes  = 16 << 20
	mostLinger = time.Minute
)

// Check reports what is no batch, or waits for too long.
func (b *Batch) Check() (out []plugin.Problem) {
	if b.Max < 1 || b.Max > mostBatch {
		out = append(out, plugin.Problem{Path: []string{"max"}, What: fmt.Sprintf("a batch of at most %d invocations", b.Max), Cure: fmt.Sprintf("write a number from 1 to %d", mostBatch)})
	}
	if b.Bytes < 1 || b.Bytes > mostBytes {
		out = append(out, plugin.Problem{Path: []string{"bytes"}, What: fmt.Sprintf("a batch of at most %s", b.Bytes), Cure: "write a size up to 16MiB"})
	}
	if b.Linger.D() > mostLinger {
		out = append(out, plugin.Problem{Path: []string{"linger"}, What: fmt.Sprintf("a batch that waits for %s", b.Linger.D()), Cure: "write 1m or less"})
	}
	return out
}

// Schema tells what Check refuses.
func (*Batch) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"max": plugin.Schema{"minimum": 1, "maximum": mostBatch}}}
}

// batch finds batches where none can be sent.
func (l *loader) batch(f *Function, n *lang.Node, path string) {
	at := n.Get("batch")
	if at == nil || f.Settings == nil {
		return
	}
	why := f.Sink.Name + " sends each invocation by itself"
	if by, ok := f.Settings.(plugin.Batching); ok {
		why = by.Batches(f.Contract)
	}
	if why != "" {
		l.find(at.Pos, path+".batch", "leave it out", "function %q takes no batches: %s", f.Name, why)
	}
}
