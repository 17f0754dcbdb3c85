//go:build race

package kafka

// pooled is what pools that the race detector empties at random may cost more, in bytes.
const pooled = 8 << 20
