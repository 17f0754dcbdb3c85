package history

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/folder"
)

// LettersFile is the dead letters' file in its folder: one of its own, so that a history that is damaged takes none with it.
const LettersFile = "dead.sqlite"

// goneKept is how many ids of removed letters are remembered: a restart folds again what came after the last snapshot but one.
const goneKept = 100_000

// drawerTables are letters in the order in which they came, with what they are chosen by beside what they say, and the ids of those that were taken off. The index
// has all that a choice asks for: a list and its total read no letter that they do not show.
var drawerTables = []string{
	`CREATE TABLE letter (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, kind TEXT, "trigger" TEXT, function TEXT, starts TEXT, tenant TEXT, run TEXT,
	   error TEXT, class TEXT, size INTEGER NOT NULL, head BLOB, data BLOB);
	 CREATE INDEX letter_at ON letter (at, id, kind, "trigger", function, starts, tenant, run, error, class);
	 CREATE INDEX letter_trigger ON letter ("trigger", at, id);
	 CREATE TABLE total (kind TEXT PRIMARY KEY, letters INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
	 CREATE TRIGGER came AFTER INSERT ON letter BEGIN
	   INSERT INTO total VALUES (new.kind, 1, new.size) ON CONFLICT (kind) DO UPDATE SET letters = letters + 1, bytes = bytes + new.size; END;
	 CREATE TRIGGER went AFTER DELETE ON letter BEGIN UPDATE total SET letters = letters - 1, bytes = bytes - old.size WHERE kind = old.kind; END;
	 CREATE TRIGGER changed AFTER UPDATE ON letter BEGIN UPDATE total SET bytes = bytes + new.size - old.size WHERE kind = new.kind; END;
	 CREATE TABLE gone (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
	 CREATE INDEX gone_at ON gone (at);`,
}

// A drawer is where dead letters are. One that was taken off does not come back: a restart folds the same records again.
type drawer struct {
	name    string // of the file; empty in memory
	db      *sql.DB
	limits  LetterLimits
	removed atomic.Int64
}

// openDrawer opens the file, or makes one; without a folder the letters are in memory. A file that cannot be read is set aside under another name, as damaged says;
// one that a newer version has written is left as it is, and an error.
func openDrawer(dir string, limits LetterLimits) (d *drawer, damaged, err error) {
	name := ""
	if dir != "" {
		if err := folder.Make(dir); err != nil {
			return nil, nil, err
		}
		name = filepath.Join(dir, LettersFile)
	}
	d = &drawer{name: name, limits: limits}
	if d.db, err = openTables(name, "full", drawerTables); err == nil || name == "" {
		return d, nil, err
	}
	if d.db != nil {
		_ = d.db.Close() // The first error counts.
	}
	if errors.Is(err, errNewer) {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if damaged, err = setAside(name, err); err == nil {
		d.db, err = openTables(name, "full", drawerTables)
	}
	return d, damaged, err
}

// through goes through the rows of a query.
func through(rows *sql.Rows, err error, scan func() error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// stock counts what is there, by kind.
func (d *drawer) stock() (map[string]int, error) {
	all := make(map[string]int)
	rows, err := d.db.Query("SELECT kind, letters FROM total")
	return all, through(rows, err, func() error {
		var kind string
		var n int
		err := rows.Scan(&kind, &n)
		all[kind] = n
		return err
	})
}

// change is a transaction.
func (d *drawer) change(f func(tx *sql.Tx) error) error {
	tx, err := d.db.Begin()
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// put adds letters, or replaces them in their place, and returns how many the limits have pushed off.
func (d *drawer) put(letters []*engine.Letter, now time.Time) (dropped int, err error) {
	err = d.change(func(tx *sql.Tx) error {
		if err := putAll(tx, letters); err != nil {
			return err
		}
		dropped, err = d.bound(tx, now)
		return err
	})
	return dropped, err
}

func putAll(tx *sql.Tx, letters []*engine.Letter) error {
	if len(letters) == 0 {
		return nil
	}
	put, err := tx.Prepare(`INSERT INTO letter (id, at, kind, "trigger", function, starts, tenant, run, error, class, size, head, data)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 WHERE NOT EXISTS (SELECT 1 FROM gone WHERE id = ?1)
		ON CONFLICT (id) DO UPDATE SET at = excluded.at, "trigger" = excluded."trigger", function = excluded.function, starts = excluded.starts,
		tenant = excluded.tenant, run = excluded.run, error = excluded.error, class = excluded.class, size = excluded.size, head = excluded.head, data = excluded.data`)
	if err != nil {
		return err
	}
	for _, x := range letters {
		head, data := encodeLetter(x)
		fault := x.Fault()
		if _, err := put.Exec(x.ID, x.Time.UnixNano(), x.Kind(), x.Trigger, x.To, x.Starts, x.Tenant, x.Run, fault.Type, fault.Class.String(), len(head)+len(data), head, data); err != nil {
			return errors.Join(err, put.Close())
		}
	}
	return put.Close()
}

// bound lets go of the letters that are too old, and of the oldest of too many; of these the latest stays, however large it is.
func (d *drawer) bound(tx *sql.Tx, now time.Time) (dropped int, err error) {
	drop := func(query string, args ...any) error {
		done, err := tx.Exec(query, args...)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		dropped += int(n)
		return err
	}
	if err := drop("DELETE FROM letter WHERE at < ?", now.Add(-d.limits.Age).UnixNano()); err != nil {
		return 0, err
	}
	var letters int
	var bytes int64
	if err := tx.QueryRow("SELECT ifnull(sum(letters), 0), ifnull(sum(bytes), 0) FROM total").Scan(&letters, &bytes); err != nil {
		return 0, err
	}
	if letters <= d.limits.Letters && bytes <= d.limits.Bytes {
		return dropped, nil
	}
	last := int64(-1)
	rows, err := tx.Query("SELECT n, size FROM letter ORDER BY n")
	err = through(rows, err, func() error {
		var n, size int64
		if letters <= 1 || letters <= d.limits.Letters && bytes <= d.limits.Bytes {
			return errEnough
		}
		letters--
		err := rows.Scan(&n, &size)
		last, bytes = n, bytes-size
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	return dropped, drop("DELETE FROM letter WHERE n <= ?", last)
}

var errEnough = errors.New("enough rows")

// sweep lets go of what is too old by now.
func (d *drawer) sweep(now time.Time) (dropped int, err error) {
	var old int
	if err := d.db.QueryRow("SELECT EXISTS (SELECT 1 FROM letter WHERE at < ?)", now.Add(-d.limits.Age).UnixNano()).Scan(&old); err != nil || old == 0 {
		return 0, err
	}
	return d.put(nil, now)
}

// get returns a letter; nil when it is not there.
func (d *drawer) get(id string) (*engine.Letter, error) {
	var head, data []byte
	err := d.db.QueryRow("SELECT head, data FROM letter WHERE id = ?", id).Scan(&head, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeLetter(head, data)
}

// remove takes a letter off, and remembers that it was there.
func (d *drawer) remove(id string, now time.Time) (was bool, err error) {
	err = d.change(func(tx *sql.Tx) error {
		done, err := tx.Exec("DELETE FROM letter WHERE id = ?", id)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		if was = n > 0; err != nil || !was {
			return err
		}
		if _, err := tx.Exec("INSERT OR REPLACE INTO gone VALUES (?, ?)", id, now.UnixNano()); err != nil {
			return err
		}
		if d.removed.Add(1)%1000 != 0 {
			return nil
		}
		_, err = tx.Exec("DELETE FROM gone WHERE at < (SELECT at FROM gone ORDER BY at DESC LIMIT 1 OFFSET ?)", goneKept)
		return err
	})
	return was, err
}

// gone reports that a letter was removed, not long ago.
func (d *drawer) gone(id string) (was bool, err error) {
	var n int
	err = d.db.QueryRow("SELECT count(*) FROM gone WHERE id = ?", id).Scan(&n)
	return n > 0, err
}

// where is what a choice asks for, as SQL.
func where(q *engine.LetterQuery) (text string, args []any) {
	terms := []string{"1"}
	add := func(term string, values ...any) { terms, args = append(terms, term), append(args, values...) }
	for _, x := range []struct{ column, value string }{{`"trigger"`, q.Trigger}, {"tenant", q.Tenant}, {"run", q.Run}, {"kind", q.Kind}} {
		if x.value != "" {
			add(x.column+" = ?", x.value)
		}
	}
	if q.Function != "" {
		add("(function = ? OR starts = ?)", q.Function, q.Function)
	}
	if q.Error != "" {
		add("(error = ? OR class = ?)", q.Error, q.Error)
	}
	if !q.Since.IsZero() {
		add("at >= ?", q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		add("at < ?", q.Until.UnixNano())
	}
	return strings.Join(terms, " AND "), args
}

// find gives a part of the letters that are chosen.
func (d *drawer) find(q *engine.LetterQuery) (*engine.FoundLetters, error) {
	found := &engine.FoundLetters{Letters: []*engine.Letter{}}
	text, args := where(q)
	if q.Match != nil {
		err := d.match(text, args, func(x *engine.Letter) {
			if !q.Match(x) {
				return
			}
			found.Total++
			if len(found.Letters) <= q.Limit && (q.After == engine.Cursor{} || behind(x.Cursor(), q.After)) {
				x.Data, x.Matched = lang.Value{}, nil
				found.Letters = append(found.Letters, x)
			}
		})
		found.Cut(q.Limit)
		return found, err
	}
	total := "SELECT count(*) FROM letter WHERE " + text
	if len(args) == 0 {
		total = "SELECT ifnull(sum(letters), 0) FROM total"
	}
	if err := d.db.QueryRow(total, args...).Scan(&found.Total); err != nil {
		return nil, err
	}
	if q.After != (engine.Cursor{}) {
		text, args = text+" AND (at, id) < (?, ?)", append(args, q.After.N, q.After.ID)
	}
	rows, err := d.db.Query("SELECT head FROM letter WHERE "+text+" ORDER BY at DESC, id DESC LIMIT ?", append(args, q.Limit+1)...)
	err = through(rows, err, func() error {
		var head []byte
		if err := rows.Scan(&head); err != nil {
			return err
		}
		x, err := decodeLetter(head, nil)
		found.Letters = append(found.Letters, x)
		return err
	})
	found.Cut(q.Limit)
	return found, err
}

// behind reports whether x comes after y in a list.
func behind(x, y engine.Cursor) bool { return x.N < y.N || x.N == y.N && x.ID < y.ID }

// match gives letters with their data, the latest first.
func (d *drawer) match(where string, args []any, yield func(*engine.Letter)) error {
	rows, err := d.db.Query("SELECT head, data FROM letter WHERE "+where+" ORDER BY at DESC, id DESC", args...)
	return through(rows, err, func() error {
		var head, data []byte
		if err := rows.Scan(&head, &data); err != nil {
			return err
		}
		x, err := decodeLetter(head, data)
		if err == nil {
			yield(x)
		}
		return err
	})
}

// messagesMost is of how many causes the latest message is told.
const messagesMost = 1000

// causes counts the letters that are chosen by what they have in common, the most frequent first.
func (d *drawer) causes(q *engine.LetterQuery) (all []*engine.LetterCause, err error) {
	text, args := where(q)
	if q.Match != nil {
		return d.matchCauses(q, text, args)
	}
	rows, err := d.db.Query(`SELECT kind, "trigger", function || starts, error, count(*), min(at), max(at), max(printf('%020d', at) || id) FROM letter WHERE `+text+
		` GROUP BY kind, "trigger", function || starts, error ORDER BY count(*) DESC`, args...)
	err = through(rows, err, func() error {
		var c engine.LetterCause
		var first, last int64
		var letter string
		if err := rows.Scan(&c.Kind, &c.Trigger, &c.Function, &c.Error, &c.Count, &first, &last, &letter); err != nil {
			return err
		}
		c.First, c.Last, c.Letter = time.Unix(0, first).UTC(), time.Unix(0, last).UTC(), letter[20:]
		all = append(all, &c)
		return nil
	})
	for _, c := range all[:min(len(all), messagesMost)] {
		x, bad := d.get(c.Letter)
		if err = errors.Join(err, bad); x != nil {
			c.Message = x.Fault().Message
		}
	}
	return all, err
}

// matchCauses looks into the letters themselves. The latest come first.
func (d *drawer) matchCauses(q *engine.LetterQuery, text string, args []any) (all []*engine.LetterCause, err error) {
	by := make(map[engine.LetterCause]*engine.LetterCause)
	err = d.match(text, args, func(x *engine.Letter) {
		if !q.Match(x) {
			return
		}
		key := engine.LetterCause{Kind: x.Kind(), Trigger: x.Trigger, Function: x.To + x.Starts, Error: x.Fault().Type}
		c := by[key]
		if c == nil {
			c = new(engine.LetterCause)
			*c = key
			c.Last, c.Letter, c.Message = x.Time, x.ID, x.Fault().Message
			by[key] = c
			all = append(all, c)
		}
		c.Count++
		c.First = x.Time
	})
	return all, err
}

// encodeLetter gives what a letter says, and its data apart: lists do not read these.
func encodeLetter(x *engine.Letter) (head, data []byte) {
	y := *x
	y.Data = lang.Value{}
	return []byte(lang.Of(&y).JSON()), []byte(x.Data.JSON())
}

func decodeLetter(head, data []byte) (*engine.Letter, error) {
	x := new(engine.Letter)
	if err := json.Unmarshal(head, x); err != nil {
		return nil, fmt.Errorf("a dead letter cannot be read: %w", err)
	}
	if data == nil {
		x.Matched = nil
		return x, nil
	}
	x.Data = lang.Trusted(string(data))
	return x, nil
}
