package wait_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{`5s`, `{for: 0}`, `{until: "2030-01-31T12:00:01.5Z"}`, `{until: "2001-01-01T00:00:00Z"}`, `"${ data }"`, `{until: "${ data }"}`},
	Data:      []string{`3`, `"2m"`, `null`, `"x"`, `-1`, `1896091201`, `[1]`, `1e300`, `"2030-02-01T00:00:00+01:00"`},
	Generate: func(r *rand.Rand) string {
		switch r.IntN(4) {
		case 0:
			return fmt.Sprintf(`{"for": "%dms"}`, r.IntN(100_000))
		case 1:
			return fmt.Sprintf(`%d.%d`, r.IntN(1000), r.IntN(10))
		case 2:
			return fmt.Sprintf(`{"until": "%s"}`, schedulertest.Epoch.Add(time.Duration(r.IntN(2000)-1000)*time.Second).Format(time.RFC3339Nano))
		}
		return []string{`{"for": "${ data }"}`, `{"until": "${ data }"}`, `{"until": "${ timestamp('2030-01-31T12:00:10Z') }"}`, `{"for": "${ duration('90s') }"}`}[r.IntN(4)]
	},
	Want: func(p *schedulertest.Play) (lang.Outcome, bool) { return lang.Success(p.Input), !p.Failed },
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "wait", laws)
	if tally.Wanted < 100 || tally.Succeeded < 100 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "wait", laws) }

// TestTimes: how long each form waits, from noon on the bench; a time that has passed is no wait.
func TestTimes(t *testing.T) {
	t.Parallel()
	at := schedulertest.Epoch.Unix()
	for _, test := range []struct {
		document, data string
		wait           time.Duration
		fault          bool
	}{
		{`90s`, `null`, 90 * time.Second, false},
		{`{for: 1.5}`, `null`, 1500 * time.Millisecond, false},
		{`"${ data }"`, `"1h30m"`, 90 * time.Minute, false},
		{`"${ data }"`, `2e1`, 20 * time.Second, false},
		{`"${ duration('90s') }"`, `null`, 90 * time.Second, false},
		{`"${ data }"`, `0`, 0, false},
		{`"${ data }"`, `"0s"`, 0, false},
		{`"${ data }"`, `"876000h"`, 876000 * time.Hour, false},
		{`"${ data }"`, `"876001h"`, 0, true},
		{`"${ data }"`, `3153600001`, 0, true},
		{`"${ data }"`, `-1`, 0, true},
		{`"${ data }"`, `"-1s"`, 0, true},
		{`"${ data }"`, `"soon"`, 0, true},
		{`"${ data }"`, `null`, 0, true},
		{`"${ data }"`, `[5]`, 0, true},
		{`"${ data }"`, `true`, 0, true},
		{`{until: "2030-01-31T12:00:10Z"}`, `null`, 10 * time.Second, false},
		{`{until: "2030-01-31T13:00:10.25+01:00"}`, `null`, 10250 * time.Millisecond, false},
		{`{until: "${ data }"}`, fmt.Sprint(at + 7), 7 * time.Second, false},
		{`{until: "${ data }"}`, fmt.Sprintf("%d.5", at+7), 7500 * time.Millisecond, false},
		{`{until: "${ timestamp('2030-01-31T12:00:10Z') }"}`, `null`, 10 * time.Second, false},
		{`{until: "2030-01-31T12:00:00Z"}`, `null`, 0, false},
		{`{until: "0001-01-01T00:00:00Z"}`, `null`, 0, false},
		{`{until: "${ data }"}`, `-5`, 0, false},
		{`{until: "${ data }"}`, `-62135596800`, 0, false},
		{`{until: "${ data }"}`, `99999999999`, 0, true},
		{`{until: "9999-12-31T23:59:59Z"}`, `null`, 0, true},
		{`{until: "${ data }"}`, `1e300`, 0, true},
		{`{until: "${ data }"}`, `"noon"`, 0, true},
		{`{until: "${ data }"}`, `null`, 0, true},
	} {
		s, err := schedulertest.Load(builtin.New(), "wait", test.document)
		if err != nil {
			t.Errorf("%s: %v", test.document, err)
			continue
		}
		data, err := lang.ParseValue([]byte(test.data))
		if err != nil {
			t.Fatal(err)
		}
		b := schedulertest.NewBench(s, lang.Text("in"), data)
		b.Start()
		o, ended := b.Ended()
		timers := b.Timers()
		switch {
		case test.fault:
			if !ended || o.Err == nil || o.Err.Type != "bad_wait" {
				t.Errorf("%s of %s: %v %v, want bad_wait", test.document, test.data, o, timers)
			}
		case test.wait == 0:
			if !ended || o != lang.Success(lang.Text("in")) {
				t.Errorf("%s of %s: %v %v, want no wait", test.document, test.data, o, timers)
			}
		case len(timers) != 1 || timers[0].Due.Sub(schedulertest.Epoch) != test.wait:
			t.Errorf("%s of %s: %v %v, want %s", test.document, test.data, o, timers, test.wait)
		default:
			b.Fire(timers[0].Name)
			if o, ended := b.Ended(); !ended || o != lang.Success(lang.Text("in")) {
				t.Errorf("%s of %s: %v", test.document, test.data, o)
			}
		}
	}
}

// TestDocuments: what lint says of a wait that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{}`:                              "either for or until",
		`{for: 1s, until: 5}`:             "either for or until",
		`soon`:                            "not a duration",
		`-5`:                              "neither a duration nor",
		`{until: noon}`:                   "not a time by RFC 3339",
		`{until: "${ data }", for: "1s"}`: "either for or until",
	} {
		if _, err := schedulertest.Load(builtin.New(), "wait", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}
