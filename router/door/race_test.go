//go:build race

package door

// slowed is what the race detector makes of a test's time.
const slowed = 5
