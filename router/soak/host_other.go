//go:build !linux

package soak

import "errors"

const limitedBy = "none on this system"

func limitMemory(int, int64) error { return nil }

func peakOf(int) (int64, error) { return 0, errors.ErrUnsupported }

func mount(string, int64) (func() error, error) { return nil, errors.ErrUnsupported }
