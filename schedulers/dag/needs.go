package dag

import (
	"fmt"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// Needs are what a step waits for: a name, a list of names, or names that say how each must have ended, or which of its elements are needed.
type Needs []Need

// A Need is a step that another one waits for.
type Need struct {
	Step string
	// Word is how it must have ended; empty leaves that to the rule of the step.
	Word string
	// Offsets are, of a step that is run over items, the elements that element i needs: i plus each; nil is the step as a whole.
	Offsets []int
	// Listed says that the document has a list of offsets: what they yielded is a list too.
	Listed bool
}

// The words of a need: how it must have ended. A step runs when all its needs have ended so. One that failed, and was not to, keeps the step from
// running as a failure does; one that ended otherwise in another way has the step skipped. Failures count first, in whatever order they come.
const (
	wordSucceeded = "succeeded"
	wordFailed    = "failed"  // or could not run
	wordSkipped   = "skipped" // by its condition, its rule or a branch
	wordDone      = "done"    // it ran: succeeded or failed
	wordEnded     = "ended"   // in any way
	wordSame      = "same"    // its element of the same index
)

var words = []string{wordSucceeded, wordFailed, wordSkipped, wordDone, wordEnded}

// as is what a need that ended counts as for its word: succeeded stands for as it should.
func as(word string, status uint8) uint8 {
	broken := status == failed || status == upstreamFailed
	switch {
	case word == wordFailed && broken, word == wordSkipped && status == skipped, word == wordDone && status == failed, word == wordEnded:
		return succeeded
	case word == wordFailed, word == wordSkipped && status == succeeded:
		return skipped
	}
	return status
}

// UnmarshalNode reads the three forms.
func (n *Needs) UnmarshalNode(node *lang.Node, decode func(*lang.Node, any)) (out []plugin.Problem) {
	*n = Needs{}
	name := func(item *lang.Node) {
		var step string
		decode(item, &step)
		*n = append(*n, Need{Step: step})
	}
	switch node.Kind {
	case lang.ScalarNode:
		name(node)
	case lang.ListNode:
		for _, item := range node.Items {
			name(item)
		}
	default:
		for i, item := range node.Items {
			need := Need{Step: node.Keys[i].Name}
			if p := need.read(item, decode); p != nil {
				p.Path = []string{need.Step}
				out = append(out, *p)
			}
			*n = append(*n, need)
		}
	}
	return out
}

// read reads what stands under a need's name.
func (n *Need) read(node *lang.Node, decode func(*lang.Node, any)) *plugin.Problem {
	text := node.Kind == lang.ScalarNode && node.Value.JSON()[0] == '"'
	switch word := node.Text(); {
	case text && word == wordSame:
		n.Offsets = []int{0}
	case text && slices.Contains(words, word):
		n.Word = word
	case text:
		return &plugin.Problem{What: fmt.Sprintf("unknown word %q for how a need must have ended", word), Cure: lang.Nearest(word, append([]string{wordSame}, words...))}
	case node.Kind == lang.ListNode && len(node.Items) == 0:
		return &plugin.Problem{What: "no offset of an element that is needed", Cure: "write [-1, -2], or same"}
	case node.Kind == lang.ListNode:
		n.Listed = true
		decode(node, &n.Offsets)
	default:
		n.Offsets = make([]int, 1)
		decode(node, &n.Offsets[0])
	}
	for i, offset := range n.Offsets {
		if slices.Contains(n.Offsets[:i], offset) {
			return &plugin.Problem{What: fmt.Sprintf("the offset %d is named twice", offset), Cure: "name it once"}
		}
		if offset < -maxElements || offset > maxElements {
			return &plugin.Problem{What: fmt.Sprintf("an offset of %d, and %d elements are the most", offset, maxElements), Cure: "write how far away the element is that is needed: -1 is the one before"}
		}
	}
	return nil
}

// MarshalNode writes the list, or the mapping where one is told more of than its name.
func (n Needs) MarshalNode() lang.Value {
	if !slices.ContainsFunc(n, func(x Need) bool { return x.Word != "" || x.Offsets != nil }) {
		names := make([]lang.Value, len(n))
		for i := range n {
			names[i] = lang.Text(n[i].Step)
		}
		return lang.List(names...)
	}
	members := make([]lang.Member, len(n))
	for i, x := range n {
		members[i] = lang.Member{Key: x.Step, Value: lang.Text(x.Word)}
		switch {
		case x.Listed:
			members[i].Value = lang.Of(x.Offsets)
		case x.Offsets != nil:
			members[i].Value = lang.Of(x.Offsets[0])
		}
	}
	return lang.Object(members...)
}

// Schema tells the three forms.
func (*Needs) Schema() plugin.Schema {
	forms := []any{wordSame}
	for _, w := range words {
		forms = append(forms, w)
	}
	offset := plugin.Schema{"type": "integer", "minimum": -maxElements, "maximum": maxElements}
	return plugin.Schema{"anyOf": []any{
		plugin.Schema{"type": "string"}, plugin.Schema{"type": "array", "items": plugin.Schema{"type": "string"}},
		plugin.Schema{"type": "object", "additionalProperties": plugin.Schema{"anyOf": []any{
			plugin.Schema{"enum": forms}, offset, plugin.Schema{"type": "array", "items": offset, "minItems": 1, "uniqueItems": true},
		}}},
	}}
}
