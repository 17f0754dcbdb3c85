package history

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/onward-router/onward/router/folder"
	"modernc.org/sqlite"
)

// openTables opens a file of tables, or makes one, and brings its schema to this version: migrations make it, each from the version before it. sync is how
// sure a commit is: full survives a power cut, normal a kill. Without a name the tables are in memory.
func openTables(name, sync string, migrations []string) (db *sql.DB, err error) {
	if name == "" {
		if db, err = sql.Open("sqlite", "file::memory:"); err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1) // Another one would have tables of its own.
		return db, migrate(db, migrations)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, folder.FileMode) // With our rights, which those of the files beside it follow.
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {"page_size(16384)", "auto_vacuum(incremental)", "journal_mode(wal)", "synchronous(" + sync + ")", "busy_timeout(5000)", "journal_size_limit(67108864)"}}
	if db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: name}).EscapedPath()+"?"+pragmas.Encode()); err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	return db, migrate(db, migrations)
}

func migrate(db *sql.DB, migrations []string) error {
	var had int
	if err := db.QueryRow("PRAGMA user_version").Scan(&had); err != nil {
		return err
	}
	if had > len(migrations) {
		return fmt.Errorf("schema %d, and this binary knows those up to %d: %w; run the binary that wrote it, or a newer one, or move the file away", had, len(migrations), errNewer)
	}
	for n, text := range migrations[had:] {
		if _, err := db.Exec(fmt.Sprintf("BEGIN; %s PRAGMA user_version = %d; COMMIT;", text, had+n+1)); err != nil {
			return err
		}
	}
	return nil
}

// errNewer is of a file that a newer version has written: nothing is wrong with it.
var errNewer = errors.New("written by a newer version")

// setAside gives a file that cannot be read another name, and says so.
func setAside(name string, why error) (damaged, err error) {
	aside := fmt.Sprintf("%s.damaged-%d", name, time.Now().UnixNano())
	for _, rest := range []string{"", "-wal", "-shm"} { // One may be gone: it was set aside before, and no new one could be made.
		if err := os.Rename(name+rest, aside+rest); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(why, err)
		}
	}
	return fmt.Errorf("history: %s cannot be read and was set aside as %s: %w", name, aside, why), nil
}

// isDamage reports whether an error says that the file is none of ours any more.
func isDamage(err error) bool {
	const corrupt, noDatabase = 11, 26
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == corrupt || e.Code()&0xff == noDatabase) || errors.Is(err, errSpoiled)
}
