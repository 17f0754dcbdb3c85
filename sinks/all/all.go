// Package all registers the sinks that come with the router: one line each.
package all

import (
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks/exec"
	"github.com/onward-router/onward/sinks/http"
	"github.com/onward-router/onward/sinks/kafka"
	"github.com/onward-router/onward/sinks/lambdaruntime"
	"github.com/onward-router/onward/sinks/log"
	"github.com/onward-router/onward/sinks/openwhisk"
	"github.com/onward-router/onward/sinks/trigger"
)

// Register enters them all.
func Register(r *plugin.Registry) {
	exec.Register(r)
	http.Register(r)
	kafka.Register(r)
	lambdaruntime.Register(r)
	log.Register(r)
	openwhisk.Register(r)
	trigger.Register(r)
}
