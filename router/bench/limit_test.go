package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func floorOf(d time.Duration) floor {
	return func(context.Context) (time.Duration, error) { return d, nil }
}

func failing(context.Context) (time.Duration, error) { return 0, errors.New("no") }

func TestLedgerHasEveryRecord(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	const n, record = 300, "a record\n"
	if _, err := commitAll(f, n, 16, []byte(record), 1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte(record), n)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := commitAll(f, 2, 2, []byte(record), 1); err == nil {
		t.Error("a closed file takes records")
	}
}

func TestFloorsAreSumAndMost(t *testing.T) {
	t.Parallel()
	one, two := floorOf(1), floorOf(2)
	for _, x := range []struct {
		f    floor
		want int
	}{{most(one, two), 2}, {most(two, one), 2}, {sum(one, two), 3}} {
		if got, err := x.f(t.Context()); err != nil || int(got) != x.want {
			t.Errorf("%d, %v instead of %d", got, err, x.want)
		}
	}
	for _, f := range []floor{most(one, failing), sum(failing, one)} {
		if _, err := f(t.Context()); err == nil {
			t.Error("an error is lost")
		}
	}
}
