// Package yamldoc reads YAML into the nodes that documents are decoded from: the one reading of documents that there is.
//
// A document says what its text says by the core schema of YAML 1.2, or it is a finding, with its place and a cure. The library gives the form alone; what a
// scalar is, is decided here. Nothing is dropped: no document, no key, no scalar, and no digit of a number.
package yamldoc

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/onward-router/onward/config/lang"
	"go.yaml.in/yaml/v3"
)

// Parse reads a file into nodes, one a document; an empty document is none. With findings, the nodes are what could be read.
func Parse(file string, text []byte) (nodes []*lang.Node, findings []lang.Finding) {
	at := func(line, col int) lang.Pos { return lang.Pos{File: file, Line: line, Col: col} }
	defer func() {
		if p := recover(); p != nil { // The YAML library's own; a document must not be able to end the process.
			nodes, findings = nil, append(findings, lang.Finding{Pos: at(1, 1), What: fmt.Sprintf("not YAML: %v", p)})
		}
	}()
	if f, ok := characters(file, text); !ok {
		return nil, []lang.Finding{f}
	}
	source := directives(string(text))
	lines := strings.Split(strings.TrimPrefix(source, "\ufeff"), "\n")
	w := &walker{file: file, lines: lines, inside: make(map[*yaml.Node]bool)}
	for d := yaml.NewDecoder(strings.NewReader(source)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, append(w.findings, syntaxFinding(file, lines, err))
		}
		for _, body := range doc.Content {
			if empty := body.Kind == yaml.ScalarNode && body.Value == "" && body.Style == 0 && body.Anchor == "" && body.Tag == "!!null"; !empty {
				nodes = append(nodes, w.node(body, 0))
			}
		}
	}
	return nodes, w.findings
}

// characters looks for what YAML has no place for, or what its two versions read differently.
func characters(file string, text []byte) (lang.Finding, bool) {
	line, col := 1, 0
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		col++
		f := lang.Finding{Pos: lang.Pos{File: file, Line: line, Col: col}}
		switch {
		case r == utf8.RuneError && n <= 1:
			f.What, f.Cure = fmt.Sprintf("not UTF-8: the byte %#02x", text[i]), "save the file as UTF-8"
			return f, false
		case r == '\n':
			line, col = line+1, 0
		case r < ' ' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= 0xfffe && r <= 0xffff:
			f.What = fmt.Sprintf("the character %U, which does not show", r)
			f.Cure = fmt.Sprintf(`leave it out, or write it in double quotes: "\u%04x"`, r)
			return f, false
		case r == '\ufeff' && i > 0:
			f.What, f.Cure = "a byte order mark inside of the text", `leave it out, or write it in double quotes: "\ufeff"`
			return f, false
		case r == '\r' && (i+1 == len(text) || text[i+1] != '\n'):
			f.What, f.Cure = "a line ends in a carriage return alone", "end lines in a line feed"
			return f, false
		}
		i += n
	}
	return lang.Finding{}, true
}

var yamlDirective = regexp.MustCompile(`^%YAML[ \t]+1\.2([ \t\r\n]|$)`)

// directives turns %YAML 1.2 into the version that the library knows: the form is the same, and scalars are not the library's.
func directives(source string) string {
	if !strings.Contains(source, "%YAML") {
		return source
	}
	lines, begins := strings.SplitAfter(source, "\n"), true
	for i, line := range lines {
		switch bare := strings.TrimSpace(strings.TrimPrefix(line, "\ufeff")); {
		case begins && yamlDirective.MatchString(strings.TrimPrefix(line, "\ufeff")):
			lines[i] = strings.Replace(line, "1.2", "1.1", 1)
		case strings.HasPrefix(line, "..."):
			begins = true
		case bare != "" && bare[0] != '#' && bare[0] != '%':
			begins = false
		}
	}
	return strings.Join(lines, "")
}

var errorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxFinding makes a finding of the library's error, with the cure that is most often the right one.
func syntaxFinding(file string, lines []string, err error) lang.Finding {
	f := lang.Finding{Pos: lang.Pos{File: file, Line: 1, Col: 1}, What: "not YAML: " + err.Error()}
	if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
		f.What = "not YAML: " + m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			f.Pos.Line = n
		}
	}
	line := ""
	if f.Pos.Line <= len(lines) {
		line = lines[f.Pos.Line-1]
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	f.Pos.Col = len(indent) + 1
	// The line is that of the bracket which the fault is in.
	for n := f.Pos.Line; n <= len(lines) && strings.Contains(f.What, "did not find expected"); n++ {
		if m := flowExpression.FindStringIndex(lines[n-1]); m != nil {
			f.Pos.Line, f.Pos.Col = n, utf8.RuneCountInString(lines[n-1][:m[1]-2])+1
			f.What, f.Cure = "an expression outside of quotes: YAML reads its brace as a mapping", quoteIt
			return f
		}
	}
	switch {
	case strings.Contains(indent, "\t"):
		f.What, f.Cure = "a tab at the begin of a line", "indent with spaces"
	case strings.Contains(f.What, "cannot start any token"):
		f.Cure = "quote a text that begins with %, @, ` or a tab"
	case strings.Contains(f.What, "mapping values are not allowed"):
		f.Cure = `quote a text with ": " in it, or look whether the line is indented as those around it`
	case strings.Contains(f.What, "unknown anchor"):
		f.Cure = "write the anchor before it is used; quote a text that begins with *"
	case strings.Contains(f.What, "<document start>"):
		f.Cure = "write --- between two documents"
	case strings.Contains(f.What, "incompatible YAML"):
		f.Cure = "write %YAML 1.2, or leave it out"
	case strings.Contains(f.What, "escape"):
		f.Cure = `write / without a backslash, and a backslash as \\ or in single quotes`
		for n := range lines {
			if m := unknownEscape.FindStringSubmatchIndex(lines[n]); m != nil {
				f.Pos.Line, f.Pos.Col = n+1, utf8.RuneCountInString(lines[n][:m[2]])+1
				break
			}
		}
	case strings.Contains(f.What, "did not find expected"):
		f.Cure = "look whether a bracket, a brace or a quote is not closed, or a line is indented unlike those around it"
	}
	return f
}

// flowExpression finds ${ that begins a value in no quotes.
var flowExpression = regexp.MustCompile(`(?:[:\[,{-]\s*)\$\{`)

// unknownEscape finds what the library does not know after a backslash: what nothing is, what JSON alone knows, and halves of characters.
var unknownEscape = regexp.MustCompile(`"(?:[^"\\]|\\[0abtnvfre "\\N_LPxU]|\\u[0-9a-cefA-CEF]|\\u[dD][0-7])*(\\)`)

const quoteIt = `quote it: "${ ... }"`

// A walker turns the library's tree into nodes.
type walker struct {
	file     string
	lines    []string
	findings []lang.Finding
	line     int // of which runes has the text
	runes    []rune
	count    int
	inside   map[*yaml.Node]bool // what is being read, for anchors that contain themselves
}

// maxNodes bounds what aliases can make of a small file.
const maxNodes = 1_000_000

func (w *walker) pos(n *yaml.Node) lang.Pos {
	return lang.Pos{File: w.file, Line: n.Line, Col: n.Column}
}

func (w *walker) find(n *yaml.Node, cure, format string, a ...any) *lang.Node {
	w.findings = append(w.findings, lang.Finding{Pos: w.pos(n), What: fmt.Sprintf(format, a...), Cure: cure})
	return &lang.Node{Kind: lang.ScalarNode, Pos: w.pos(n)}
}

func (w *walker) node(n *yaml.Node, depth int) *lang.Node {
	w.count++
	switch {
	case w.count > maxNodes+1:
		return &lang.Node{Kind: lang.ScalarNode, Pos: w.pos(n)} // It was said.
	case w.count > maxNodes:
		return w.find(n, "write less into one file, or fewer aliases", "more than %d values", maxNodes)
	case depth > lang.MaxNesting:
		return w.find(n, "put less into one another", "nested deeper than %d", lang.MaxNesting)
	case w.inside[n]:
		return w.find(n, "write out what it stands for", "the anchor %q stands inside of itself", n.Anchor)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return w.node(n.Alias, depth+1)
	case yaml.ScalarNode:
		return w.scalar(n)
	}
	w.inside[n] = true
	defer delete(w.inside, n)
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!map" && n.Tag != "!!seq" {
		return w.find(n, "leave it out", "the tag %s means nothing here", n.Tag)
	}
	if n.Kind == yaml.MappingNode {
		return w.mapping(n, depth)
	}
	out := &lang.Node{Kind: lang.ListNode, Pos: w.pos(n)}
	for _, item := range n.Content {
		out.Items = append(out.Items, w.node(item, depth+1))
	}
	return out
}

func (w *walker) mapping(n *yaml.Node, depth int) *lang.Node {
	out := &lang.Node{Kind: lang.MapNode, Pos: w.pos(n)}
	seen := make(map[string]lang.Pos, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := w.key(n.Content[i])
		if !ok {
			continue
		}
		at := w.pos(n.Content[i])
		if first, double := seen[key]; double {
			w.find(n.Content[i], "keep one", "key %q stands on line %d already", key, first.Line)
			continue
		}
		seen[key] = at
		out.Keys = append(out.Keys, lang.Key{Name: key, Pos: at})
		out.Items = append(out.Items, w.node(n.Content[i+1], depth+1))
	}
	return out
}

// key reads a key, which is a text.
func (w *walker) key(n *yaml.Node) (string, bool) {
	at := n
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		w.find(at, "write a text for the key", "a list or a mapping as a key")
		return "", false
	}
	if n.Value == "<<" && n.Style == 0 && w.tag(n) == "" {
		w.find(at, "write the keys out, or use flows:", "merge keys (<<) are not part of these documents")
		return "", false
	}
	before := len(w.findings)
	key := w.scalar(n)
	if len(w.findings) > before {
		return "", false
	}
	if text := key.Value.JSON(); text[0] != '"' {
		w.find(at, fmt.Sprintf("quote it: %q", n.Value), "the key %s is no text", n.Value)
		return "", false
	}
	return key.Text(), true
}

// tag returns the tag that was written, or "". The library does not tell a lone ! from none.
func (w *walker) tag(n *yaml.Node) string {
	if n.Style&yaml.TaggedStyle != 0 {
		return n.Tag
	}
	if n.Line < 1 || n.Line > len(w.lines) {
		return ""
	}
	if w.line != n.Line { // A document may be one long line: it is not taken apart for each of its scalars.
		w.line, w.runes = n.Line, []rune(w.lines[n.Line-1])
	}
	blank := func(r rune) bool { return r == ' ' || r == '\t' }
	rest := w.runes[min(n.Column-1, len(w.runes)):]
	for len(rest) > 0 && rest[0] == '&' {
		end := slices.IndexFunc(rest, blank)
		if end < 0 {
			return ""
		}
		for rest = rest[end:]; len(rest) > 0 && blank(rest[0]); {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 && rest[0] == '!' {
		return "!!str"
	}
	return ""
}
