package yamldoc

import (
	"math/big"
	"regexp"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"go.yaml.in/yaml/v3"
)

// What a scalar is: YAML 1.2's core schema (chapter 10.3). Numbers keep the digits that were written, as far as JSON has their form.
var (
	wholeNumber = regexp.MustCompile(`^[-+]?[0-9]+$`)
	octalNumber = regexp.MustCompile(`^0o[0-7]+$`)
	hexNumber   = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)
	realNumber  = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	noNumber    = regexp.MustCompile(`^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

// scalar reads a scalar by its tag, or by its form when it has none.
func (w *walker) scalar(n *yaml.Node) *lang.Node {
	out := &lang.Node{Kind: lang.ScalarNode, Pos: w.pos(n)}
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	if plain && strings.Contains(n.Value, "${") {
		return w.find(n, quoteIt, `an expression outside of quotes: YAML cuts such a text at ": " and " #"`)
	}
	if plain && strings.HasSuffix(n.Value, ":") {
		// By YAML 1.2 the colon ends a key here, and the library goes by 1.1.
		return w.find(n, "write a space behind the colon, or quote the text", "the text %s ends in a colon", n.Value)
	}
	tag := w.tag(n)
	switch {
	case tag == "!!str" || tag == "" && !plain:
		out.Value = lang.Text(n.Value)
		if whole := strings.TrimRight(n.Value, "\n"); whole != n.Value && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 && isExpression(whole) {
			out.Value = lang.Text(whole) // A block ends with a line end, and the expression is meant.
		}
		return out
	case noNumber.MatchString(n.Value) && (tag == "" || tag == "!!float"):
		return w.find(n, "quote it, if it is a text", "%s is not a number that JSON has", n.Value)
	}
	value, kind := core(n.Value)
	out.Value = value
	switch {
	case tag == "" || tag == kind || tag == "!!float" && kind == "!!int":
	case tag == "!!int" || tag == "!!float" || tag == "!!bool" || tag == "!!null":
		return w.find(n, "leave the tag out, or mend the value", "%q is not what its tag %s says", n.Value, tag)
	default:
		return w.find(n, "leave it out", "the tag %s means nothing here", tag)
	}
	return out
}

// isExpression reports whether a text is one expression whole.
func isExpression(text string) bool {
	if !strings.HasPrefix(text, "${") {
		return false
	}
	e, err := lang.ParseExpr(lang.Text(text))
	return err == nil && e.Whole()
}

// core is what a plain scalar stands for, with the tag that it would have.
func core(s string) (lang.Value, string) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return lang.Null, "!!null"
	case "true", "True", "TRUE":
		return lang.Trusted("true"), "!!bool"
	case "false", "False", "FALSE":
		return lang.Trusted("false"), "!!bool"
	}
	switch {
	case wholeNumber.MatchString(s):
		return lang.Trusted(digits(s)), "!!int"
	case octalNumber.MatchString(s), hexNumber.MatchString(s):
		base := 16
		if s[1] == 'o' {
			base = 8
		}
		n, _ := new(big.Int).SetString(s[2:], base)
		return lang.Trusted(n.String()), "!!int"
	case realNumber.MatchString(s):
		return lang.Trusted(digits(s)), "!!float"
	}
	return lang.Text(s), "!!str"
}

// digits gives a number JSON's form: no plus, no zeros before it, digits on both sides of the point.
func digits(s string) string {
	sign := ""
	if s[0] == '-' || s[0] == '+' {
		sign, s = strings.TrimPrefix(s[:1], "+"), s[1:]
	}
	end := strings.IndexAny(s, ".eE")
	if end < 0 {
		end = len(s)
	}
	whole, rest := strings.TrimLeft(s[:end], "0"), s[end:]
	if whole == "" {
		whole = "0"
	}
	if strings.HasPrefix(rest, ".") && (len(rest) == 1 || rest[1] == 'e' || rest[1] == 'E') {
		rest = rest[1:]
	}
	return sign + whole + rest
}
