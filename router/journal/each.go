package journal

import (
	"context"
	"errors"
)

// AppendEach appends records, and does not let one that the journal cannot take keep the others out. instead is called for each that is too large, with
// the journal's reason: it returns the record that stands in for it, or false to leave it out. Called with a stand-in, what it returns is left out.
func AppendEach(ctx context.Context, j Journal, records []Record, instead func(r *Record, reason error) (Record, bool)) error {
	err := j.Append(ctx, records)
	if !errors.Is(err, ErrTooLarge) {
		return err
	}
	if n := len(records); n > 1 {
		// Halves, in order: what was appended already may be appended again.
		if err := AppendEach(ctx, j, records[:n/2], instead); err != nil {
			return err
		}
		return AppendEach(ctx, j, records[n/2:], instead)
	}
	r, ok := instead(&records[0], err)
	if !ok {
		return nil
	}
	return AppendEach(ctx, j, []Record{r}, func(r *Record, reason error) (Record, bool) {
		instead(r, reason)
		return Record{}, false
	})
}
