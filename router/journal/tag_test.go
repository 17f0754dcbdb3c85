package journal_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/router/journal"
)

// TestTags: an id opens with its own tag only, whatever else is changed about it.
func TestTags(t *testing.T) {
	t.Parallel()
	layout := journal.Layout{Version: 1, Partitions: 4, Key: [32]byte{1}}
	tags := journal.NewTags(layout)
	const id = "2k1cq175cb6ce2n6ty45nybab4~orders.f.7"
	sealed := tags.Seal(id)
	if !strings.HasPrefix(sealed, id+".") || len(sealed) > len(id)+12 || tags.Seal(id) != sealed {
		t.Errorf("%q", sealed)
	}
	if got, ok := tags.Open(sealed); got != id || !ok {
		t.Errorf("%q, %v", got, ok)
	}
	tag := strings.TrimPrefix(sealed, id+".")
	for name, forged := range map[string]string{
		"none": id, "empty": id + ".", "another number": strings.Replace(sealed, ".7.", ".8.", 1), "another path": strings.Replace(sealed, "orders", "others", 1),
		"another run": "3" + sealed[1:], "cut": sealed[:len(sealed)-1], "longer": sealed + "0", "in capitals": id + "." + strings.ToUpper(tag), "twice": sealed + "." + tag,
		"only the tag": "." + tag, "nothing": "", "another key's": journal.NewTags(journal.Layout{Partitions: 4, Key: [32]byte{2}}).Seal(id),
		"without its number": "2k1cq175cb6ce2n6ty45nybab4~orders.f." + tag,
	} {
		if got, ok := tags.Open(forged); ok {
			t.Errorf("%s: %q opens as %q", name, forged, got)
		}
	}
}

// TestDerivedKeysAreApart: keys of two purposes differ, and neither is the journal's.
func TestDerivedKeysAreApart(t *testing.T) {
	t.Parallel()
	l := journal.Layout{Key: [32]byte{1}}
	if a, b := l.Derive("a"), l.Derive("b"); a == b || a == l.Key || a != l.Derive("a") {
		t.Errorf("%x, %x", a, b)
	}
}
