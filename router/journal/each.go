package journal

import (
	"context"
	"errors"
)

// AppendEach appends records, and does not let one that the journal cannot take keep the others out. instead is called for each that is too large, by its
// index and with the journal's reason: it returns the record that stands in for it, or false to leave it out. When that one is too large as well, instead
// is called once more, and what it returns is left out.
func AppendEach(ctx context.Context, to interface {
	Append(ctx context.Context, r []Record) error
}, records []Record, instead func(i int, reason error) (Record, bool)) error {
	var from func(at int, part []Record) error
	from = func(at int, part []Record) error {
		err := to.Append(ctx, part)
		if !errors.Is(err, ErrTooLarge) {
			return err
		}
		if n := len(part) / 2; n > 0 { // Halves, in order: what was appended already may be appended again.
			if err := from(at, part[:n]); err != nil {
				return err
			}
			return from(at+n, part[n:])
		}
		r, ok := instead(at, err)
		if !ok {
			return nil
		}
		if err = to.Append(ctx, []Record{r}); errors.Is(err, ErrTooLarge) {
			instead(at, err)
			return nil
		}
		return err
	}
	return from(0, records)
}
