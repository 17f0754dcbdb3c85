package admission

import (
	"slices"
	"sync"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
)

// Definition returns the payload of the record that brings a definition; nil when the documents in force do not have it.
func (g *Gate) Definition(d lang.Digest) []byte {
	set := g.Set()
	for _, triggers := range []map[string]*config.Trigger{set.Triggers, set.Calls} {
		for _, t := range triggers {
			if t.Digest == d {
				return engine.DefinePayload(t.Definition)
			}
		}
	}
	return nil
}

// definitionLog remembers which definitions this process has appended to which partition.
type definitionLog struct{ partitions []digestSet }

type digestSet struct {
	mu   sync.Mutex
	have []lang.Digest
}

func newDefinitionLog(partitions int) *definitionLog {
	return &definitionLog{partitions: make([]digestSet, partitions)}
}

// first reports whether the definition has not been appended yet, and books it as appended.
func (d *definitionLog) first(partition int, digest lang.Digest) bool {
	p := &d.partitions[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.have, digest) {
		return false
	}
	p.have = append(p.have, digest)
	return true
}
