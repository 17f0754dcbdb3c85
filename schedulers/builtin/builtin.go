// Package builtin registers the policies that come with the router: one line each.
package builtin

import (
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/among"
	"github.com/onward-router/onward/schedulers/choice"
	"github.com/onward-router/onward/schedulers/dag"
	"github.com/onward-router/onward/schedulers/end"
	"github.com/onward-router/onward/schedulers/fail"
	"github.com/onward-router/onward/schedulers/finally"
	"github.com/onward-router/onward/schedulers/forkjoin"
	"github.com/onward-router/onward/schedulers/loop"
	"github.com/onward-router/onward/schedulers/mapping"
	"github.com/onward-router/onward/schedulers/pass"
	"github.com/onward-router/onward/schedulers/saga"
	"github.com/onward-router/onward/schedulers/sequence"
	"github.com/onward-router/onward/schedulers/signal"
	"github.com/onward-router/onward/schedulers/subrun"
	"github.com/onward-router/onward/schedulers/wait"
)

// New returns a registry that holds them, and nothing else.
func New() *plugin.Registry {
	r := new(plugin.Registry)
	Register(r)
	return r
}

// Register enters them all.
func Register(r *plugin.Registry) {
	among.Register(r)
	choice.Register(r)
	dag.Register(r)
	end.Register(r)
	fail.Register(r)
	finally.Register(r)
	forkjoin.Register(r)
	loop.Register(r)
	mapping.Register(r)
	pass.Register(r)
	saga.Register(r)
	sequence.Register(r)
	signal.Register(r)
	subrun.Register(r)
	wait.Register(r)
}
