package soak

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write garbage.txt anew from the fuzz corpora of the repository")

// most is how long a text of the corpora may be to be of use.
const most = 4 << 10

// TestGarbage reads the committed corpora of all fuzz targets: what the soak throws at the router is what fuzzing has found worth keeping.
func TestGarbage(t *testing.T) {
	t.Parallel()
	texts := corpusTexts(t)
	if *rewrite {
		var b strings.Builder
		for _, text := range texts {
			b.WriteString(strconv.QuoteToASCII(text) + "\n")
		}
		if err := os.WriteFile("garbage.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got := garbage()
	if len(got) < 50 {
		t.Errorf("%d pieces of garbage; write them anew with -rewrite", len(got))
	}
	for _, g := range got {
		if json.Valid(g) {
			t.Errorf("%q is JSON: as an answer it would be right", g)
		}
	}
}

func corpusTexts(t *testing.T) (out []string) {
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(filepath.ToSlash(path), "/testdata/fuzz/") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(b), "\n") {
			if i == 0 || line == "" {
				continue
			}
			x, err := parser.ParseExpr(line)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			ast.Inspect(x, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil && text != "" && len(text) <= most {
						out = append(out, text)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
