package plugin

import (
	"strings"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "0d": 0, "200ms": 200 * time.Millisecond, "1µs": time.Microsecond,
	} {
		if got, err := ParseDuration(text); err != nil || got.D() != want {
			t.Errorf("%s: %s, %v", text, got.D(), err)
		}
	}
	for text, want := range map[string]string{
		"": "is not a duration; write", "5": "is not a duration", "d": "is not a duration", "1e3d": "is not a duration", "+1d": "is not a duration", "1d-1h": "is not a duration", "infd": "is not a duration", "9999999999d": "is not a duration",
		"1h1d": "is not a duration", "-1d": "is negative", "-1s": "is negative", "3 days": "; write 3d", "30": "; write 30s, or another unit", "5 s": "; write 5s", "5sec": "; write 5s", "1 hour": "; write 1h", "1h 30m": "; write 1h30m",
		"1 hour, 30 minutes": "; write 1h30m", "PT30S": "; write 30s", "P1DT2H": "; write 26h", "00:05:00": "; write 5m", "30S": "; write 30s", "2 weeks": "; write 14d", "1w": "; write 7d", "5 parsecs": "; write a number with a unit", " 1m": "; write 1m", "tomorrow": "; write a number with a unit",
	} {
		if got, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v; want %s", text, got.D(), err, want)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{"0": 0, "65536": 64 << 10, "64KiB": 64 << 10, "512MiB": 512 << 20, "1.5GiB": 1536 << 20, "2 GiB": 2 << 30, "7B": 7, "9000000000000000000": 9e18} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "B", "-1", "+1", "1.5", "1MB", "1M", "MiB", "1e3KiB", "0x10KiB", "9999999TiB", "nanKiB", "1_0KiB"} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), "; write") {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"1MB": "write 1MiB:", "512M": "write 512MiB:", "2g": "write 2GiB:", "1.5 gb": "write 1.5GiB:", "64kilobytes": "write a number of bytes"} {
		if _, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
	for n, want := range map[Size]string{0: "0", 1: "1B", 1000: "1000B", 64 << 10: "64KiB", 1536 << 20: "1536MiB", 3 << 40: "3TiB"} {
		if got := n.String(); got != want {
			t.Errorf("%d: %s", int64(n), got)
		} else if back, err := ParseSize(got); err != nil || back != n {
			t.Errorf("%s: %d, %v", got, int64(back), err)
		}
	}
}

func TestMoments(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 9, 30, 0, 0, time.FixedZone("east", 2*3600))
	for text, want := range map[string]string{
		"now": "2026-11-27T07:30:00Z", "today": "2026-11-27T00:00:00Z", "yesterday": "2026-11-26T00:00:00Z", "90m": "2026-11-27T06:00:00Z", "1d": "2026-11-26T07:30:00Z", "2026-01-31": "2026-01-31T00:00:00Z",
		"2026-01-31T15:04:05+01:00": "2026-01-31T14:04:05Z", "2026-01-31 15:04:05Z": "2026-01-31T15:04:05Z", "2026-01-31 15:04:05": "2026-01-31T15:04:05Z", "2026-01-31 15:04": "2026-01-31T15:04:00Z", "2026-01-31T15:04": "2026-01-31T15:04:00Z",
	} {
		if got, err := ParseMoment(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "soon", "-1h", "2026-13-01", "12:00"} {
		if got, err := ParseMoment(text, now); err == nil || !strings.Contains(err.Error(), "is no time; write") {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}
