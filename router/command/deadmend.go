package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/router"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// A deed is what is done with letters: with those that are named, or with all of a choice.
type deed struct {
	choice
	all, dryRun, yes bool
	rate             config.Rate
}

func (d *deed) flags(c *cobra.Command, k *client) {
	d.choice.flags(c, k)
	c.Flags().BoolVar(&d.all, "all", false, "all of them, or all that the other flags choose")
	c.Flags().BoolVar(&d.dryRun, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().BoolVar(&d.yes, "yes", false, "do not ask first; needed where there is no terminal")
	c.Flags().TextVar(&d.rate, "rate", config.Rate{}, "at most so many, such as 10/s or 300/m; default: as fast as they go")
	c.Args = cobra.ArbitraryArgs
	c.PreRunE = func(_ *cobra.Command, args []string) error {
		if d.all == (len(args) > 0) {
			return errors.New("say which: name letters, as dead list prints them, or write --all")
		}
		if !d.all && d.choice != (choice{}) {
			return errors.New("--trigger, --function and the like choose from all: write --all with them")
		}
		return nil
	}
}

// lettersAtATime is how many are asked for at a time where all are meant; a router does not tell more.
const lettersAtATime = 10_000

// chosen gives the letters that are meant, each once and the latest first, until yield returns an error.
func (d *deed) chosen(ctx context.Context, k *client, args []string, yield func(*router.Letter) error) error {
	done := make(map[string]bool)
	for _, id := range args {
		if !done[id] {
			done[id] = true
			if err := yield(&router.Letter{ID: id}); err != nil {
				return err
			}
		}
	}
	for after := ""; d.all; {
		said, err := k.letters(ctx, &d.choice, lettersAtATime, after)
		if err != nil {
			return err
		}
		for _, l := range said.Letters {
			if err := yield(l); err != nil {
				return err
			}
		}
		if after = said.Next; after == "" {
			break
		}
	}
	return nil
}

// A became is what became of one letter.
type became struct {
	Letter string `json:"letter"`
	Became string `json:"became"`
	Error  string `json:"error,omitempty"`
}

// An outturn is what became of all of them.
type outturn struct {
	count   map[string]int
	letters []became
}

func (o *outturn) add(b became) {
	o.count[b.Became]++
	o.letters = append(o.letters, b)
}

// each does something with every letter that is meant, no faster than the rate, and tells how far it is. The first interrupt ends it after the letter that is
// under way; do is not broken off.
func (p *program) each(ctx context.Context, k *client, d *deed, args []string, do func(context.Context, *router.Letter) (became, error)) (o outturn, _ error) {
	o.count = make(map[string]int)
	total := len(args)
	if d.all && !d.dryRun {
		said, err := k.causes(ctx, &d.choice)
		if err != nil {
			return o, err
		}
		total = said.Total
	}
	begin, said := time.Now(), time.Now()
	err := d.chosen(ctx, k, args, func(l *router.Letter) error {
		if err := turn(ctx, d.pace(), begin, len(o.letters)); err != nil {
			return errors.New("interrupted: the rest is left as it is; the same command goes on with it")
		}
		b, err := do(context.WithoutCancel(ctx), l)
		if b.Became != "" {
			o.add(b)
		}
		if time.Since(said) > progressEvery {
			said = time.Now()
			fmt.Fprintf(p.errs, "%d of %d\n", len(o.letters), max(total, len(o.letters)))
		}
		return err
	})
	return o, err
}

// pace is how many may be done in a time; to look takes none.
func (d *deed) pace() config.Rate {
	if d.dryRun {
		return config.Rate{}
	}
	return d.rate
}

// turn waits until number n may be next, of those that have gone since begin; no rate holds nothing back.
func turn(ctx context.Context, rate config.Rate, begin time.Time, n int) error {
	if rate.IsZero() {
		return ctx.Err()
	}
	wait := time.NewTimer(time.Until(begin.Add(time.Duration(float64(n) * float64(rate.Per) / float64(rate.N)))))
	defer wait.Stop()
	select {
	case <-wait.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sure asks whether all that is chosen is meant; without a person at a terminal that has to be said before.
func (p *program) sure(ctx context.Context, k *client, d *deed, what string) error {
	if !d.all || d.yes || d.dryRun {
		return nil
	}
	said, err := k.causes(ctx, &d.choice)
	if err != nil || said.Total == 0 {
		return err
	}
	question := fmt.Sprintf("%s %s?", what, several(said.Total, "dead letter"))
	if !p.attended() {
		return misuse{fmt.Errorf("%s nobody is there to answer; write --yes", question)}
	}
	return p.agreed(ctx, question)
}

// attended reports whether there is a person to ask.
func (p *program) attended() bool { return p.in != nil || term.IsTerminal(int(os.Stdin.Fd())) }

// agreed asks; any answer but yes is an error that says that nothing was done.
func (p *program) agreed(ctx context.Context, question string) error {
	in := p.in
	if in == nil {
		in = os.Stdin
	}
	fmt.Fprintf(p.errs, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // No answer is no.
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case word := <-answer:
		if word == "y" || word == "yes" {
			return nil
		}
	case <-ctx.Done():
	}
	return errors.New("nothing was done; answer y, or write --yes")
}

// wouldDo says of a letter, which must be there, what would be done with it.
func (p *program) wouldDo(k *client, would func(*router.Letter) string) func(context.Context, *router.Letter) (became, error) {
	return func(ctx context.Context, l *router.Letter) (became, error) {
		if l.Time.IsZero() { // It was named.
			if err := k.get(ctx, "/v1/dead/"+url.PathEscape(l.ID), l); err != nil {
				return became{l.ID, "unknown", err.Error()}, nil
			}
		}
		return became{Letter: l.ID, Became: would(l)}, nil
	}
}

// refusedMost is how many letters, one after the other, may be refused before the rest is left for later.
const refusedMost = 3

// redriveEach sends letters again, one by one.
func redriveEach(k *client, d *deed) func(context.Context, *router.Letter) (became, error) {
	row := 0
	return func(ctx context.Context, l *router.Letter) (became, error) {
		if l.Kind() == router.LetterParked { // Of a choice: it says so itself when it is named.
			return became{l.ID, "kept", "it is no event: there is nothing to send"}, nil
		}
		var said router.LetterBecame
		err := k.send(ctx, "/v1/dead/"+url.PathEscape(l.ID)+"/redrive", nil, nil, &said)
		switch {
		case err == nil && said.Became == "delivered":
			row = 0
			return became{Letter: l.ID, Became: "delivered"}, nil
		case err == nil, d.all && statusOf(err) == http.StatusNotFound:
			return became{Letter: l.ID, Became: "gone"}, nil
		}
		if row++; row == refusedMost && d.all {
			return became{l.ID, "kept", err.Error()}, fmt.Errorf("%d letters in a row did not arrive: the rest is left as it is", row)
		}
		return became{l.ID, "kept", err.Error()}, nil
	}
}

// tell prints what became of the letters, and ends the command with 1 when it was not all that was asked for.
func (p *program) tell(o outturn, err error, words ...string) error {
	said := map[string]any{"letters": append([]became{}, o.letters...)}
	var sum []string
	for _, word := range words {
		said[word] = o.count[word]
		sum = append(sum, fmt.Sprintf("%s %d", word, o.count[word]))
	}
	if printed := p.print(said, func(w io.Writer) {
		for _, b := range o.letters {
			if b.Error != "" {
				fmt.Fprintf(p.errs, "%s: %s\n", b.Letter, b.Error)
			} else {
				fmt.Fprintf(w, "%s\t%s\n", b.Letter, b.Became)
			}
		}
		fmt.Fprintln(w, strings.Join(sum, ", "))
	}); printed != nil {
		return printed
	}
	if err == nil && o.count["kept"]+o.count["unknown"] > 0 {
		err = errSaid
	}
	if err != nil {
		return exitError{exitRun, err}
	}
	return nil
}

func (p *program) deadRedrive(k *client) *cobra.Command {
	var d deed
	c := &cobra.Command{Use: "redrive LETTER...", Short: "Send dead letters again; what arrives is removed.", RunE: func(c *cobra.Command, args []string) error {
		if d.dryRun {
			o, err := p.each(c.Context(), k, &d, args, p.wouldDo(k, func(l *router.Letter) string {
				switch l.Kind() {
				case router.LetterParked:
					return "would be kept: it is no event, there is nothing to send"
				case router.LetterEvent:
					return "would be taken in again"
				}
				return "would be sent again to " + l.To + l.Starts
			}))
			return p.tell(o, err)
		}
		if err := p.sure(c.Context(), k, &d, "send again"); err != nil {
			return exitError{exitRun, err}
		}
		o, err := p.each(c.Context(), k, &d, args, redriveEach(k, &d))
		return p.tell(o, err, "delivered", "kept", "gone")
	}}
	c.Long = "Redrive sends dead letters again, under their own ids and one after the other, and removes those that arrive; it says of each what became of it. A letter\n" +
		"that was sent again before is gone, and is not sent twice. A run that is over is not told: it stays as it is. With --all it asks first (without a\n" +
		"terminal, --yes is needed), and stops after three in a row that do not arrive. An interrupt ends it after the one that is under way. It exits with 1 when one was kept.\n\n" + letterHelp
	c.Example = "  onward dead redrive LETTER\n  onward dead redrive --all --function alert --error http_500 --dry-run\n  onward dead redrive --all --since today --rate 10/s --yes"
	d.flags(c, k)
	return c
}

func (p *program) deadPurge(k *client) *cobra.Command {
	var d deed
	c := &cobra.Command{Use: "purge LETTER...", Short: "Remove dead letters for ever.", RunE: func(c *cobra.Command, args []string) error {
		if d.dryRun {
			o, err := p.each(c.Context(), k, &d, args, p.wouldDo(k, func(*router.Letter) string { return "would be removed" }))
			return p.tell(o, err)
		}
		if err := p.sure(c.Context(), k, &d, "remove for ever"); err != nil {
			return exitError{exitRun, err}
		}
		o, err := p.each(c.Context(), k, &d, args, func(ctx context.Context, l *router.Letter) (became, error) {
			var said router.LetterBecame
			err := k.call(ctx, "DELETE", "/v1/dead/"+url.PathEscape(l.ID), nil, nil, &said)
			switch {
			case err != nil && d.all && statusOf(err) == http.StatusNotFound:
				return became{Letter: l.ID, Became: "gone"}, nil
			case err != nil && statusOf(err) == http.StatusNotFound:
				return became{l.ID, "unknown", err.Error()}, nil
			case err != nil:
				return became{}, err
			}
			return became{Letter: l.ID, Became: "removed"}, nil
		})
		return p.tell(o, err, "removed")
	}}
	c.Long = "Purge removes dead letters for ever. With --all it asks first; without a terminal, --yes is needed.\n\n" + letterHelp
	c.Example = "  onward dead purge LETTER\n  onward dead purge --all --trigger word-count --until 24h --dry-run\n  onward dead purge --all --kind parked --yes"
	d.flags(c, k)
	return c
}
