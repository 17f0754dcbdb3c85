package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Cursor is where a list goes on: a number, and what tells apart those that have the same one. Who is given one gives it back as it stands.
type Cursor struct {
	N  int64
	ID string
}

// ErrCursor is wrapped by the error of what is no cursor.
var ErrCursor = errors.New("no cursor; take next from the answer before, as it stands there")

// String writes ParseCursor's form.
func (c Cursor) String() string { return fmt.Sprintf("%d.%s", c.N, c.ID) }

// ParseCursor reads a cursor; an id is never empty.
func ParseCursor(text string) (c Cursor, err error) {
	n, id, _ := strings.Cut(text, ".")
	if c.N, err = strconv.ParseInt(n, 10, 64); err != nil || id == "" {
		return Cursor{}, fmt.Errorf("%.60q is %w", text, ErrCursor)
	}
	c.ID = id
	return c, nil
}
