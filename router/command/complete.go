package command

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
)

// A completion offers words for an argument or a flag.
type completion = func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeFlag offers words for a flag that the command has.
func completeFlag(c *cobra.Command, name string, words completion) {
	if err := c.RegisterFlagCompletionFunc(name, words); err != nil {
		panic(err)
	}
}

func fixed(words ...string) completion {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// triggersOf offers the triggers of the documents that the command line names.
func (p *program) triggersOf(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	set, _ := config.Load(args, p.registry, nil)
	if set == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return set.TriggerNames(), cobra.ShellCompDirectiveNoFileComp
}

// completionTime bounds how long a shell waits for a router.
const completionTime = 2 * time.Second

// offered are words of a router, if one answers; else those of the documents in this folder, where there are words of documents.
func offered[T any](k *client, path string, words func(*T) []cobra.Completion, documented func() []cobra.Completion) completion {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
		defer cancel()
		said := new(T)
		switch {
		case k.get(ctx, path, said) == nil:
			return words(said), cobra.ShellCompDirectiveNoFileComp
		case documented != nil:
			return documented(), cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// once offers words for the first argument only.
func once(words completion) completion {
	return func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(c, args, typed)
	}
}

func runsOf(k *client) completion {
	return once(offered(k, "/v1/runs?limit=50", func(said *router.RunList) (found []cobra.Completion) {
		for _, l := range said.Runs {
			found = append(found, cobra.CompletionWithDesc(l.Run, l.Trigger+" "+l.State))
		}
		return found
	}, nil))
}

// A word is what is offered of a trigger.
type word func(*router.TriggerLine) []string

func nameOf(l *router.TriggerLine) []string   { return []string{l.Trigger} }
func tenantOf(l *router.TriggerLine) []string { return []string{l.Tenant} }
func typesOf(l *router.TriggerLine) []string  { return l.Types }

// ofTriggers offers what the triggers in force have, or else those of the documents in this folder.
func (p *program) ofTriggers(k *client, of word) completion {
	all := func(lines []router.TriggerLine) []cobra.Completion {
		words := make(map[string]bool)
		for i := range lines {
			for _, w := range of(&lines[i]) {
				words[w] = true
			}
		}
		return slices.Sorted(maps.Keys(words))
	}
	return offered(k, "/v1/triggers", func(said *router.TriggerList) []cobra.Completion { return all(said.Triggers) }, func() []cobra.Completion {
		var lines []router.TriggerLine
		for _, t := range p.documentsHere().Triggers {
			lines = append(lines, router.TriggerLine{Trigger: t.Name, Tenant: t.Tenant, Types: filter.Types(t.Filters)})
		}
		return all(lines)
	})
}

// functionsOf offers functions likewise.
func (p *program) functionsOf(k *client) completion {
	return offered(k, "/v1/functions", func(said *router.FunctionList) (found []cobra.Completion) {
		for _, l := range said.Functions {
			found = append(found, l.Function)
		}
		return found
	}, func() []cobra.Completion { return slices.Sorted(maps.Keys(p.documentsHere().Functions)) })
}

// documentsHere are those of the folder that the shell is in; ones with findings have no words.
func (p *program) documentsHere() *config.Set {
	p.inherit(unknownCluster)
	if set, _ := config.Load([]string{"."}, p.registry, nil); set != nil {
		return set
	}
	return new(config.Set)
}

// completeFlags offers words for the flags of c, and of the commands below it, that everywhere mean the same. A command that has offered its own keeps to it.
func (p *program) completeFlags(c *cobra.Command, k *client) {
	for _, sub := range c.Commands() {
		p.completeFlags(sub, k)
	}
	for name, words := range map[string]completion{
		"trigger": p.ofTriggers(k, nameOf), "tenant": p.ofTriggers(k, tenantOf), "type": p.ofTriggers(k, typesOf), "function": p.functionsOf(k),
		"state": fixed(runStates...), "run": runsOf(k), "parent": runsOf(k),
	} {
		if _, has := c.GetFlagCompletionFunc(name); !has && c.Flags().Lookup(name) != nil {
			completeFlag(c, name, words)
		}
	}
}
