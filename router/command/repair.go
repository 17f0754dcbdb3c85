package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/spf13/cobra"
)

// journal is what is done to a journal in a folder while no router has it.
func (p *program) journal() *cobra.Command {
	c := &cobra.Command{Use: "journal", Short: "Look through the journal in a folder, and repair a damaged one."}
	c.AddCommand(p.journalCheck(), p.journalRepair())
	return c
}

func (p *program) journalCheck() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use: "check", Short: "Look through the journal in a folder for what can no longer be read.", Args: cobra.NoArgs,
		Long: "Check reads the whole journal of the folder that data names, and changes nothing; a router may have it open. It says where records are damaged, and how\n" +
			"many bytes, and exits with 1 when there are such places.\n\n" + precedence,
		Example: "  onward journal check --data /var/lib/onward",
		RunE: func(c *cobra.Command, _ []string) error {
			dir, r, err := inspect(c, from)
			if err != nil {
				return err
			}
			if err := p.print(r, func(w io.Writer) { tell(w, dir, &r) }); err != nil {
				return err
			}
			if len(r.Damage) > 0 {
				return exitError{exitRun, errSaid}
			}
			return nil
		},
	}
	c.Flags().StringVar(&from, "settings", "", "file of settings (YAML)")
	config.BindFlags(c.Flags())
	return c
}

// inspect looks through the journal in the folder that the settings name.
func inspect(c *cobra.Command, from string) (dir string, r file.Report, err error) {
	s, _, err := config.LoadSettings(c.Flags(), from)
	if err != nil {
		return "", r, err
	}
	r, err = file.Inspect(c.Context(), file.Options{Dir: s.Data})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("there is no journal in %s; name its folder by --data", s.Data)
	case err != nil && c.Context().Err() != nil:
		for _, d := range r.Damage {
			fmt.Fprintln(c.ErrOrStderr(), "damaged:", d)
		}
		err = exitError{exitRun, fmt.Errorf("stopped after %d segments, with %d records and %d damaged places; the rest was not looked at, and nothing was changed", r.Segments, r.Records, len(r.Damage))}
	}
	return s.Data, r, err
}

func tell(w io.Writer, dir string, r *file.Report) {
	last := "none"
	if !r.Last.IsZero() {
		last = r.Last.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "%s: %d partitions, %d segments, %d records, the last one of %s\n", dir, r.Partitions, r.Segments, r.Records, last)
	if r.Running {
		fmt.Fprintln(w, "a router has it open: the end of the log was not looked at")
	}
	for _, d := range r.Damage {
		fmt.Fprintln(w, "damaged:", d)
	}
	if len(r.Damage) == 0 {
		fmt.Fprintln(w, "nothing is damaged")
	}
}

func (p *program) journalRepair() *cobra.Command {
	var from string
	var yes bool
	c := &cobra.Command{
		Use: "repair", Short: "Go on without the records that are damaged, once you have said so.", Args: cobra.NoArgs,
		Long: "Repair says which places of the journal in the folder that data names can no longer be read: segment, position and bytes. Only with --yes it changes\n" +
			"anything: the journal can be read again then, without the records that stood there, and what stood there is kept in files of the folder whose names begin\n" +
			"with damaged-. Those records were acknowledged: runs that waited for one of them may wait until their deadlines, and an event may have no run.\n\n" +
			"Bring the file back from a copy of the folder instead, if you have one. No router may have the folder open.\n\n" + precedence,
		Example: "  onward journal repair --data /var/lib/onward         # says what it would do\n  onward journal repair --data /var/lib/onward --yes",
		RunE: func(c *cobra.Command, _ []string) error {
			dir, r, err := inspect(c, from)
			if err != nil {
				return err
			}
			if r.Running {
				return fmt.Errorf("a router has %s open; stop it first", dir)
			}
			if yes && len(r.Damage) > 0 {
				if r.Damage, err = file.Repair(c.Context(), file.Options{Dir: dir}); err != nil {
					return exitError{exitRun, err}
				}
			}
			if err := p.print(r, func(w io.Writer) {
				tell(w, dir, &r)
				if yes && len(r.Damage) > 0 {
					fmt.Fprintln(w, "repaired: a router that starts on it goes on without them")
				}
			}); err != nil {
				return err
			}
			if !yes && len(r.Damage) > 0 {
				return exitError{exitRun, errors.New("nothing was changed; say --yes to go on without what is damaged")}
			}
			return nil
		},
	}
	c.Flags().StringVar(&from, "settings", "", "file of settings (YAML)")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	config.BindFlags(c.Flags())
	return c
}

// openRuns counts the runs that a journal has open. It folds the journal and writes nothing.
func openRuns(ctx context.Context, j journal.Journal, registry *plugin.Registry) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var failed error
	left := j.Layout().Partitions
	err = j.Own(ctx, func(ctx context.Context, t journal.Tenure) error {
		var s *engine.State
		err := t.Load(ctx, func(_ int64, from io.Reader) error {
			s = engine.New(registry, nil)
			return s.Load(from)
		})
		if errors.Is(err, journal.ErrNoSnapshot) {
			s, err = engine.New(registry, nil), nil
		}
		var out engine.Effects
		for end := false; err == nil && !end; {
			var b journal.Batch
			b, err = t.Read(ctx)
			for i := 0; i < len(b.Records) && err == nil; i++ {
				_, err = s.Fold(&b.Records[i], &out)
			}
			end = b.End
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			st := s.Stats()
			n += st.Runs + st.Waiting
		}
		failed = errors.Join(failed, err)
		if left--; left == 0 || failed != nil {
			cancel()
		}
		return nil
	})
	return n, errors.Join(err, failed)
}
