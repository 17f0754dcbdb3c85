//go:build !race

package kafka

const pooled = 0
