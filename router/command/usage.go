package command

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/lang"
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

// guideHelp has help of what is no command say so, as the command itself does.
func guideHelp(root *cobra.Command) {
	for _, help := range root.Commands() {
		if help.Name() != "help" {
			continue
		}
		help.Args, help.Run = cobra.ArbitraryArgs, nil
		help.RunE = func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 && c.HasSubCommands() {
				return c.RunE(c, rest)
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		}
	}
}

// words are a command's path without the program's name.
func words(c *cobra.Command) string {
	_, after, _ := strings.Cut(c.CommandPath(), " ")
	return after
}

func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && strings.Trim(unknown.GetSpecifiedShortnames(), "0123456789.") == "" && unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("-%s is below zero, and %s takes no such number; see %s --help", unknown.GetSpecifiedShortnames(), c.CommandPath(), c.CommandPath())
	}
	if wrong := new(pflag.InvalidValueError); errors.As(err, &wrong) {
		return fmt.Errorf("--%s: %w", wrong.GetFlag().Name, badValue(wrong))
	}
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return fmt.Errorf("unknown flag --%s; %s", unknown.GetSpecifiedName(), lang.Nearest(unknown.GetSpecifiedName(), known))
}

// badValue says what is wrong with a flag's value, in words that are not the host's.
func badValue(wrong *pflag.InvalidValueError) error {
	var number *strconv.NumError
	switch {
	case !errors.As(wrong, &number):
		return wrong.Unwrap()
	case strings.HasSuffix(number.Func, "Bool"):
		return fmt.Errorf("%q is neither true nor false; write one of them", wrong.GetValue())
	case strings.HasSuffix(number.Func, "Float"):
		return fmt.Errorf("%q is not a number; write one such as 0.5", wrong.GetValue())
	}
	return fmt.Errorf("%q is not a whole number; write it in digits, such as 1000000", wrong.GetValue())
}
