package lang

import (
	"regexp"
	"strings"
)

// foreign recognises what is not CEL, and says what is.
func foreign(source string) string {
	bare := " " + quoted.ReplaceAllString(source, "''") + " "
	for _, x := range foreigners {
		if x.of.MatchString(bare) {
			return x.cure
		}
	}
	return ""
}

var quoted = regexp.MustCompile(`'(\\.|[^'\\])*'|"(\\.|[^"\\])*"`)

var foreigners = []struct {
	of   *regexp.Regexp
	cure string
}{
	{regexp.MustCompile(`^\s*\{.*\}\s*$`), "one pair of braces is enough; write ${ ... }"},
	{regexp.MustCompile(`\bif\b.*\b(then|else)\b`), "expressions say a ? b : c where others say if a then b else c"},
	{regexp.MustCompile(`\bfor\b.*\bin\b`), "a list of a list is data.list.map(x, x.name), or data.list.filter(x, x > 1)"},
	{regexp.MustCompile(`\blambda\b`), "expressions have no functions of their own; write data.list.map(x, x.name)"},
	{regexp.MustCompile(`\bis\s+not\b`), "expressions say != where others say is not; write a != null"},
	{regexp.MustCompile(`\bis\b`), "expressions say == where others say is; write a == null"},
	{regexp.MustCompile("`"), "a text stands in single or double quotes"},
	{regexp.MustCompile(`<>`), "expressions say != where others say <>"},
	{regexp.MustCompile(`(?i)\band\b`), "expressions say && where others say and; write a && b"},
	{regexp.MustCompile(`(?i)\bor\b`), "expressions say || where others say or; write a || b"},
	{regexp.MustCompile(`(?i)\bnot\b`), "expressions say ! where others say not; write !a"},
	{regexp.MustCompile(`===|!==`), "expressions say == and != where others say === and !=="},
	{regexp.MustCompile(`[^=!<>]=[^=]`), "= assigns nothing here; write == to compare"},
	{regexp.MustCompile(`(^|[^|])\|([^|]|$)`), "expressions have no filters behind |; write a function's call, such as size(data)"},
	{regexp.MustCompile(`=>|->`), "expressions have no arrow functions; write data.list.map(x, x.name)"},
}

// The parser's own words, which are those of its grammar.
var (
	unexpected = regexp.MustCompile(`^(?:mismatched|extraneous) input '(.*?)' expecting (.*)$`)
	missing    = regexp.MustCompile(`^missing (.+) at '(.*)'$`)
	noWay      = regexp.MustCompile(`^no viable alternative at input '(.*)'$`)
	reserved   = regexp.MustCompile(`^reserved identifier: (.+)$`)
)

// plainSyntax says what is wrong in words that need no grammar.
func plainSyntax(message string) string {
	end := func(word string) string {
		if word == "<EOF>" {
			return "at the end"
		}
		return "before " + word
	}
	if m := missing.FindStringSubmatch(message); m != nil {
		return strings.Trim(m[1], "'") + " is missing " + end(m[2])
	}
	if m := reserved.FindStringSubmatch(message); m != nil {
		return m[1] + " is a word of the language, and no name"
	}
	if m := noWay.FindStringSubmatch(message); m != nil {
		return "nothing can begin with " + m[1] + " here"
	}
	m := unexpected.FindStringSubmatch(message)
	switch {
	case m == nil:
		return message
	case m[1] == "<EOF>" && !strings.HasPrefix(m[2], "{"):
		return strings.Trim(m[2], "'") + " is missing at the end"
	case m[1] == "<EOF>" && strings.Contains(m[2], "IDENTIFIER"):
		return "it ends where a value is due"
	case m[1] == "<EOF>":
		return "one of " + strings.NewReplacer("{", "", "}", "", "'", "").Replace(m[2]) + " is missing at the end"
	case strings.Contains(m[2], "IDENTIFIER"):
		return m[1] + " stands where a value is due"
	}
	return m[1] + " is not expected here: an operator, or the end, is due"
}

// otherFunctions are what other languages have, and what there is in their place.
var otherFunctions = map[string]string{
	"len": "write size(data)", "length": "write size(data)", "count": "write size(data)", "sum": "write math.sum(data.list)", "min": "write math.least(data.list)", "max": "write math.greatest(data.list)",
	"now": noClock, "today": noClock, "time": noClock, "date": noClock, "currentTime": noClock, "random": noChance, "rand": noChance, "uuid": noChance,
	"upper": "write data.text.upperAscii()", "toUpperCase": "write data.text.upperAscii()", "lower": "write data.text.lowerAscii()", "toLowerCase": "write data.text.lowerAscii()",
	"str": "write string(data.n)", "toString": "write string(data.n)", "float": "write double(data.n)", "number": "write int('42'), or double('1.5')", "parseInt": "write int('42')", "strip": "write data.text.trim()",
	"includes": "write data.text.contains('be'), or 1 in data.list", "any": "write data.list.exists(x, x > 2)", "some": "write data.list.exists(x, x > 2)", "every": "write data.list.all(x, x > 0)", "find": "write data.list.filter(x, x > 2).first()",
	"reduce": "there is none; math.sum adds up, a loop: or a function does the rest", "fold": "there is none; math.sum adds up, a loop: or a function does the rest", "range": "write lists.range(3)", "default": "write data.?amount.orValue(0)", "get": "write data.?amount.orValue(0)", "coalesce": "write data.?amount.orValue(0)",
	"toJson": "write json.encode(data)", "stringify": "write json.encode(data)", "fromJson": "write json.parse(data.text)", "unique": "write data.list.distinct()", "keys": "write data.who.map(k, k)", "env": noEnvironment, "getenv": noEnvironment, "print": "look at what steps yielded by onward runs get RUN --timeline",
}

const (
	noClock       = "expressions have no clock, since a run decides the same again after a crash; event.time is when the event was made"
	noChance      = "expressions have no chance, since a run decides the same again after a crash; run.id and event.id are there once"
	noEnvironment = "expressions see no environment; a program gets variables by env: of its exec"
)

func nearestFunction(name string) string {
	if cure := otherFunctions[name]; cure != "" {
		return cure
	}
	return Nearest(name, Functions())
}

// OtherName says what there is in place of a name that other languages have; empty where it is none of those.
func OtherName(name string) string {
	switch name {
	case "None", "nil", "undefined", "NULL", "Null":
		return "write null"
	case "True", "TRUE":
		return "write true"
	case "False", "FALSE":
		return "write false"
	case "env", "process", "os":
		return noEnvironment
	case "secrets", "secret":
		return "expressions see no secrets; functions get them by secrets: of exec, or auth: of http"
	case "now", "today":
		return noClock
	case "trigger":
		return "run.trigger is the trigger's name, and event what it started with"
	case "body", "payload", "message":
		return "data is the event's data, event its attributes"
	}
	return ""
}
