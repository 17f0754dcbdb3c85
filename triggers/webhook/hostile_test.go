package webhook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// spoilt are copies of JSON, in each of which one place is something else, or is not there.
func spoilt(v any, put func(any)) {
	for _, odd := range []any{nil, 1e308, "\u0000", true, []any{}, map[string]any{}, strings.Repeat("x", 40_000)} {
		put(odd)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			spoilt(v[key], func(odd any) {
				c := maps.Clone(v)
				c[key] = odd
				put(c)
			})
			c := maps.Clone(v)
			delete(c, key)
			put(c)
		}
	case []any:
		for i := range v {
			spoilt(v[i], func(odd any) {
				c := slices.Clone(v)
				c[i] = odd
				put(c)
			})
		}
	}
}

// TestHostileSenders: whatever a body has in the place of what its sender sends, the recipes of the docs make of it events that are some, refuse it with a reason, or
// put it away for a person.
func TestHostileSenders(t *testing.T) {
	t.Parallel()
	docs := documents(t, "../../deploy/docs/recipes.md")
	files, err := filepath.Glob("testdata/senders/*.http")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sender, _, _ := strings.Cut(filepath.Base(file), ".")
			r := receive(t, docs[sender])
			head, body, _ := bytes.Cut(text, []byte("\n\n"))
			bodies := [][]byte{nil, []byte("{"), []byte("\xff\xfe"), []byte("NaN"), []byte(strings.Repeat("[", 2000)), []byte(`{"a":1,"a":2}`), append([]byte("\ufeff"), body...)}
			var v any
			if json.Unmarshal(body, &v) == nil {
				spoilt(v, func(odd any) {
					b, err := json.Marshal(odd)
					if err != nil {
						t.Fatal(err)
					}
					bodies = append(bodies, b)
				})
			}
			requests := make([][]byte, 0, len(bodies))
			for _, b := range bodies {
				requests = append(requests, slices.Concat(head, []byte("\n\n"), b))
			}
			for i, line := range bytes.Split(head, []byte("\n")) { // Without a header, and with one that says nothing.
				lines := bytes.Split(head, []byte("\n"))
				name, _, _ := bytes.Cut(line, []byte(":"))
				requests = append(requests, slices.Concat(bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), []byte("\n")), []byte("\n\n"), body))
				lines[i] = append(slices.Clone(name), ": x"...)
				requests = append(requests, slices.Concat(bytes.Join(lines, []byte("\n")), []byte("\n\n"), body))
			}
			taken := 0
			for _, q := range requests {
				q = bytes.TrimPrefix(q, []byte("\n\n"))
				if !bytes.Contains(q, []byte("\n\n")) {
					continue // It had one header.
				}
				r.events = nil
				w := r.post(t, q)
				if w.Code/100 != 2 && w.Code/100 != 4 || w.Code/100 == 4 && !strings.Contains(w.Body.String(), `"message"`) && len(w.Body.String()) < 10 {
					t.Errorf("%d %.300s: %.500q", w.Code, w.Body, q)
				}
				if w.Code/100 == 4 && len(r.events) > 0 {
					t.Errorf("%d, and %d events: %.500q", w.Code, len(r.events), q)
				}
				for i := range r.events {
					e := &r.events[i]
					taken++
					if err := e.Validate(); err != nil || e.ID() == "" || e.Type() == "" || e.Source() == "" || len(e.ID()) > 4096 {
						t.Errorf("%v %s: %.500q", err, e, q)
					}
				}
			}
			if taken == 0 && len(r.Parked()) == 0 {
				t.Error(fmt.Sprint("nothing of ", len(requests), " requests is taken"))
			}
		})
	}
}
