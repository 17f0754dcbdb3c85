package history

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/folder"
)

// FileName is the history's file in its folder.
const FileName = "history.sqlite"

// migrations make the schema, each from the version before it: the file says how many it has had.
var migrations = []string{
	`CREATE TABLE page (n INTEGER PRIMARY KEY, stream INTEGER, entries INTEGER, runs INTEGER, first INTEGER, last INTEGER, ids BLOB, body BLOB);
	 CREATE TABLE cursor (partition INTEGER PRIMARY KEY, offset INTEGER, time INTEGER);`,
	`CREATE TABLE digest (n INTEGER PRIMARY KEY, body BLOB);
	 CREATE TABLE name (text TEXT);`,
	`CREATE TABLE definition (digest BLOB PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;`,
	holeTables + ";",
}

// A disk is the file. It holds pages, and up to where the records of each partition are in them: a transaction writes both.
type disk struct {
	name  string
	id    string // which tells this history from others
	db    *sql.DB
	had   map[lang.Digest]*definition // what it had of them when it was opened
	lacks []hole                      // likewise
	room  []byte                      // of who writes: a page as it is on disk, which the driver copies
}

// openDisk opens the file, or makes one. A file that cannot be read is set aside under another name, as damaged says; one that a
// newer version has written is left as it is, and an error.
func openDisk(dir string, begin func(*page), at func(partition int, c cursor)) (d *disk, damaged, err error) {
	if err := folder.Make(dir); err != nil {
		return nil, nil, err
	}
	d = &disk{name: filepath.Join(dir, FileName)}
	first := d.open(begin, at)
	switch {
	case first == nil:
		return d, nil, nil
	case errors.Is(first, errNewer):
		d.close()
		return nil, nil, first
	}
	return d.anew(first, at)
}

// anew sets the file aside, and makes another.
func (d *disk) anew(why error, at func(int, cursor)) (next *disk, damaged, err error) {
	if damaged, err = d.setAside(why); err != nil {
		return nil, nil, err
	}
	next = &disk{name: d.name}
	return next, damaged, next.open(func(*page) {}, at)
}

// setAside gives the file another name.
func (d *disk) setAside(why error) (damaged, err error) {
	d.close()
	return setAside(d.name, why)
}

func (d *disk) open(begin func(*page), at func(int, cursor)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", d.name, err)
		}
	}()
	if d.db, err = openTables(d.name, "normal", migrations); err != nil {
		return err
	}
	if err := d.identify(); err != nil {
		return err
	}
	if d.had, err = d.definitions(); err != nil {
		return err
	}
	if d.lacks, err = d.holes(); err != nil {
		return err
	}
	return d.list(begin, at)
}

// identify reads which history it is, or says so.
func (d *disk) identify() error {
	err := d.db.QueryRow("SELECT text FROM name").Scan(&d.id)
	if errors.Is(err, sql.ErrNoRows) {
		d.id = newName()
		_, err = d.db.Exec("INSERT INTO name VALUES (?)", d.id)
	}
	return err
}

// list gives what is there: pages without their bodies, and cursors.
func (d *disk) list(begin func(*page), at func(int, cursor)) error {
	rows, err := d.db.Query("SELECT page.n, stream, entries, runs, first, last, ids, length(page.body) + ifnull(length(digest.body), 0) FROM page LEFT JOIN digest ON digest.n = page.n ORDER BY page.n")
	if err != nil {
		return err
	}
	defer rows.Close()
	var pages []*page
	for rows.Next() {
		p := new(page)
		var ids []byte
		if err := rows.Scan(&p.n, &p.stream, &p.entries, &p.runs, &p.from, &p.to, &ids, &p.size); err != nil {
			return err
		}
		if p.stream >= streamEnd || len(ids)%4 != 0 {
			return fmt.Errorf("page %d makes no sense", p.n)
		}
		p.ids, p.size, p.sealed = decodeIDs(ids), p.size+len(ids), true
		pages = append(pages, p)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	cursors, err := d.db.Query("SELECT partition, offset, time FROM cursor")
	if err != nil {
		return err
	}
	defer cursors.Close()
	for cursors.Next() {
		var p int
		var c cursor
		if err := cursors.Scan(&p, &c.offset, &c.time); err != nil {
			return err
		}
		at(p, c)
	}
	if err := cursors.Err(); err != nil {
		return err
	}
	for _, p := range pages {
		begin(p)
	}
	return nil
}

// A change is what is written at a time: pages that are replaced or taken away, cursors, holes, and definitions.
type change struct {
	saves      []save
	drop       []int64
	cursors    map[int]cursor
	put        []defined
	forget     []lang.Digest
	holes      []hole // all
	holesMoved bool
}

// write makes a change, all of it or nothing.
func (d *disk) write(c *change) (err error) {
	tx, err := d.db.Begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // The first error says it.
		}
	}()
	if err := d.writeDefinitions(tx, c.put, c.forget); err != nil {
		return err
	}
	if c.holesMoved {
		if err := d.writeHoles(tx, c.holes); err != nil {
			return err
		}
	}
	insert, err := tx.Prepare("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for i := range c.saves {
		s := &c.saves[i]
		body := pack(s.body, d.room)
		if s.packed = len(body); cap(body) <= 2*pageRoom {
			d.room = body
		}
		_, err := insert.Exec(s.page.n, s.page.stream, s.entries, s.runs, s.from, s.to, s.ids, body)
		if err == nil && s.digest != nil {
			_, err = tx.Exec("INSERT OR REPLACE INTO digest VALUES (?, ?)", s.page.n, s.digest)
		}
		if err != nil {
			return err
		}
	}
	for _, n := range c.drop {
		for _, text := range []string{"DELETE FROM page WHERE n = ?", "DELETE FROM digest WHERE n = ?"} {
			if _, err := tx.Exec(text, n); err != nil {
				return err
			}
		}
	}
	for p, at := range c.cursors {
		if _, err := tx.Exec("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", p, at.offset, at.time); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	d.shrink()
	return nil
}

// What of the file is free goes back to the disk, some at a time, once it is a fourth of it and more than a little: the limits were lowered, or much came at once.
const (
	shrinkLeast = 256 // pages of the file
	shrinkMost  = 256
)

func (d *disk) shrink() {
	var free, all int
	if d.db.QueryRow("PRAGMA freelist_count").Scan(&free) != nil || d.db.QueryRow("PRAGMA page_count").Scan(&all) != nil || free < shrinkLeast || free < all/4 {
		return // What cannot be read is found by who needs it.
	}
	rows, err := d.db.Query(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", shrinkMost))
	_ = through(rows, err, func() error { return nil }) // It is as good as it was, and tried again.
}

// sync makes what was written survive a power cut.
func (d *disk) sync() error {
	f, err := os.Open(d.name + "-wal")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// body reads a page; nil when it is not there any more.
func (d *disk) body(n int64) (b []byte, err error) {
	err = d.db.QueryRow("SELECT body FROM page WHERE n = ?", n).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return b, err
}

// digestGap is how far apart pages may be whose digests are read in one go.
const digestGap = 8

// digests gives the digests of pages, which are in order, and some between them.
func (d *disk) digests(pages []*page, yield func(n int64, b []byte)) error {
	for len(pages) > 0 {
		n := 1
		for n < len(pages) && pages[n].n-pages[n-1].n <= digestGap {
			n++
		}
		rows, err := d.db.Query("SELECT n, body FROM digest WHERE n BETWEEN ? AND ?", pages[0].n, pages[n-1].n)
		if err != nil {
			return err
		}
		for rows.Next() {
			var at int64
			var b []byte
			if err := rows.Scan(&at, &b); err != nil {
				return errors.Join(err, rows.Close())
			}
			yield(at, b)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		pages = pages[n:]
	}
	return nil
}

func (d *disk) close() {
	if d.db != nil {
		_ = d.db.Close() // What counts was committed.
	}
}
