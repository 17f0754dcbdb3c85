// Package certs reads certificates from PEM files, again when they have changed: what is renewed counts without a restart, and what cannot be read leaves the
// former in force.
package certs

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Pool reads certificate authorities; nil for no file. What is how messages call it.
func Pool(what, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate; name a PEM file", what, file)
	}
	return pool, nil
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

type stamp struct {
	at   time.Time
	size int64
}

// A Watch is what some files say. Its first three fields are set before it is used; its methods may be called concurrently.
type Watch[T any] struct {
	What  string // what the files are, for the log
	Files []string
	Load  func() (T, error) // reads them
	Gone  func(T)           // may be nil: is given what others have replaced

	mu      sync.Mutex
	looked  time.Time
	stamps  []stamp
	has     bool
	now     T
	refused string // what was wrong with the files that are not in force
}

// Current returns what is in force, after a look at the files where the last one was a while ago. The error is that nothing is in force yet.
func (w *Watch[T]) Current(log *slog.Logger) (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.has && time.Since(w.looked) < lookEvery {
		return w.now, nil
	}
	w.looked = time.Now()
	stamps, same := make([]stamp, len(w.Files)), len(w.stamps) == len(w.Files)
	for i, file := range w.Files {
		if info, err := os.Stat(file); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
		same = same && stamps[i] == w.stamps[i]
	}
	if w.has && same && w.refused == "" {
		return w.now, nil
	}
	fresh, err := w.Load()
	switch {
	case err == nil:
		if w.has {
			log.Info(w.What+" were read again", "files", w.Files)
			if w.Gone != nil {
				w.Gone(w.now)
			}
		}
		w.has, w.now, w.stamps, w.refused = true, fresh, stamps, ""
	case !w.has:
		return w.now, err
	case err.Error() != w.refused:
		w.refused = err.Error()
		log.Error(w.What+" have changed and cannot be used; the former stay in force", "error", err)
	}
	return w.now, nil
}

// Look has the files looked at when they are asked for next, however short a time ago the last look was.
func (w *Watch[T]) Look() {
	w.mu.Lock()
	w.looked = time.Time{}
	w.mu.Unlock()
}
