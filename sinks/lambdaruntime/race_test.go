//go:build race

package lambdaruntime

// slowed is by how much the race detector slows this down.
const slowed = 5
