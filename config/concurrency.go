package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/lang"
)

type concurrencyDoc struct {
	Key lang.Expr `doc:"key,required" help:"a text, a number, true or false by which runs belong together, of event and data; an event that has none starts nothing"`
	lang.Concurrency
}

// MaxKey is how many bytes the key of a run may have.
const MaxKey = 1 << 10

// KeyOf returns the key of the run that an event starts; empty for a trigger that has none. The error says why an event has no key.
func (t *Trigger) KeyOf(event, data lang.Value) (string, error) {
	if t.Key.IsZero() {
		return "", nil
	}
	return keyOf(t.Key, event, data, "concurrency")
}

// keyOf is what a key's expression yields of an event, as a text.
func keyOf(e lang.Expr, event, data lang.Value, what string) (string, error) {
	v, err := keyValue(e, event, data, what)
	if err != nil {
		return "", err
	}
	return keyText(e, v, what)
}

func keyValue(e lang.Expr, event, data lang.Value, what string) (lang.Value, error) {
	v, err := e.Eval(lang.Vars{{Name: "event", Value: event}, {Name: "data", Value: data}}, nil) // It is asked once of an event: nothing is worth remembering.
	if err != nil {
		return lang.Null, fmt.Errorf("it has no key for %s: %w", what, err)
	}
	return v, nil
}

// MaxKeys is how many keys one event may have: it is a record of each.
const MaxKeys = 100

// keysOf are the keys that a correlate yields of an event: one, or a list of them, each once.
func keysOf(e lang.Expr, event, data lang.Value) ([]string, error) {
	const what = "correlate"
	v, err := keyValue(e, event, data, what)
	if err != nil {
		return nil, err
	}
	if v.JSON()[0] != '[' {
		key, err := keyText(e, v, what)
		return []string{key}, err
	}
	var list []lang.Value
	if err := v.Decode(&list); err != nil {
		return nil, fmt.Errorf("it has no key for %s: %w", what, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("it has no key for %s: %s yields an empty list", what, e.Source())
	}
	var keys []string
	for i, member := range list {
		key, err := keyText(e, member, what)
		switch {
		case err != nil:
			return nil, fmt.Errorf("item %d of its keys: %w", i, err)
		case slices.Contains(keys, key):
		case len(keys) == MaxKeys:
			return nil, fmt.Errorf("it has more than %d keys for %s: %s yields a list of %d; send it as several events", MaxKeys, what, e.Source(), len(list))
		default:
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// keyText is a key as a text.
func keyText(e lang.Expr, v lang.Value, what string) (string, error) {
	key := v.JSON()
	switch {
	case v.IsNull(), key[0] == '{', key[0] == '[', key == `""`:
		return "", fmt.Errorf("it has no key for %s: %s yields %.80s; a key is a number, true, false, or a text that is not empty", what, e.Source(), key)
	case key[0] == '"':
		key, _ = lang.TextOf([]byte(key)) // It is a text.
	case strings.ContainsAny(key, ".eE-") && key != "true" && key != "false":
		key = numberText(key)
	}
	if len(key) > MaxKey {
		return "", fmt.Errorf("its key for %s has %d bytes, and the limit is %d", what, len(key), MaxKey)
	}
	return key, nil
}

// numberText is a number of JSON's as the text of a key: 5, 5.0 and 0.5e1 are one number, and 1e20 is a one with twenty zeros, however a sender's language
// writes it. It is exact: no digit counts for nothing.
func numberText(number string) string {
	digits, minus := strings.CutPrefix(number, "-")
	digits, exponent, _ := strings.Cut(strings.ReplaceAll(digits, "E", "e"), "e")
	power := 0
	if exponent != "" {
		var err error
		if power, err = strconv.Atoi(exponent); err != nil {
			return number // Beyond all numbers.
		}
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	power -= len(fraction)
	digits, power = strings.TrimRight(digits, "0"), power+len(digits)-len(strings.TrimRight(digits, "0"))
	switch sign := map[bool]string{true: "-"}[minus]; {
	case digits == "":
		return "0"
	case power >= 0 && len(digits)+power <= plainDigits:
		return sign + digits + strings.Repeat("0", power)
	case power < 0 && -power < len(digits):
		return sign + digits[:len(digits)+power] + "." + digits[len(digits)+power:]
	case power < 0 && -power <= plainDigits:
		return sign + "0." + strings.Repeat("0", -power-len(digits)) + digits
	default:
		return sign + digits + "e" + strconv.Itoa(power)
	}
}

// plainDigits is how long a number may be that is written without an exponent.
const plainDigits = 40

// concurrency checks the concurrency of a trigger.
func (c *checker) concurrency(t *triggerDoc) {
	path := "triggers." + t.name + ".concurrency"
	c.expr(t.Concurrency.Key, scope{vars: []string{"event", "data"}}, path+".key")
	if v, constant := t.Concurrency.Key.Const(); constant {
		if _, err := keyText(t.Concurrency.Key, v, "concurrency"); err != nil {
			c.find(t.Concurrency.Key.Pos(), path+".key", `write a text for all runs, or an expression: "${ data.orderId }"`, "%.80s is no key", v.JSON())
		}
	} else if kind := t.Concurrency.Key.Kind(); kind == "list" || kind == "map" {
		c.find(t.Concurrency.Key.Pos(), path+".key", `write an expression that yields a text or a number: "${ data.orderId }"`, "a key is a text, a number, true or false, and %s always yields a %s", t.Concurrency.Key.Source(), kind)
	}
	if t.Flow == nil {
		c.find(t.pos, path, "add flow:, or leave concurrency out", "a trigger without a flow ends its runs at once: there is nothing to bound")
	}
	c.def.Concurrency = &t.Concurrency.Concurrency
}
