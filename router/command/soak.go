package command

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/onward-router/onward/router/soak"
	"github.com/spf13/cobra"
)

// soak is the hostile hour.
func (p *program) soak() *cobra.Command {
	var minutes float64
	o := soak.Options{Say: func(format string, args ...any) { fmt.Fprintf(p.errs, format+"\n", args...) }}
	c := &cobra.Command{
		Use: "soak", Short: "Let a router of this program live through a hostile hour, and check that nothing is lost.", Args: cobra.NoArgs,
		Long: "Soak starts this program's serve in a folder of its own, in 512 MiB of memory, and works out by itself what every run must come to, while functions hang,\n" +
			"lie and answer garbage, events are malformed, huge, deep and forged, the process is killed more than 200 times an hour, its disk fills, and its documents\n" +
			"are reloaded. At the end it prints a line a fault. It exits with 1 when something was lost or wrong, when a run is left open or the process died by\n" +
			"itself; then it keeps its folder and names the seed: the same seed makes the same plan. An interrupt ends it with the table so far, and with 130.\n\n" +
			"It listens on loopback only. A disk that fills is a tmpfs of its own, which only root may mount; others get a low-water mark instead, and the table says so.",
		Example: "  onward soak --minutes 60\n  onward soak --minutes 2 --seed 7 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if minutes <= 0 {
				return fmt.Errorf("--minutes %v is no time; write 60", minutes)
			}
			var err error
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			if !c.Flags().Changed("seed") {
				o.Seed = uint64(rand.Uint32())
			}
			o.Time = time.Duration(minutes * float64(time.Minute))
			t, err := soak.Run(c.Context(), o)
			if t != nil {
				if err := p.printSoak(t); err != nil {
					return err
				}
			}
			if err != nil {
				return exitError{exitRun, err}
			}
			if t.Bad() || t.Interrupted {
				return exitError{exitRun, errSaid}
			}
			return nil
		},
	}
	c.Flags().Float64Var(&minutes, "minutes", 60, "how long the faults last")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "of the plan of faults; default: a new one")
	c.Flags().StringVar(&o.Dir, "dir", "", "where to make its folder; default: the system's for temporary files")
	return c
}

func (p *program) printSoak(t *soak.Table) error {
	err := p.print(t, func(w io.Writer) {
		fmt.Fprintf(w, "seed %d, %s; memory of %d MiB, kept by %s; the disk is filled by %s\n", t.Seed, t.Took.Round(time.Second), t.Limit>>20, t.Memory, t.Disk)
		fmt.Fprintln(w, "FAULT\tTIMES\tEVENTS\tRUNS\tLOST\tWRONG\tREPEATED\tLONGEST PAUSE\tPEAK MEMORY")
		for _, r := range t.Rows {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%d MiB\n", r.Fault, r.Times, r.Events, r.Runs, r.Lost, r.Wrong, r.Repeated, round(r.Pause), r.Memory>>20)
		}
		fmt.Fprintf(w, "%d invocations; %d starts of the process, ready within %s; %d processes died by themselves; %d runs open at the end\n",
			t.Invocations, t.Starts, round(t.Recovery), t.Died, t.Open)
	})
	if p.output == "json" || err != nil {
		return err
	}
	for _, note := range t.Notes {
		fmt.Fprintln(p.out, "NOT RIGHT:", note)
	}
	if t.Dir != "" {
		fmt.Fprintf(p.out, "the folder is kept: %s; the same plan again: onward soak --seed %d\n", t.Dir, t.Seed)
	}
	if t.Interrupted {
		fmt.Fprintln(p.out, "it was interrupted: what was open then is not counted as lost")
	}
	return nil
}
