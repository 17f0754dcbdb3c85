package command

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router"
)

// A glance is what files said when they were looked at: their names and all their bytes. However a file was changed - written over, renamed into place, a link
// to it turned elsewhere - another glance differs exactly where there is something else to read.
type glance [sha256.Size]byte

// look takes a glance at documents; what is not there, or cannot be read, is part of it. A pipe is not read: that would take from who does, and wait for who writes.
func look(paths []string) (g glance) {
	files, findings := config.Files(paths)
	sum := sha256.New()
	say := func(b []byte) {
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		sum.Write(b)
	}
	for _, f := range findings {
		say([]byte(f.String()))
	}
	for _, file := range files {
		say([]byte(file))
		if !config.IsFile(file) {
			continue
		}
		text, err := config.ReadDocument(file)
		if err != nil {
			text = []byte(err.Error())
		}
		say(text)
	}
	sum.Sum(g[:0])
	return g
}

// A watched is what is looked at for changes. A change counts once it has stayed for two looks: what is being written is left alone until it is whole. What was
// tried is not tried again before it changes, whatever came of it.
type watched struct{ tried, seen glance }

// What SIGHUP waits for: documents that say the same for so long, and how long at most. Whoever sends it may have an editor that writes on.
const (
	settling   = 100 * time.Millisecond
	settleMost = 5 * time.Second
)

// settled takes glances at documents until two in a row are the same.
func settled(ctx context.Context, look func() glance) glance {
	now := look()
	for begin := time.Now(); ctx.Err() == nil && time.Since(begin) < settleMost; {
		time.Sleep(settling)
		was := now
		if now = look(); now == was {
			break
		}
	}
	return now
}

// changed reports whether there is something to read again.
func (w *watched) changed(now glance) bool {
	stays := now == w.seen
	w.seen = now
	if now == w.tried || !stays {
		return false
	}
	w.tried = now
	return true
}

// tokensOf are the files of the tokens.
func tokensOf(s config.Settings) (files []string) {
	if s.AuthTokens != "" {
		files = []string{s.AuthTokens}
	}
	return files
}

// reloads puts the documents, and the tokens, into force anew at each SIGHUP, and when they change. was is what the documents said that are in force.
func (p *program) reloads(ctx context.Context, r *router.Router, s config.Settings, documents []string, was glance, log *slog.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	var looks <-chan time.Time
	if s.Watch > 0 {
		ticker := time.NewTicker(s.Watch)
		defer ticker.Stop()
		looks = ticker.C
	}
	docs, tokens := watched{was, was}, watched{}
	tokens.tried = look(tokensOf(s))
	for n := 1; ; {
		why, all := "", false
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			why, all = "SIGHUP", true
			docs.tried, tokens.tried = settled(ctx, func() glance { return look(documents) }), look(tokensOf(s))
		case <-looks:
			if docs.changed(look(documents)) {
				why = "the documents changed"
			}
			if tokens.changed(look(tokensOf(s))) {
				log.Info("the file of tokens changed")
				reloadTokens(r, log)
			}
		}
		if why == "" {
			continue
		}
		log := log.With("reload", n, "because", why) // Each is something new.
		n++
		if all { // Tokens for themselves: one is to be taken back whatever the documents say.
			reloadTokens(r, log)
		}
		p.reload(r, documents, log)
	}
}

func reloadTokens(r *router.Router, log *slog.Logger) {
	if err := r.ReloadTokens(); err != nil {
		log.Error("the tokens are not reloaded", "error", err)
	}
}

// loadAgain reads documents that were read before. What is no file has been read once and for all; waiting for more of it would be the end of reloads.
func loadAgain(documents []string, r *plugin.Registry) (set *config.Set, findings []lang.Finding) {
	files, _ := config.Files(documents)
	for _, file := range files {
		if _, err := os.Stat(file); err == nil && !config.IsFile(file) {
			findings = append(findings, lang.Finding{Pos: lang.Pos{File: file}, What: "it is no file, and is read once", Cure: "serve a file to have it reloaded"})
		}
	}
	if len(findings) > 0 {
		return nil, findings
	}
	return config.Load(documents, r, check)
}

func (p *program) reload(r *router.Router, documents []string, log *slog.Logger) {
	set, findings := loadAgain(documents, p.registry)
	for _, f := range findings {
		log.Error("the documents are not reloaded", "finding", f.String())
	}
	if len(findings) > 0 {
		r.NotReloaded()
		return
	}
	for _, f := range set.Warnings {
		log.Warn("the documents say what is perhaps not meant", "finding", f.String())
	}
	if err := r.Reload(set); err != nil {
		log.Error("the documents are not reloaded", "error", err)
		return
	}
	log.Info("the documents are reloaded", "triggers", len(set.Triggers), "functions", len(set.FunctionNames()), "sources", len(set.Sources))
}
