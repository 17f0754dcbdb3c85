package history

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/onward-router/onward/router/folder"
)

// BackupFolder begins the names of the parts of a history in a backup. A part has whole rows, so that neither end holds all of them at a time.
const BackupFolder = "history/"

// partBytes is about how large a part is.
const partBytes = 1 << 20

// A put takes a file of a backup.
type put = func(name string, size int64, from io.Reader) error

// Backup gives what is kept to put: the history's rows, all of one moment, and the file of dead letters. What is new meanwhile goes on being written.
func (h *Endings) Backup(ctx context.Context, put put) error {
	if err := h.Sync(); err != nil {
		return err
	}
	d := h.store.file()
	if d == nil {
		return nil
	}
	if err := d.backup(ctx, put); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return h.letters.backup(ctx, put)
}

// backup gives a copy of the file, as it is at one moment: it is made beside it, and goes then.
func (l *Letters) backup(ctx context.Context, put put) (err error) {
	copied := l.drawer.name + ".backup"
	f, err := os.OpenFile(copied, os.O_CREATE|os.O_TRUNC|os.O_RDWR, folder.FileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(copied)) }()
	if _, err := l.drawer.db.ExecContext(ctx, "VACUUM INTO ?", copied); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return put(LettersFile, info.Size(), f)
}

// backup gives the rows of all tables, as one transaction sees them: it keeps nobody from writing.
func (d *disk) backup(ctx context.Context, put put) error {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN DEFERRED"); err != nil {
		return err
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") }() // It has only read.
	parts := &parts{put: put}
	var version int64
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if err := parts.row("PRAGMA user_version", []any{version}); err != nil {
		return err
	}
	tables, err := queryAll(ctx, conn, "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := parts.row("CREATE", []any{t[1]}); err != nil {
			return err
		}
		name := t[0].(string)
		if err := eachRow(ctx, conn, `SELECT * FROM "`+name+`"`, func(row []any) error { return parts.row(name, row) }); err != nil {
			return err
		}
	}
	indexes, err := queryAll(ctx, conn, "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")
	if err != nil {
		return err
	}
	for _, x := range indexes {
		if err := parts.row("CREATE", x); err != nil {
			return err
		}
	}
	return parts.end()
}

func queryAll(ctx context.Context, conn *sql.Conn, query string) (all [][]any, err error) {
	err = eachRow(ctx, conn, query, func(row []any) error {
		all = append(all, bytes2text(row))
		return nil
	})
	return all, err
}

// bytes2text makes texts of what a driver may give as either.
func bytes2text(row []any) []any {
	for i, x := range row {
		if b, is := x.([]byte); is {
			row[i] = string(b)
		}
	}
	return row
}

func eachRow(ctx context.Context, conn *sql.Conn, query string, yield func([]any) error) error {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		row, into := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// parts gathers rows and gives them on.
type parts struct {
	put put
	n   int
	buf []byte
}

// The kinds of a column.
const (
	isNull byte = iota + 1
	isNumber
	isText
	isBytes
)

// row adds a row: the table's name, the number of columns, and each with its kind.
func (p *parts) row(table string, row []any) error {
	p.buf = appendBytes(p.buf, []byte(table))
	p.buf = binary.AppendUvarint(p.buf, uint64(len(row)))
	for _, x := range row {
		switch x := x.(type) {
		case nil:
			p.buf = append(p.buf, isNull)
		case int64:
			p.buf = binary.AppendVarint(append(p.buf, isNumber), x)
		case string:
			p.buf = appendBytes(append(p.buf, isText), []byte(x))
		case []byte:
			p.buf = appendBytes(append(p.buf, isBytes), x)
		default:
			return fmt.Errorf("a column of table %s is a %T, which no backup knows", table, x)
		}
	}
	if len(p.buf) < partBytes {
		return nil
	}
	return p.end()
}

func appendBytes(b, x []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(x))), x...) }

// end gives on what was gathered.
func (p *parts) end() error {
	if len(p.buf) == 0 {
		return nil
	}
	p.n++
	err := p.put(fmt.Sprintf("%s%06d", BackupFolder, p.n), int64(len(p.buf)), bytes.NewReader(p.buf))
	p.buf = p.buf[:0]
	return err
}

// A Restored is a history in a folder that is made anew of the parts of a backup, which come in order.
type Restored struct{ db *sql.DB }

// Restore begins one.
func Restore(dir string) (*Restored, error) {
	name := filepath.Join(dir, FileName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, folder.FileMode)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	pragmas := url.Values{"_pragma": {"page_size(16384)", "auto_vacuum(incremental)", "journal_mode(off)", "synchronous(off)"}} // A restore that does not end is begun again.
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: name}).EscapedPath()+"?"+pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	db.SetMaxOpenConns(1)
	return &Restored{db}, nil
}

// Take takes a part.
func (r *Restored) Take(from io.Reader) error {
	tx, err := r.db.Begin()
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	b := bufio.NewReader(from)
	for err == nil {
		var table string
		var row []any
		if table, row, err = readRow(b); err == nil {
			err = insert(tx, table, row)
		}
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("history: %w", errors.Join(err, tx.Rollback()))
	}
	return tx.Commit()
}

// Close ends it.
func (r *Restored) Close() error { return r.db.Close() }

func insert(tx *sql.Tx, table string, row []any) error {
	var err error
	switch {
	case table == "CREATE" && len(row) == 1:
		text, _ := row[0].(string)
		_, err = tx.Exec(text)
	case table == "PRAGMA user_version" && len(row) == 1:
		version, _ := row[0].(int64)
		_, err = tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", version))
	case len(row) > 0:
		_, err = tx.Exec(`INSERT INTO "`+strings.ReplaceAll(table, `"`, `""`)+`" VALUES (?`+strings.Repeat(", ?", len(row)-1)+")", row...)
	}
	return err
}

// readRow reads what row wrote. The error is io.EOF where none begins.
func readRow(r *bufio.Reader) (table string, row []any, err error) {
	if _, err := r.Peek(1); err != nil {
		return "", nil, err
	}
	name, err := readBytes(r)
	if err != nil {
		return "", nil, err
	}
	n, err := binary.ReadUvarint(r)
	if err != nil || n > 100 {
		return "", nil, errCut
	}
	for range n {
		kind, err := r.ReadByte()
		if err != nil {
			return "", nil, errCut
		}
		var x any
		switch kind {
		case isNull:
		case isNumber:
			x, err = binary.ReadVarint(r)
		case isText:
			var b []byte
			b, err = readBytes(r)
			x = string(b)
		case isBytes:
			x, err = readBytes(r)
		default:
			err = fmt.Errorf("a column of kind %d", kind)
		}
		if err != nil {
			return "", nil, fmt.Errorf("%w: %v", errCut, err)
		}
		row = append(row, x)
	}
	return string(name), row, nil
}

// errCut is a part that ends amid a row. It is no io.EOF.
var errCut = errors.New("a part of the history is not whole")

func readBytes(r *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil || n > 1<<30 {
		return nil, errCut
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, errCut
	}
	return b.Bytes(), nil
}
