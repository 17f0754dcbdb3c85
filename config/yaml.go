// Package config is what a person writes: process settings, and documents of functions, sources and triggers. It finds everything that is wrong with
// them before anything runs, with the place and a cure.
package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/onward-router/onward/config/lang"
)

// parseYAML reads a file into nodes, one a document.
func parseYAML(file string, text []byte) (nodes []*lang.Node, findings []lang.Finding) {
	defer func() {
		if p := recover(); p != nil { // The YAML library's own; a document must not be able to end the process.
			findings = append(findings, lang.Finding{Pos: lang.Pos{File: file, Line: 1, Col: 1}, What: fmt.Sprintf("not YAML: %v", p)})
		}
	}()
	if f := unquoted(file, text); len(f) > 0 {
		return nil, f
	}
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, []lang.Finding{syntaxFinding(file, err)}
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		w := &walker{file: file, anchors: make(map[string]ast.Node)}
		nodes = append(nodes, w.node(doc.Body, 0))
		findings = append(findings, w.findings...)
	}
	return nodes, findings
}

var plainExpression = regexp.MustCompile(`(?:^|[:\[,{-]\s+|\{\s*|\[\s*)(\$\{)`)

// unquoted finds ${ where YAML would read its brace as a mapping: a value that is not in quotes and not in a block text.
func unquoted(file string, text []byte) []lang.Finding {
	var out []lang.Finding
	block := -1
	for i, line := range strings.Split(string(text), "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if strings.TrimSpace(line) == "" {
			continue
		}
		if block >= 0 && indent > block {
			continue
		}
		block = -1
		bare := blankQuoted(line)
		if t := strings.TrimRight(bare, " \r"); strings.HasSuffix(t, "|") || strings.HasSuffix(t, ">") || strings.HasSuffix(t, "|-") || strings.HasSuffix(t, ">-") {
			block = indent
		}
		for _, at := range plainExpression.FindAllStringSubmatchIndex(bare, -1) {
			out = append(out, lang.Finding{
				Pos: lang.Pos{File: file, Line: i + 1, Col: at[2] + 1}, What: "${ } is not quoted, and YAML reads its brace as a mapping",
				Cure: `quote it: "${ ... }"`,
			})
		}
	}
	return out
}

// blankQuoted replaces what stands in quotes, and comments, by blanks.
func blankQuoted(line string) string {
	b := []byte(line)
	var quote byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quote != 0:
			if quote == '"' && c == '\\' && i+1 < len(b) {
				b[i] = 'x'
				i++
			} else if c == quote {
				quote = 0
			}
			b[i] = 'x'
		case (c == '"' || c == '\'') && (i == 0 || strings.ContainsRune(" [{,:", rune(b[i-1]))):
			quote = c
			b[i] = 'x'
		case c == '#' && (i == 0 || b[i-1] == ' '):
			for ; i < len(b); i++ {
				b[i] = ' '
			}
		}
	}
	return string(b)
}

func syntaxFinding(file string, err error) lang.Finding {
	f := lang.Finding{Pos: lang.Pos{File: file, Line: 1, Col: 1}, What: "not YAML: " + err.Error()}
	var e interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if x, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	}); ok {
		e = x
		f.What = "not YAML: " + e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			f.Pos.Line, f.Pos.Col = t.Position.Line, t.Position.Column
		}
	}
	return f
}

// A walker turns the library's tree into nodes.
type walker struct {
	file     string
	anchors  map[string]ast.Node
	findings []lang.Finding
	count    int
}

// maxNodes bounds what aliases can make of a small file.
const maxNodes = 2_000_000

func (w *walker) pos(n ast.Node) lang.Pos {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return lang.Pos{File: w.file, Line: t.Position.Line, Col: t.Position.Column}
	}
	return lang.Pos{File: w.file, Line: 1, Col: 1}
}

func (w *walker) find(n ast.Node, cure, format string, a ...any) *lang.Node {
	w.findings = append(w.findings, lang.Finding{Pos: w.pos(n), What: fmt.Sprintf(format, a...), Cure: cure})
	return &lang.Node{Kind: lang.ScalarNode, Pos: w.pos(n)}
}

func (w *walker) node(n ast.Node, depth int) *lang.Node {
	if w.count++; w.count > maxNodes || depth > lang.MaxNesting {
		return w.find(n, "", "more than %d values, or nested deeper than %d", maxNodes, lang.MaxNesting)
	}
	scalar := func(v lang.Value) *lang.Node { return &lang.Node{Kind: lang.ScalarNode, Value: v, Pos: w.pos(n)} }
	switch n := n.(type) {
	case *ast.MappingNode:
		out := w.mapping(n.Values, depth)
		out.Pos = w.pos(n)
		if !n.IsFlowStyle && len(out.Keys) > 0 {
			out.Pos = out.Keys[0].Pos
		}
		return out
	case *ast.MappingValueNode:
		return w.mapping([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out := &lang.Node{Kind: lang.ListNode, Pos: w.pos(n)}
		for _, v := range n.Values {
			out.Items = append(out.Items, w.node(v, depth+1))
		}
		return out
	case *ast.StringNode:
		return scalar(lang.Text(n.Value))
	case *ast.LiteralNode:
		return scalar(lang.Text(n.Value.Value))
	case *ast.IntegerNode:
		return scalar(lang.Of(n.Value))
	case *ast.FloatNode:
		if math.IsInf(n.Value, 0) || math.IsNaN(n.Value) {
			return w.find(n, "", "%s is not a number that JSON has", n.Token.Value)
		}
		return scalar(lang.Of(n.Value))
	case *ast.BoolNode:
		return scalar(lang.Of(n.Value))
	case *ast.NullNode:
		return scalar(lang.Null)
	case *ast.TagNode:
		return w.node(n.Value, depth+1)
	case *ast.AnchorNode:
		w.anchors[n.Name.GetToken().Value] = n.Value
		return w.node(n.Value, depth+1)
	case *ast.AliasNode:
		if v, ok := w.anchors[n.Value.GetToken().Value]; ok {
			return w.node(v, depth+1)
		}
		return w.find(n, "write the anchor before it is used", "unknown anchor %q", n.Value.GetToken().Value)
	}
	return w.find(n, `quote it if it is a text`, "a value of the kind %s", n.Type())
}

func (w *walker) mapping(values []*ast.MappingValueNode, depth int) *lang.Node {
	out := &lang.Node{Kind: lang.MapNode}
	if len(values) > 0 {
		out.Pos = w.pos(values[0].Key)
	}
	seen := make(map[string]lang.Pos)
	for _, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge {
			w.find(v.Key, "write the keys out, or use flows:", "merge keys (<<) are not part of these documents")
			continue
		}
		key := v.Key.GetToken().Value
		if s, err := strconv.Unquote(key); err == nil && strings.HasPrefix(key, `"`) {
			key = s
		}
		at := w.pos(v.Key)
		if first, double := seen[key]; double {
			w.find(v.Key, "keep one", "key %q stands on line %d already", key, first.Line)
			continue
		}
		seen[key] = at
		out.Keys = append(out.Keys, lang.Key{Name: key, Pos: at})
		out.Items = append(out.Items, w.node(v.Value, depth+1))
	}
	return out
}
