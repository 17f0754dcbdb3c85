package command

import "time"

// when is a time as tables have it: in UTC, to the second, and zone said. JSON has RFC 3339.
func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
