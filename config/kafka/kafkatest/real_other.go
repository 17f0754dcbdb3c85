//go:build !unix

package kafkatest

import "fmt"

// real needs signals.
type real struct{ control }

func startReal(int, *Link) (*real, error) {
	return nil, fmt.Errorf("%w: this system has no signals to stop it with", errMissing)
}

func (r *real) addresses() []string { return nil }
func (r *real) output() string      { return "" }
func (r *real) dead() bool          { return true }
func (r *real) close()              {}
