package soak

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The repository's fuzz corpora, as texts of Go, a line each: go test ./router/soak -rewrite takes them anew.
//
//go:embed garbage.txt
var corpora string

// garbage is what of the fuzz corpora is no JSON and no answer by HTTP: whatever it stands for, it is never right.
func garbage() (out [][]byte) {
	for line := range strings.Lines(corpora) {
		text, err := strconv.Unquote(strings.TrimSpace(line))
		if err != nil {
			panic(fmt.Sprintf("garbage.txt: %q: %v", line, err)) // It is written by the test.
		}
		if !json.Valid([]byte(text)) && !strings.HasPrefix(text, "HTTP/") {
			out = append(out, []byte(text))
		}
	}
	return out
}
