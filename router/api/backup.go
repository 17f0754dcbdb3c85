package api

import (
	"io"
	"net/http"
	"time"
)

// BackupType is the media type of a backup.
const BackupType = "application/vnd.onward.backup"

// getVersion tells what the binary was made of.
func (a *API) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, http.StatusOK, a.Build)
}

// getBackup answers with a backup of this router, as it is made. One that is not whole has no end, and its answer is cut.
func (a *API) getBackup(w http.ResponseWriter, q *http.Request) error {
	begun := false
	to := writerFunc(func(b []byte) (int, error) {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", BackupType)
			w.Header().Set("Content-Disposition", `attachment; filename="onward-`+time.Now().UTC().Format("20060102T150405Z")+`.backup"`)
			w.WriteHeader(http.StatusOK)
		}
		return w.Write(b)
	})
	begin := time.Now()
	err := a.Backup(q.Context(), to)
	switch {
	case err != nil:
		a.Log.Error("a backup was not made", "error", err)
		if begun {
			panic(http.ErrAbortHandler) // Who reads is to see that it is not all.
		}
		return err
	}
	a.Log.Info("a backup was made", "took", time.Since(begin).Round(time.Millisecond), "by", byOf(q))
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var _ io.Writer = writerFunc(nil)
