package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal/file"
	"github.com/spf13/cobra"
)

// whatABackupIs is what the help of backup and restore says.
const whatABackupIs = "In it is all that the router had acknowledged before: its journal (runs, timers, signals, what is to be sent), the history of ended runs, the dead letters, and\n" +
	"what is paused. Not in it are the documents, the settings and the secrets. Of a router whose journal is on Kafka, the journal and what is paused are NOT in it:\n" +
	"the topics are the brokers' to keep (three copies, min.insync 2) or to mirror; the history and the dead letters of the one router that is asked are."

func (p *program) backup() *cobra.Command {
	k := &client{}
	var dir string
	c := &cobra.Command{
		Use: "backup FILE|DIR", Short: "Make a backup of a router, while it runs.", Args: cobra.ExactArgs(1),
		Long: "Backup writes a backup of the router at --addr into a file, or into a folder under a name with the time. The router goes on; a token needs the right admin.\n" +
			"With --data it is of the folder of a router that does not run.\n\n" + whatABackupIs + "\n\n" +
			"The file appears once it is whole: its end is a checksum of all before. Until then it is FILE.part, which goes when the backup fails. Whoever has a backup has\n" +
			"the data of events and the journal's key in it: it is readable by you alone, and is to be kept so.\n\n" + clientHelp,
		Example: "  onward backup backups/\n  onward backup before-upgrade.backup --addr http://10.0.0.7:8080\n  onward backup cold.backup --data /var/lib/onward",
		RunE: func(c *cobra.Command, args []string) error {
			from := func(ctx context.Context, to io.Writer) error { return k.backup(ctx, to) }
			if dir != "" {
				if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err != nil {
					return fmt.Errorf("--data %s: no journal is in there; name the folder of a router", dir)
				}
				from = func(ctx context.Context, to io.Writer) error { return p.backupOf(ctx, dir, k, to) }
			}
			return p.writeBackup(c.Context(), args[0], from)
		},
	}
	clientFlags(c, k)
	c.Flags().StringVar(&dir, "data", "", "folder of a router that does not run, instead of --addr")
	return c
}

// backup asks a router for a backup of it.
func (k *client) backup(ctx context.Context, to io.Writer) error {
	resp, err := k.do(ctx, "GET", "/v1/backup", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(to, resp.Body); errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the router ended it before it was whole; its log says why")
	}
	return err
}

// backupOf makes one of a folder; a router that has it open is asked.
func (p *program) backupOf(ctx context.Context, dir string, k *client, to io.Writer) error {
	j, err := file.Open(file.Options{Dir: dir, LowWater: -1})
	if errors.Is(err, folder.ErrTaken) {
		if at, err := placeOf(dir); err == nil {
			k.addr = at.Address
		}
		return k.backup(ctx, to)
	}
	if err != nil {
		return err
	}
	defer j.Close()
	r, err := router.Open(router.Options{Set: new(config.Set), Registry: p.registry, Journal: j, Dir: dir})
	if err != nil {
		return err
	}
	return errors.Join(r.Backup(ctx, to), r.Close())
}

// A madeBackup is what backup says at its end.
type madeBackup struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	Took  string `json:"took"`
	// Journal is file where the journal is in it, kafka where the brokers have that.
	Journal string `json:"journal"`
}

// writeBackup puts a backup under its name once it is whole.
func (p *program) writeBackup(ctx context.Context, name string, from func(context.Context, io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		name = filepath.Join(name, "onward-"+time.Now().UTC().Format("20060102T150405Z")+".backup")
	}
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already; name another file, or a folder", name)
	}
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, folder.FileMode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there: another backup is being made, or was cut; remove it if none is, and try again", part)
	}
	if err != nil {
		return err
	}
	begin := time.Now()
	w := &told{to: f, errs: p.errs, at: begin, what: "backed up"}
	err = from(ctx, w)
	var head router.BackupHead
	if err == nil {
		head, err = router.VerifyBackup(ctx, f, w.n)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err == nil {
		err = folder.Sync(filepath.Dir(name))
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("stopped after %s, of which nothing is kept; the router goes on", bytesText(w.n))
	}
	if err != nil {
		return exitError{exitRun, errors.Join(fmt.Errorf("no backup was made: %w", err), os.Remove(part))}
	}
	said := madeBackup{name, w.n, time.Since(begin).Round(time.Millisecond).String(), head.Journal}
	return p.print(said, func(to io.Writer) {
		fmt.Fprintf(to, "%s: %s in %s; it was read back, and is whole\n", name, bytesText(w.n), said.Took)
		if head.Journal == "kafka" {
			fmt.Fprintln(to, "the journal is on Kafka, and is NOT in it, nor is what is paused: the brokers keep both; in it are the history and the dead letters of this one router")
		}
	})
}

// A told writer says how far it is, every now and then.
type told struct {
	to   io.Writer
	errs io.Writer
	what string
	n    int64
	at   time.Time
}

func (w *told) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	w.n += int64(n)
	if time.Since(w.at) > progressEvery {
		w.at = time.Now()
		fmt.Fprintf(w.errs, "%s so far %s\n", bytesText(w.n), w.what)
	}
	return n, err
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

func (p *program) restore() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make the folder of a router from a backup.", Args: cobra.ExactArgs(1),
		Long: "Restore reads a backup to its end, and only when it is whole and as it was made brings it into a folder that is empty or not there. Then onward serve --data DIR\n" +
			"goes on where the backup was made, with the documents of then or later ones.\n\n" + whatABackupIs + "\n\n" +
			"What happened after the backup was made is not known to it. Calls that were answered since are sent again, under the same ids and with the same idempotencykey:\n" +
			"functions that heed that do nothing twice. Events that were acknowledged since are not there: have their senders send them again, and set the offsets of Kafka\n" +
			"sources back to the backup's time by the brokers' tools. Timers that are due by now fire at once. Stop the old router for good\n" +
			"before: two that go on from one backup use the same ids for different calls.",
		Example: "  onward restore onward-20261127T060000Z.backup --data /var/lib/onward",
		RunE: func(c *cobra.Command, args []string) error {
			if dir == "" {
				return errors.New("restore needs --data, the folder that is to be made")
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			x, err := router.Restore(c.Context(), f, dir)
			if err != nil && c.Context().Err() != nil {
				err = fmt.Errorf("stopped before the backup was read to its end; nothing of it is in %s", dir)
			}
			if err != nil {
				return exitError{exitRun, fmt.Errorf("nothing was restored: %w", err)}
			}
			return p.print(x, func(w io.Writer) {
				fmt.Fprintf(w, "%s is as it was at %s: %d files, %s\n", dir, x.Backup.Made.Format(time.RFC3339), x.Files, bytesText(x.Bytes))
				if x.Backup.Journal == "kafka" {
					fmt.Fprintln(w, "the journal is on Kafka and was not in the backup: the history and the dead letters of one router are restored; onward serve DOCUMENTS --journal kafka --data "+dir+" goes on with the brokers' journal")
				} else {
					fmt.Fprintf(w, "the journal has %d records; onward serve DOCUMENTS --data %s goes on with what is open\n", x.Records, dir)
				}
			})
		},
	}
	c.Flags().StringVar(&dir, "data", "", "folder to make; it must be empty or not be there")
	return c
}
