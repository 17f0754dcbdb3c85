package config_test

import (
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
)

const diffBase = `
version: 1
functions:
  charge: { http: { url: http://a.example/charge }, concurrency: 3 }
  remind: { log: hello }
  flaky: { http: { url: http://a.example/flaky }, retry: { attempts: 3, backoff: 1s } }
flows:
  pay: { function: charge }
  spare: { function: remind }
sources:
  in: { webhook: { path: /in } }
triggers:
  order:
    filters: [{ exact: { type: order } }, { sql: "country = 'CH'" }]
    when: "${ data.n > 1 }"
    concurrency: { key: "${ data.id }" }
    flow: { flow: pay }
    onSuccess: { log: paid }
  tell: { filters: [{ exact: { type: tell } }], flow: { function: remind, input: { a: 1 } } }
`

// TestDiff: each change is told by its keys and by nothing else; what says the same is the same.
func TestDiff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replace []string
		want    string
	}{
		"nothing":             {nil, ""},
		"a comment, moved":    {[]string{"version: 1", "# said\n\nversion: 1"}, ""},
		"defaults said":       {[]string{"concurrency: 3 }", "concurrency: 3, maxAge: 6h }", "webhook: { path: /in }", "webhook: { path: /in, maxEvent: 1MiB }"}, ""},
		"an address":          {[]string{"a.example/charge", "b.example/charge"}, "changed function charge http.url"},
		"a sink's value":      {[]string{"log: hello", "log: hi"}, "changed function remind log"},
		"another sink":        {[]string{"log: hello", "exec: [cat]"}, "changed function remind log exec"},
		"concurrency":         {[]string{"concurrency: 3", "concurrency: 4"}, "changed function charge concurrency"},
		"retry":               {[]string{"backoff: 1s", "backoff: 2s"}, "changed function flaky retry"},
		"a timeout":           {[]string{"concurrency: 3", "concurrency: 3, timeout: 5s"}, "changed trigger order flows|changed flow pay flow|changed function charge timeout"},
		"filters":             {[]string{"type: tell", "type: say"}, "changed trigger tell filters"},
		"sql":                 {[]string{"country = 'CH'", "country = 'DE'"}, "changed trigger order filters"},
		"when":                {[]string{"data.n > 1", "data.n > 2"}, "changed trigger order when"},
		"a key":               {[]string{"${ data.id }", "${ data.no }"}, "changed trigger order concurrency"},
		"a limit":             {[]string{`"${ data.id }" }`, `"${ data.id }", limit: 2 }`}, "changed trigger order concurrency"},
		"an input":            {[]string{"a: 1", "a: 2"}, "changed trigger tell flow"},
		"a flow":              {[]string{"pay: { function: charge }", "pay: { function: flaky }"}, "changed trigger order flows|changed flow pay flow"},
		"a flow without user": {[]string{"spare: { function: remind }", "spare: { function: charge }"}, "changed flow spare flow"},
		"a destination":       {[]string{"onSuccess: { log: paid }", "onSuccess: { function: remind }"}, "changed trigger order onSuccess|removed destination order.onSuccess.log-*"},
		"a source's path":     {[]string{"path: /in", "path: /out"}, "changed source in webhook.path"},
		"what it accepts":     {[]string{"webhook: { path: /in }", "webhook: { path: /in }, accepts: starts"}, "changed source in accepts"},
		"renamed":             {[]string{"  tell:", "  say:"}, "added trigger say|removed trigger tell"},
		"one less":            {[]string{"  flaky: { http: { url: http://a.example/flaky }, retry: { attempts: 3, backoff: 1s } }\n", ""}, "removed function flaky"},
		"one more":            {[]string{"sources:\n", "sources:\n  more: { webhook: { path: /more } }\n"}, "added source more"},
	} {
		was, said := parse(t, diffBase)
		if was == nil {
			t.Fatal(said)
		}
		is, said := parse(t, strings.NewReplacer(c.replace...).Replace(diffBase))
		if is == nil {
			t.Fatalf("%s: %s", name, said)
		}
		var got []string
		for _, x := range config.Diff(was, is) {
			if x.Kind == config.KindDestination {
				x.Name = x.Name[:strings.LastIndex(x.Name, "-")+1] + "*"
			}
			got = append(got, strings.Join(append([]string{x.How, x.Kind, x.Name}, x.Keys...), " "))
		}
		if text := strings.Join(got, "|"); text != c.want {
			t.Errorf("%s: %q; want %q", name, text, c.want)
		}
		if back := config.Diff(is, was); len(back) != len(got) {
			t.Errorf("%s: back there are %v", name, back)
		}
	}
}

// TestEmptied: a document that was cut off, or holds no more than its version, says nothing of what there was; one that means it says so.
func TestEmptied(t *testing.T) {
	t.Parallel()
	was, findings := config.Parse("was.yaml", []byte(diffBase), registry(), nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	nothing, _ := config.Parse("nothing.yaml", []byte("version: 1\n"), registry(), nil)
	cut := diffBase[:strings.Index(diffBase, "triggers:")]
	for text, want := range map[string]string{
		"version: 1\n":         "no triggers and no sources and no functions any more, and there are some in force: was a file cut off? Write triggers: {} and sources: {} and functions: {} where",
		cut:                    "no triggers any more",
		cut + "triggers: {}\n": "",
		diffBase[:strings.Index(diffBase, "sources:")]:           "no triggers and no sources any more",
		"version: 1\ntriggers: {}\nsources: {}\nfunctions: {}\n": "",
		diffBase: "",
		"version: 1\nfunctions: { a: { log: a } }\nsources: { in: { webhook: {} } }\ntriggers: { t: { onSuccess: { function: a } } }\n": "",
	} {
		is, findings := config.Parse("is.yaml", []byte(text), registry(), nil)
		if len(findings) > 0 {
			t.Fatal(text, findings)
		}
		err := config.Emptied(was, is)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
		if err := config.Emptied(nothing, is); err != nil {
			t.Errorf("%s after nothing: %v", text, err)
		}
	}
}
