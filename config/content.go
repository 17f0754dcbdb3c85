package config

import (
	"fmt"

	"github.com/onward-router/onward/config/lang"
)

// Wants reports whether an event that a trigger's filters let through is what its when asks for. What is remembered in cache, and the budget there, is for
// all triggers that look at one event. The error says why that cannot be told: the trigger does not take the event then.
func (t *Trigger) Wants(event, data lang.Value, cache *lang.Cache) (bool, error) {
	if t.When.IsZero() {
		return true, nil
	}
	wants, err := t.When.EvalBool(lang.Vars{{Name: "event", Value: event}, {Name: "data", Value: data}}, cache)
	if err != nil {
		return false, fmt.Errorf("when: %w", err)
	}
	return wants, nil
}

// wanted checks the when of a trigger.
func (c *checker) wanted(t *triggerDoc) {
	path := "triggers." + t.name + ".when"
	sc := scope{vars: []string{"event", "data"}}
	c.condition(t.When, sc, path)
	c.expr(t.When, sc, path)
	if v, constant := t.When.Const(); constant && v.JSON() != "true" {
		c.find(t.When.Pos(), path, conditionMeant(v), "a trigger that takes no event: its condition is never true")
	}
}
