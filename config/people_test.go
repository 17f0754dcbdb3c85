package config_test

import (
	"strings"
	"testing"
)

// TestWhatPeopleWrite: what a person brings from other tools is told in words that say what to write here.
func TestWhatPeopleWrite(t *testing.T) {
	t.Parallel()
	finds(t, map[string]string{
		`{ run: f }`:                                                                  `unknown key or policy "run"; did you mean "function"?`,
		`{ exec: [wc] }`:                                                              `unknown key or policy "exec"; name it below functions:, and write function: NAME here`,
		`{ function: f, if: "${ data.a }" }`:                                          `did you mean "when"?`,
		`{ if: "${ data.a }", function: f }`:                                          `did you mean "when"?`,
		`{ function: f, retries: 3 }`:                                                 `did you mean "retry"?`,
		`{ function: }`:                                                               "nothing where a text is due; write it behind the colon",
		`{ function: f, retry: 3 }`:                                                   "the number 3 where a mapping is due; write { attempts: 3 }",
		`{ function: f, retry: true }`:                                                "true where a mapping is due; write { attempts: ... }",
		`{ function: f, retry: { attempts: '3' } }`:                                   `the text "3" where a whole number is due; write 3`,
		`{ function: f, retry: { attempts: 1e1 } }`:                                   "the number 1e1 where a whole number is due; write 10",
		`{ function: f, retry: { attempts: 3, on: timeout } }`:                        `the text "timeout" where a list is due; write [timeout]`,
		`{ function: f, retry: { attempts: 3, on: [404] } }`:                          "the number 404 where a text is due; write http_404",
		`{ function: f, retry: { attempts: 3, on: [http_4xx] } }`:                     `"http_4xx" is no type of errors that HTTP gives; write http_422, each code by itself`,
		`{ function: f, retry: { attempts: 3, on: [http_404, throttle] } }`:           "",
		`{ function: f, retry: { attempts: 3, interval: 5s } }`:                       `did you mean "backoff"?`,
		`{ function: f, timeout: 1 hour }`:                                            `"1 hour" is not a duration; write 1h`,
		`{ function: f, catch: [{ function: f }] }`:                                   "put it below do:, as in { do: { function: ... } }",
		`{ map: { over: "${ data }", step: { function: f } } }`:                       `unknown key "over"; did you mean "items"?`,
		`{ map: { items: 3, do: { function: f }, concurrency: 3 } }`:                  `unknown key "concurrency"; did you mean "window"?`,
		`{ map: { items: 3, do: { function: f }, max: 3 } }`:                          `unknown key "max"; did you mean "window"?`,
		`{ map: { items: 3, do: { function: f }, tolerate: 5 } }`:                     "write { count: 5 }",
		`{ map: { items: 3, do: { function: f }, join: { percent: 65% } } }`:          `the text "65%" where a number is due; write 65`,
		`{ map: { items: 3, function: f } }`:                                          "put it below do:, as in { do: { function: ... } }",
		`{ choice: [{ if: "${ true }", do: { function: f } }] }`:                      "what is done stands beside if:, as in { if: ..., function: NAME }",
		`{ choice: [{ if: "${ data.x }", function: f }, { else: { function: f } }] }`: "it stands beside the cases: choice: { cases: [ ... ], else: { ... } }",
		`{ sequence: { function: f } }`:                                               "steps stand below steps:, or in a list",
		`{ dag: { a: { function: f } } }`:                                             "steps stand below steps:, or in a list",
		`{ signal: { name: a, timeout: 5s } }`:                                        `unknown key "timeout"; did you mean "within"?`,
		`{ function: f, when: "data.a > 3" }`:                                         `write a condition in ${ }: "${ data.a > 3 }", or leave the step out`,
		`{ function: f, when: "$data.a" }`:                                            `write a condition in ${ }: "${ data.a }"`,
		`{ function: f, when: "{{ data.a }}" }`:                                       `write a condition in ${ }: "${ data.a }"`,
		`{ function: f, when: yes }`:                                                  "write a condition in ${ }, or true",
		`{ function: f, when: "${ data.a AND data.b }" }`:                             "expressions say && where others say and",
		`{ function: f, when: "${ data.a <> 3 }" }`:                                   "expressions say != where others say <>",
		`{ function: f, when: "${ data.a is null }" }`:                                "write a == null",
		`{ function: f, when: "${ data.a || }" }`:                                     "at character 10: it ends where a value is due",
		`{ function: f, when: "${ size(data }" }`:                                     "at character 10: ) is missing at the end",
		`{ function: f, when: "${ data.a ? 1 }" }`:                                    ": is missing at the end",
		`{ function: f, when: "${ data.a data.b }" }`:                                 "data is not expected here: an operator, or the end, is due",
		`{ function: f, input: "${ if data.a then 1 else 2 }" }`:                      "expressions say a ? b : c",
		`{ function: f, input: "${ [x for x in data] }" }`:                            "a list of a list is data.list.map(x, x.name)",
		`{ function: f, input: "${ len(data) }" }`:                                    `unknown function "len"; write size(data)`,
		`{ function: f, input: "${ data.sum() }" }`:                                   `unknown function "sum"; write math.sum(data.list)`,
		`{ function: f, input: "${ now() }" }`:                                        "expressions have no clock",
		`{ function: f, input: "${ data.a == None }" }`:                               `unknown name "None"; write null`,
		`{ function: f, input: "${ env.HOME }" }`:                                     "expressions see no environment",
		`{ function: f, input: "${ math.sum(data.list) }" }`:                          "",
	})
	for text, want := range map[string]string{
		"functions: { f: wc -w }":                                                    "functions.f: a mapping is due here; write { exec | http | kafka | lambdaRuntime | log | openwhisk | trigger: ... }, as in { exec: [wc, -w] }",
		"functions: { f: http://h:1/x }":                                             ", as in { http: { url: http://h:1/x } }",
		"functions: { f: { exec: wc -w } }":                                          `"wc -w" names a program with its arguments; write [wc, -w]`,
		"functions: { f: { exec: [./count.sh -v] } }":                                `"./count.sh -v" names a program with its arguments; write [./count.sh, -v]`,
		"functions: { f: { exec: [/opt/my tools/count] } }":                          "",
		"functions: { f: { exec: [cat], env: [A=b] } }":                              "it belongs below exec:, as in exec: { command: ..., env: ... }",
		"functions: { f: { url: http://h:1/x } }":                                    "it belongs below http:, as in http: { url: ... }",
		"functions: { f: { http: { url: http://h:1/x, timeout: 5s } } }":             "it stands beside http:, not below it",
		"functions: { f: { http: http://h:1/x } }":                                   "write { url: http://h:1/x }",
		"functions: { f: { exec: [cat], retries: 3 } }":                              `did you mean "retry"?`,
		"functions: { f: { lambda: x } }":                                            `did you mean "lambdaRuntime"?`,
		"sources: { s: { webhook: { path: /e, rate: 100/s } } }":                     "it stands beside webhook:, not below it",
		"sources: { s: { cron: '0 2 * * *' } }":                                      `did you mean "schedule"?`,
		"sources: { s: { schedule: { every: 15 min } } }":                            "write 15m",
		"triggers: { t: { function: f } }":                                           "put it below flow:, as in { flow: { function: ... } }",
		"triggers: { t: { flow: { wait: 1s }, timeout: 3s } }":                       "put it below flow:, as in { flow: { timeout: ... } }",
		"triggers: { t: { flow: { wait: 1s }, onError: { log: x } } }":               `did you mean "onFailure"?`,
		"triggers: { t: { filters: [{ type: a }], flow: { wait: 1s } } }":            `did you mean "exact"?`,
		"triggers: { t: { filters: [{ exact: { tpye: a } }], flow: { wait: 1s } } }": `warning: triggers.t.filters: "tpye" is an extension's name; did you mean "type"?`,
		"functions: { f: { exec: [cat] } }\ntriggers:\n  t:\n    flow:\n      function: f\n      when: |\n        ${ data.a >\n           3 }\n": "",
	} {
		_, got := parse(t, "version: 1\n"+text+"\n")
		if want == "" && got != "" || !strings.Contains(got, want) || strings.Count(got, "\n") > 1 {
			t.Errorf("%s\nfinds %s\nwant  %s", text, got, want)
		}
	}
}
