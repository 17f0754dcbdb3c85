//go:build !race

package door

const slowed = 1
