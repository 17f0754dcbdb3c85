package config

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
)

// Values reads YAML as documents are read, and returns their JSON.
func Values(text []byte) []lang.Value {
	nodes, _ := yamldoc.Parse("", text)
	var out []lang.Value
	for _, n := range nodes {
		out = append(out, n.JSON())
	}
	return out
}
