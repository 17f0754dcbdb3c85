package lang

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A NodeKind says what a node of a document is.
type NodeKind uint8

// The kinds of nodes.
const (
	ScalarNode NodeKind = iota + 1
	ListNode
	MapNode
)

// A Node is a document as it was written: a tree with positions, before anything is made of it.
type Node struct {
	Kind  NodeKind
	Value Value   // of a scalar
	Keys  []Key   // of a map, as written, one an item
	Items []*Node // of a list and a map
	Pos   Pos
}

// A Key is one key of a map.
type Key struct {
	Name string
	Pos  Pos
}

// Get returns the item under a key; nil when there is none.
func (n *Node) Get(key string) *Node {
	for i := range n.Keys {
		if n.Keys[i].Name == key {
			return n.Items[i]
		}
	}
	return nil
}

// JSON returns the tree as a value, in the order of the document.
func (n *Node) JSON() Value {
	switch n.Kind {
	case ListNode:
		items := make([]Value, len(n.Items))
		for i, x := range n.Items {
			items[i] = x.JSON()
		}
		return List(items...)
	case MapNode:
		members := make([]Member, len(n.Items))
		for i, x := range n.Items {
			members[i] = Member{n.Keys[i].Name, x.JSON()}
		}
		return Object(members...)
	}
	return n.Value
}

// Text returns a scalar as a person wrote it: a string without quotes.
func (n *Node) Text() string {
	var s string
	if n.Kind == ScalarNode && strings.HasPrefix(n.Value.JSON(), `"`) && n.Value.Decode(&s) == nil {
		return s
	}
	return n.JSON().JSON()
}

// describe says what a node is, for messages.
func (n *Node) describe() string {
	switch n.Kind {
	case ListNode:
		return "a list"
	case MapNode:
		return "a mapping"
	}
	switch c := n.Value.JSON()[0]; {
	case c == '"':
		return fmt.Sprintf("the text %q", shorten(n.Text()))
	case c == 'n':
		return "nothing"
	case c == 't' || c == 'f':
		return n.Value.JSON()
	}
	return "the number " + n.Value.JSON()
}

// ParseJSONNode reads JSON into a node without positions: what a definition is decoded from.
func ParseJSONNode(text []byte) (*Node, error) {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	n, err := readNode(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return n, nil
}

func readNode(dec *json.Decoder, depth int) (*Node, error) {
	if depth > MaxNesting {
		return nil, fmt.Errorf("nested deeper than %d", MaxNesting)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return &Node{Kind: ScalarNode, Value: Of(token)}, nil
	}
	n := &Node{Kind: ListNode}
	if delim == '{' {
		n.Kind = MapNode
	}
	for dec.More() {
		if n.Kind == MapNode {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			n.Keys = append(n.Keys, Key{Name: key.(string)})
		}
		item, err := readNode(dec, depth+1)
		if err != nil {
			return nil, err
		}
		n.Items = append(n.Items, item)
	}
	_, err = dec.Token()
	return n, err
}

// A Finding is one thing that is wrong with a document.
type Finding struct {
	Pos  Pos    `json:"-"`
	Path string `json:"path,omitempty"` // keys and indexes from the top
	What string `json:"what"`
	Cure string `json:"cure,omitempty"`

	// Warning says that it is right, and perhaps not meant.
	Warning bool `json:"warning,omitempty"`
}

// String returns file:line:col: what; cure.
func (f Finding) String() string {
	s := f.What
	if f.Cure != "" {
		s += "; " + f.Cure
	}
	if f.Path != "" {
		s = f.Path + ": " + s
	}
	if f.Warning {
		s = "warning: " + s
	}
	if f.Pos.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d: %s", f.Pos.File, f.Pos.Line, f.Pos.Col, s)
	} else if f.Pos.File != "" {
		s = f.Pos.File + ": " + s
	}
	return s
}

// MarshalJSON writes file, line and column beside the rest.
func (f Finding) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		File string `json:"file,omitempty"`
		Line int    `json:"line,omitempty"`
		Col  int    `json:"column,omitempty"`
		Path string `json:"path,omitempty"`
		What string `json:"what"`
		Cure string `json:"cure,omitempty"`
		Warn bool   `json:"warning,omitempty"`
	}{f.Pos.File, f.Pos.Line, f.Pos.Col, f.Path, f.What, f.Cure, f.Warning})
}

// Nearest returns "did you mean ...?" for the known word nearest to a wrong one, or the list of what is known when none is near.
func Nearest(word string, known []string) string {
	for _, ours := range strings.Fields(synonyms[strings.ToLower(word)]) {
		if slices.Contains(known, ours) {
			return fmt.Sprintf("did you mean %q?", ours)
		}
	}
	best, distance := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := edits(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "there are none"
	case len(begun(word, known)) == 1:
		return fmt.Sprintf("did you mean %q?", begun(word, known)[0])
	case len(known) > 40:
		return "it is none of the " + fmt.Sprint(len(known)) + " that there are"
	}
	return "known are " + strings.Join(known, ", ")
}

// begun are the words that begin as this one does, of which there has to be something.
func begun(word string, known []string) (out []string) {
	for _, k := range known {
		if len(word) >= 4 && len(k) > len(word) && strings.EqualFold(k[:len(word)], word) {
			out = append(out, k)
		}
	}
	return out
}

// edits is the number of insertions, deletions, changes and swaps of neighbours between two words.
func edits(a, b string) int {
	if len(a) > 200 || len(b) > 200 {
		return max(len(a), len(b)) // No slip of the finger.
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(next[j-1]+1, row[j]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
