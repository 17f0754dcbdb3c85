package lang

import (
	"archive/zip"
	_ "embed" // of zones
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// zones is the time zone database that expressions know: the one of the Go release that it was copied from (lib/time/zoneinfo.zip). It is part of the
// language: what the host has, and what TZ and ZONEINFO say there, must not change what a record folds to, and neither must a new Go.
//
//go:embed zoneinfo.zip
var zones string

var zoneFiles = sync.OnceValue(func() map[string]*zip.File {
	r, err := zip.NewReader(strings.NewReader(zones), int64(len(zones)))
	if err != nil {
		panic(fmt.Sprintf("lang: the embedded time zones do not read: %v", err))
	}
	files := make(map[string]*zip.File, len(r.File))
	for _, f := range r.File {
		if !f.FileInfo().IsDir() {
			files[f.Name] = f
		}
	}
	return files
})

var zoneCache struct {
	sync.Mutex
	known map[string]*time.Location
}

// Location finds a zone by its name (Europe/Berlin) or its offset from UTC (+02:00, -05:30).
func Location(name string) (*time.Location, error) {
	if name == "UTC" || name == "" {
		return time.UTC, nil
	}
	if strings.Contains(name, ":") {
		return offset(name)
	}
	zoneCache.Lock()
	defer zoneCache.Unlock()
	if l := zoneCache.known[name]; l != nil {
		return l, nil
	}
	f := zoneFiles()[name]
	if f == nil {
		return nil, fmt.Errorf("unknown time zone %q; write one of the IANA names, such as Europe/Berlin, or an offset, such as +02:00", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	l, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	if zoneCache.known == nil {
		zoneCache.known = make(map[string]*time.Location)
	}
	zoneCache.known[name] = l // There are some 600 names.
	return l, nil
}

func offset(text string) (*time.Location, error) {
	bad := func() (*time.Location, error) {
		return nil, fmt.Errorf("%q is not an offset from UTC; write -23:59 to +23:59", text)
	}
	sign, digits := 1, strings.TrimPrefix(text, "+")
	if strings.HasPrefix(text, "-") {
		sign, digits = -1, text[1:]
	}
	h, m, _ := strings.Cut(digits, ":")
	hours, ok := twoDigits(h, 1, 23)
	minutes, ok2 := twoDigits(m, 2, 59)
	if !ok || !ok2 {
		return bad()
	}
	return time.FixedZone("", sign*(hours*3600+minutes*60)), nil
}

func twoDigits(s string, fewest, limit int) (n int, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(s) >= fewest && len(s) <= 2 && n <= limit
}

// clocks read one part of a time, by the name that expressions give it.
var clocks = map[string]func(t time.Time) int{
	"getFullYear":     time.Time.Year,
	"getMonth":        func(t time.Time) int { return int(t.Month()) - 1 },
	"getDate":         time.Time.Day,
	"getDayOfMonth":   func(t time.Time) int { return t.Day() - 1 },
	"getDayOfWeek":    func(t time.Time) int { return int(t.Weekday()) },
	"getDayOfYear":    func(t time.Time) int { return t.YearDay() - 1 },
	"getHours":        time.Time.Hour,
	"getMinutes":      time.Time.Minute,
	"getSeconds":      time.Time.Second,
	"getMilliseconds": func(t time.Time) int { return t.Nanosecond() / 1e6 },
}
