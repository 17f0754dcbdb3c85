package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// destinationRetry is how a destination is tried that says nothing of it and has no function that does: nobody else has the event.
func destinationRetry() lang.Retries {
	jitter := lang.DefaultJitter
	return lang.Retries{{
		Attempts: 3, Backoff: lang.Span{Const: plugin.Duration(lang.DefaultBackoff)}, Factor: lang.DefaultFactor, Max: lang.Span{Const: plugin.Duration(lang.DefaultMax)},
		Jitter: &jitter,
	}}
}

// contentName names a sink by what its settings say, in whatever order: what stands beside it does not change the name.
func contentName(n *lang.Node) string {
	h := sha256.New()
	writeNode(h, n)
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func writeNode(w io.Writer, n *lang.Node) {
	fmt.Fprintf(w, "%d %d ", n.Kind, len(n.Items))
	switch n.Kind {
	case lang.ListNode:
		for _, item := range n.Items {
			writeNode(w, item)
		}
	case lang.MapNode:
		keys := make(map[string]*lang.Node, len(n.Keys))
		for i, key := range n.Keys {
			keys[key.Name] = n.Items[i]
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			fmt.Fprintf(w, "%q ", key)
			writeNode(w, keys[key])
		}
	default:
		fmt.Fprintf(w, "%s ", n.Value)
	}
}
