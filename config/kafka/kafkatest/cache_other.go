//go:build !unix

package kafkatest

import "fmt"

func cached(name string, _ func(string) (string, error)) (string, error) {
	return "", fmt.Errorf("%w: on this system %s is not fetched", errMissing, name)
}
