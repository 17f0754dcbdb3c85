package lang

import (
	"crypto/sha256"

	"github.com/onward-router/onward/config/plugin"
)

// A Digest names a definition by its canonical bytes.
type Digest [sha256.Size]byte

// A Definition is all that the fold reads of a trigger: its flow with defaults expanded, the contracts of the functions that it names, its
// destinations and its limits. A run is pinned to the digest it started with; a changed document gives a new digest and leaves old runs alone.
// Addresses, headers, credentials and concurrency are not in it: the outbox looks them up by function name when it sends.
type Definition struct {
	Version   int                 `json:"version"` // of the document form
	Tenant    string              `json:"tenant"`
	Trigger   string              `json:"trigger"`
	Flow      *Step               `json:"flow,omitempty"` // nil: the event goes straight to the destinations
	Functions map[string]Function `json:"functions,omitempty"`
	OnSuccess []Destination       `json:"onSuccess,omitempty"`
	OnFailure []Destination       `json:"onFailure,omitempty"`
	Policies  map[string]int      `json:"policies,omitempty"` // versions of the policies used
	Deadline  plugin.Duration     `json:"deadline,omitempty"` // of the run
}

// A Function is what the fold knows of one: how its completions read.
type Function struct {
	Contract string `json:"contract"`
}

// A Destination is where the event of a run's end goes: exactly one of Function (an inline sink is an anonymous function) and Trigger is set.
type Destination struct {
	Function string `json:"function,omitempty"`
	Trigger  string `json:"trigger,omitempty"`
	When     Expr   `json:"when,omitzero"`
	Data     Expr   `json:"data,omitzero"` // default: the outcome
}
