package history

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
)

// TestBackupOfHistory: what is restored is the same history, schema and all.
func TestBackupOfHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, bad, err := openDisk(dir, func(*page) {}, func(int, cursor) {})
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	defer d.close()
	big := make([]byte, 1_600_000) // More than a part, and no smaller when it is packed.
	_, _ = rand.NewChaCha8([32]byte{}).Read(big)
	var saves []save
	for i := range 5 {
		saves = append(saves, save{page: &page{n: int64(i + 1), stream: streamSteps}, entries: i, from: -7, to: 1 << 60, ids: []byte{1, 2, 3, byte(i)}, body: big[i:], digest: []byte{byte(i)}})
	}
	saves[2].body, saves[2].digest = []byte{}, nil
	if err := d.write(&change{
		saves: saves, cursors: map[int]cursor{0: {7, 8}, 3: {1 << 40, -1}}, put: []defined{{lang.Digest{7}, 8, []byte("packed")}},
		holes: []hole{{partition: 3, after: -1, upto: 1 << 40, base: 1, steps: true, gap: gap{7, 8, 9}}}, holesMoved: true,
	}); err != nil {
		t.Fatal(err)
	}
	var names []string
	var texts [][]byte
	if err := d.backup(t.Context(), func(name string, size int64, from io.Reader) error {
		b, err := io.ReadAll(from)
		if int64(len(b)) != size {
			t.Errorf("%s has %d bytes, not %d", name, len(b), size)
		}
		names, texts = append(names, name), append(texts, b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(names) < 3 || !strings.HasPrefix(names[0], BackupFolder) {
		t.Errorf("%q", names)
	}
	into := t.TempDir()
	r, err := Restore(into)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range texts {
		if err := r.Take(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	cursors := make(map[int]cursor)
	pages := 0
	again, bad, err := openDisk(into, func(*page) { pages++ }, func(p int, c cursor) { cursors[p] = c })
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	defer again.close()
	if pages != 5 || len(cursors) != 2 || cursors[3] != (cursor{1 << 40, -1}) || again.id != d.id {
		t.Errorf("%d pages, %v, %q", pages, cursors, again.id)
	}
	for i := range saves {
		b, err := again.body(int64(i + 1))
		if raw, e := unpack(b); err != nil || e != nil || !bytes.Equal(raw, saves[i].body) {
			t.Errorf("page %d has %d bytes, %v", i+1, len(b), err)
		}
	}
	if b, err := again.definition(lang.Digest{7}); string(b) != "packed" || err != nil || again.had[lang.Digest{7}] == nil {
		t.Errorf("a definition is %q, %v", b, err)
	}
	for n := 1; n < len(texts[0]); n += 97 {
		r, err := Restore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Take(bytes.NewReader(texts[0][:n])) // Never a panic; what is cut amid a row is an error, or ended between two.
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if n > 2000 {
			break
		}
	}
	if _, err := Restore(into); err == nil {
		t.Error("a history is restored over another")
	}
	if _, err := os.Stat(filepath.Join(into, FileName)); err != nil {
		t.Error(err)
	}
}
