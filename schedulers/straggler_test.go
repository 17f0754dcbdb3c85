package schedulers

import (
	"testing"
	"time"
)

// TestBuckets: a bucket's times are below its limit and not below that of the one before, and a limit is at most an eighth too long.
func TestBuckets(t *testing.T) {
	t.Parallel()
	for ms := int64(0); ms <= mostTime; ms += 1 + ms/97 {
		at := bucket(ms)
		if above := limit(at); ms >= above || at > 0 && ms < limit(at-1) || above > ms+1+ms/8 {
			t.Fatalf("%d ms are in bucket %d, below %d ms", ms, at, above)
		}
	}
	if at := bucket(1 << 60); at != bucket(mostTime) || at > 320 {
		t.Error(at)
	}
	if bucket(-5) != 0 {
		t.Error("a time below 0")
	}
}

// TestWait: a percentile of what has been seen, times the factor.
func TestWait(t *testing.T) {
	t.Parallel()
	p := &Speculate{Max: 1}
	if err := p.After.UnmarshalText([]byte("p90 x 1.5")); err != nil {
		t.Fatal(err)
	}
	s := &Stragglers{}
	for i := range 100 {
		at := bucket(int64(i))
		for len(s.Took) <= at {
			s.Took = append(s.Took, 0)
		}
		s.Took[at]++
		s.Times++
	}
	if got := p.wait(s); got < 90*1500*time.Microsecond || got > 100*1500*time.Microsecond {
		t.Error(got)
	}
}

// TestPatience: the forms that a document may write.
func TestPatience(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"30s": "30s", "p95": "p95 x 1", "p95 x 2": "p95 x 2", "p50x1.5": "p50 x 1.5", "p9 x 0.25": "p9 x 0.25", "0s": "", "-1s": "", "p0": "", "p100": "", "p95 x 0": "", "p95 y 2": "", "": "", "30": "",
	} {
		var p Patience
		err := p.UnmarshalText([]byte(text))
		got, _ := p.MarshalText()
		if (err == nil) != (want != "") || err == nil && string(got) != want {
			t.Errorf("%q: %s, %v; want %q", text, got, err, want)
		}
	}
}
