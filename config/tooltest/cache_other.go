//go:build !unix

package tooltest

import "fmt"

func Cached(name string, _ func(string) (string, error)) (string, error) {
	return "", fmt.Errorf("%w: on this system %s is not fetched", ErrMissing, name)
}
