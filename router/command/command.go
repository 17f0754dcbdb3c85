// Package command is the command line of a router: a main package gives it a registry with what is built in.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/quiet"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/triggers"
	"github.com/spf13/cobra"
)

// A program is one invocation of the command line.
type program struct {
	registry *plugin.Registry
	out      io.Writer
	errs     io.Writer
	in       io.Reader        // of a person who can be asked; nil is standard input, if that is a terminal
	output   string           // -o
	now      func() time.Time // the clock on the wall; nil is the machine's
}

// Main runs the command line and returns the exit code.
func Main(r *plugin.Registry, args []string) int {
	time.Local = time.UTC // What people are told of times, in logs too, is in UTC.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var came atomic.Int32
	go func() {
		if s, is := (<-signals).(syscall.Signal); is {
			came.Store(int32(s))
		}
		signal.Stop(signals) // A second interrupt ends the process at once.
		stop()
	}()
	p := &program{registry: r, out: os.Stdout, errs: os.Stderr}
	return p.execute(ctx, args, func() int { return int(came.Load()) })
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use: "onward", Short: "An event-driven destination router: parallel workloads on any FaaS.",
		Long: "Onward takes function completion events in, decides by pluggable policies (fork-join, map, dag, ...) what is next, and sends the next\n" +
			"invocations out. What it acknowledged it does not lose.\n\n" +
			exitHelp(),
		Example:      "  onward lint deploy/examples/01-word-count\n  onward serve deploy/examples/01-word-count\n  onward runs list",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVarP(&p.output, "output", "o", "table", "table or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if p.output != "table" && p.output != "json" {
			return fmt.Errorf("--output %q is no form; write table or json", p.output)
		}
		return nil
	}
	completeFlag(root, "output", fixed("table", "json"))
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(p.serve(), p.run(), p.lint(), p.diff(), p.schema(), p.docs(), p.settings(), p.send(), p.invoke(), p.runs(), p.waits(), p.events(), p.dead(), p.functions(), p.sources(), p.triggers(), p.kafka(), p.journal(), p.doctor(), p.bench(), p.soak(), p.token(), p.backup(), p.restore(), p.version())
	root.SetOut(p.out)
	root.SetErr(p.errs)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	guide(root)
	guideHelp(root)
	return root
}

func (p *program) print(v any, table func(w io.Writer)) error {
	if p.output == "json" {
		return p.json(v)
	}
	w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func (p *program) json(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version, the commit and what is built in.", Args: cobra.NoArgs,
		Long: "Version prints which release and commit this binary was made of, whether there were changes beside the commit, when, by which Go, and the policies, sinks and\n" +
			"sources that are built in. A running router says the same at /v1/version, and as the metric onward_build_info.",
		Example: "  onward version\n  onward version -o json | jq -r .commit",
		RunE: func(*cobra.Command, []string) error {
			type part struct {
				Kind    string `json:"kind"`
				Name    string `json:"name"`
				Version int    `json:"version"`
				Summary string `json:"summary"`
			}
			var parts []part
			for _, d := range []plugin.Door{plugin.Policy, plugin.Sink, plugin.Source} {
				for _, c := range p.registry.List(d) {
					parts = append(parts, part{d.String(), c.Name, c.Version, c.Summary})
				}
			}
			is := router.Build()
			said := struct {
				router.BuildInfo
				Parts []part `json:"parts"`
			}{is, parts}
			return p.print(said, func(w io.Writer) {
				fmt.Fprintf(w, "onward %s\n", is)
				for _, x := range parts {
					fmt.Fprintf(w, "%s\t%s\tv%d\t%s\n", x.Kind, x.Name, x.Version, x.Summary)
				}
			})
		},
	}
}

// check builds a component without running it.
func check(c plugin.Component, name string, settings any) error {
	switch make := c.Make.(type) {
	case sinks.Factory:
		_, err := make(name, settings, sinks.Host{Concurrency: 1})
		return err
	case triggers.Factory:
		_, err := make(name, settings)
		return err
	}
	return nil
}

// inherit lets documents that name no brokers use a cluster.
func (p *program) inherit(c kafka.Cluster) {
	p.registry.Prepare = func(settings any) {
		if x, ok := settings.(interface{ Inherit(kafka.Cluster) }); ok {
			x.Inherit(c)
		}
	}
}

// unknownCluster stands for the one that serve's settings will name, where nothing is going to be connected.
var unknownCluster = kafka.Cluster{Brokers: []string{"unknown:9092"}}

// load reads documents; findings are printed, and end the command.
func (p *program) load(paths []string) (*config.Set, error) {
	return p.checked(config.Load(paths, p.registry, check))
}

func (p *program) checked(set *config.Set, findings []lang.Finding) (*config.Set, error) {
	if set != nil {
		for _, f := range set.Warnings {
			fmt.Fprintln(p.errs, f)
		}
	}
	return set, p.refuse(findings)
}

// refuse ends the command when there are findings.
func (p *program) refuse(findings []lang.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	return exitError{exitUsage, found(findings)}
}

func (p *program) lint() *cobra.Command {
	var ask bool
	c := &cobra.Command{
		Use: "lint FILE|DIR...", Short: "Find everything that is wrong with documents, before anything runs.", Args: cobra.MinimumNArgs(1),
		Long: "Lint reads documents as serve does, all of the folders' *.yaml and *.yml together, and prints everything that is wrong with them, one line each:\n" +
			"file:line:column, where in the document, what, and what to write instead. It exits with 1 when it found something. Of schedules of documents that are right\n" +
			"it prints the next three ticks, by the clock of their zone.\n\n" +
			"With --probe it also asks the functions that can be asked without a call whether they take what they would be sent: those with batch: a batch of no events,\n" +
			"and OpenWhisk's controller for the action.",
		Example: "  onward lint deploy/examples/01-word-count\n  onward lint -o json word-count.yaml\n  onward lint --probe word-count.yaml",
		RunE: func(c *cobra.Command, args []string) error {
			p.inherit(unknownCluster)
			set, findings := config.Load(args, p.registry, check)
			said := append([]lang.Finding{}, findings...)
			if set != nil {
				said = append(said, set.Warnings...)
			}
			if ask && len(findings) == 0 {
				findings = unfit(c.Context(), set)
				said = append(said, findings...)
			}
			var schedules []ticking
			if len(findings) == 0 {
				schedules = ticks(c.Context(), set)
			}
			if p.output == "json" {
				if err := p.json(linted(said, schedules)); err != nil {
					return err
				}
			} else {
				for _, f := range said {
					fmt.Fprintln(p.out, f)
				}
				if len(findings) == 0 {
					fmt.Fprintf(p.out, "ok: %s\n", contents(set))
					for _, t := range schedules {
						fmt.Fprintf(p.out, "source %s: %s\n", t.source, t.said)
					}
				}
			}
			if len(findings) > 0 {
				return exitError{exitRun, saidSo{errors.New(several(len(findings), "finding"))}}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&ask, "probe", false, "ask the functions, too, whether they take what they would be sent; none is called")
	return c
}

// linted is what lint says to programs: findings, and the next ticks of schedules, by source.
func linted(findings []lang.Finding, schedules []ticking) map[string]any {
	said := map[string]any{"findings": findings}
	if len(schedules) > 0 {
		next := make(map[string][]time.Time, len(schedules))
		for _, t := range schedules {
			next[t.source] = t.next
		}
		said["ticks"] = next
	}
	return said
}

func (p *program) schema() *cobra.Command {
	var section string
	c := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of documents, for editors.", Args: cobra.NoArgs,
		Long: "Schema prints the JSON Schema (draft 2020-12) of documents with all that this binary has built in, policies, sinks and sources of your own included.\n" +
			"It refuses what is wrong in form; lint finds that too, and what refers to nothing.\n\n" +
			"Editors with a YAML language server complete and check a document whose first line names the schema (a path from the document's folder, or a URL):\n\n" +
			"  # yaml-language-server: $schema=onward.schema.json",
		Example: "  onward schema > onward.schema.json\n  onward schema --doc triggers",
		RunE: func(*cobra.Command, []string) error {
			x, err := config.Schema(p.registry, section)
			if err != nil {
				return fmt.Errorf("--doc: %w", err)
			}
			return p.json(x)
		},
	}
	c.Flags().StringVar(&section, "doc", "", "only one section of documents: "+strings.Join(config.Sections, ", "))
	completeFlag(c, "doc", fixed(config.Sections...))
	return c
}

// precedence is what the help of commands with settings says of them.
const precedence = "A flag counts before its variable (--log-level, ONWARD_LOG_LEVEL), that before the file (--settings, log: { level: debug }),\n" +
	"that before the default. " +
	"Unknown variables that begin with ONWARD_ and unknown keys of the file are refused."

func (p *program) settings() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use: "settings", Short: "Print the effective settings, and where each came from.", Args: cobra.NoArgs,
		Long:    "Settings prints the settings that serve would run with, given the same flags, environment and file.\n\n" + precedence,
		Example: "  onward settings\n  ONWARD_LOG_LEVEL=debug onward settings --settings onward.yaml --listen 127.0.0.1:9000",
		RunE: func(c *cobra.Command, _ []string) error {
			_, origins, err := config.LoadSettings(c.Flags(), from)
			if err != nil {
				return err
			}
			return p.print(map[string]any{"settings": origins}, func(w io.Writer) {
				fmt.Fprintln(w, "SETTING\tVALUE\tFROM\tWHAT IT IS")
				for _, o := range origins {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.Key, o.Value, o.From, o.Help)
				}
			})
		},
	}
	c.Flags().StringVar(&from, "settings", "", "file of settings (YAML)")
	config.BindFlags(c.Flags())
	return c
}

func logger(s config.Settings, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // It was checked.
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(quiet.New(slog.NewJSONHandler(w, o)))
	}
	return slog.New(quiet.New(slog.NewTextHandler(w, o)))
}
