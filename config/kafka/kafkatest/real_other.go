//go:build !unix

package kafkatest

import (
	"fmt"

	"github.com/onward-router/onward/config/tooltest"
)

// real needs signals.
type real struct{ control }

type node struct {
	dir            string
	broker, quorum int
}

func startReal(int, *Link, func(*node) (string, error)) (*real, error) {
	return nil, fmt.Errorf("%w: this system has no signals to stop it with", tooltest.ErrMissing)
}

func (r *real) addresses() []string { return nil }
func (r *real) output() string      { return "" }
func (r *real) dead() bool          { return true }
func (r *real) close()              {}
