package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// guide makes the errors of a command line, of c and of the commands below it, say what to write instead.
func guide(c *cobra.Command) {
	for _, sub := range c.Commands() {
		guide(sub)
	}
	if c.HasSubCommands() {
		c.Args, c.ValidArgsFunction = cobra.ArbitraryArgs, cobra.NoFileCompletions
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			var known []string
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					known = append(known, sub.Name())
				}
			}
			return fmt.Errorf("unknown command %q; %s", strings.TrimSpace(words(c)+" "+args[0]), lang.Nearest(args[0], known))
		}
		return
	}
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		_, takes, _ := strings.Cut(c.Use, " ")
		if takes == "" {
			takes = "no arguments"
		}
		got := "nothing"
		if len(args) > 0 {
			got = fmt.Sprintf("%q", args)
		}
		return fmt.Errorf("%s takes %s, and was given %s; see onward %s --help", words(c), takes, got, words(c))
	}
}

// words are a command's path without the program's name.
func words(c *cobra.Command) string {
	_, after, _ := strings.Cut(c.CommandPath(), " ")
	return after
}

func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return fmt.Errorf("unknown flag --%s; %s", unknown.GetSpecifiedName(), lang.Nearest(unknown.GetSpecifiedName(), known))
}

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

// offered are words of a router, if one answers.
func offered[T any](k *client, path string, words func(*T) []cobra.Completion) completion {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
		defer cancel()
		said := new(T)
		if k.get(ctx, path, said) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(said), cobra.ShellCompDirectiveNoFileComp
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
	}))
}

// runningTriggers are those in force, functionsOf the functions.
func runningTriggers(k *client) completion {
	return once(offered(k, "/v1/triggers", func(said *router.TriggerList) (found []cobra.Completion) {
		for _, l := range said.Triggers {
			found = append(found, l.Trigger)
		}
		return found
	}))
}

func functionsOf(k *client) completion {
	return once(offered(k, "/v1/functions", func(said *router.FunctionList) (found []cobra.Completion) {
		for _, l := range said.Functions {
			found = append(found, l.Function)
		}
		return found
	}))
}
