// Package all registers the sources that come with the router: one line each.
package all

import (
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers/file"
	"github.com/onward-router/onward/triggers/kafka"
	"github.com/onward-router/onward/triggers/schedule"
	"github.com/onward-router/onward/triggers/webhook"
)

// Register enters them all.
func Register(r *plugin.Registry) {
	file.Register(r)
	kafka.Register(r)
	schedule.Register(r)
	webhook.Register(r)
}
