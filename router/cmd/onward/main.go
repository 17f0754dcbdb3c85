// Command onward is the event-driven destination router. This file is the list of what is built in: a policy, sink or source of yours is one more line.
package main

import (
	"os"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/command"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	triggers "github.com/onward-router/onward/triggers/all"
)

func main() {
	registry := new(plugin.Registry)
	builtin.Register(registry)
	sinks.Register(registry)
	triggers.Register(registry)
	os.Exit(command.Main(registry, os.Args[1:]))
}
