package soak

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A flow is one trigger of the workload: what its document says, and what it must come to.
type flow struct {
	name   string
	weight int
	// text is the trigger's part of the document from `flow:` on.
	text string
	// make gives the data of an event and the right ends of its run. generation is that of the documents when it is sent.
	make func(r *rand.Rand) (data string, right want)
	// then is what has to be done from outside once the run is acknowledged.
	then step
	// untold runs end without telling the collector.
	untold bool
	// versioned flows yield {"x": x, "v": the documents' generation when it was started}.
	versioned bool
}

// A step is what a run needs from outside.
type step uint8

const (
	nothing step = iota
	signals      // it waits for the signal "go"
	cancels      // it is to be cancelled
	leads        // its end starts another run
)

const (
	follower = "follower"
	patient  = "retry: { attempts: 60, backoff: 20ms, factor: 1.5, max: 400ms }"
)

func succeeded(v any) want       { return want{State: "succeeded", Data: of(v)} }
func failed(kind string) want    { return want{State: "failed", Error: kind} }
func small(r *rand.Rand) int     { return r.IntN(1_000_000) }
func digits(r *rand.Rand) string { return fmt.Sprint(small(r)) }

// workload are the flows with honest functions.
var workload = []flow{
	{name: "sequence", weight: 8, text: "{ sequence: [{ function: inc }, { function: double }, { function: inc }, { function: echo }] }",
		make: func(r *rand.Rand) (string, want) {
			x := small(r)
			return fmt.Sprint(x), succeeded(2*(x+1) + 1)
		}},
	{name: "fork", weight: 6, text: "{ forkjoin: { branches: { a: { function: inc }, b: { sequence: [{ function: double }, { wait: 20ms }] }, c: { function: echo } } } }",
		make: func(r *rand.Rand) (string, want) {
			x := small(r)
			return fmt.Sprint(x), succeeded(map[string]int{"a": x + 1, "b": 2 * x, "c": x})
		}},
	{name: "wide", weight: 3, text: `{ sequence: [{ map: { items: "${ data }", window: 16, do: { function: double } } }, { function: sum }] }`,
		make: func(r *rand.Rand) (string, want) {
			list := make([]int, 1+r.IntN(120))
			sum := 0
			for i := range list {
				list[i] = small(r)
				sum += 2 * list[i]
			}
			return of(list), succeeded(sum)
		}},
	{name: "nested", weight: 2, text: `{ map: { items: "${ data }", as: row, do: { map: { items: "${ row }", do: { function: inc } } } } }`,
		make: func(r *rand.Rand) (string, want) {
			in, out := make([][]int, 1+r.IntN(5)), [][]int{}
			for i := range in {
				row := []int{}
				for range 1 + r.IntN(6) {
					in[i] = append(in[i], small(r))
					row = append(row, in[i][len(in[i])-1]+1)
				}
				out = append(out, row)
			}
			return of(in), succeeded(out)
		}},
	{name: "graph", weight: 4, text: `
      dag:
        - { name: a, function: inc }
        - { name: b, function: double, needs: a, input: "${ steps.a }" }
        - { name: c, function: inc, needs: a, input: "${ steps.a }" }
        - { name: d, function: sum, needs: [b, c], input: "${ [steps.b, steps.c] }" }`,
		make: func(r *rand.Rand) (string, want) {
			a := small(r)
			return fmt.Sprint(a), succeeded(map[string]int{"d": 2*(a+1) + a + 2})
		}},
	{name: "signal", weight: 4, then: signals, text: `{ sequence: [{ function: inc }, { signal: go }, { function: echo }] }`,
		make: func(r *rand.Rand) (string, want) {
			x := small(r)
			return fmt.Sprint(x), succeeded(x + 7) // It echoes what the signal says.
		}},
	{name: "waits", weight: 3, text: `{ sequence: [{ wait: "${ string(data % 1500) + 'ms' }" }, { function: inc, input: "${ data }" }] }`,
		make: func(r *rand.Rand) (string, want) {
			x := small(r)
			return fmt.Sprint(x), succeeded(x + 1)
		}},
	{name: "caught", weight: 3, text: `{ function: boom, catch: [{ errors: [other], do: { function: echo } }, { errors: [boom], do: { function: inc, input: "${ data + size(error.message) }" } }] }`,
		make: func(r *rand.Rand) (string, want) {
			x := small(r)
			return fmt.Sprint(x), succeeded(x + len("as it should") + 1)
		}},
	{name: "fails", weight: 3, text: `{ sequence: [{ function: inc }, { function: boom, retry: { attempts: 3, backoff: 30ms } }, { function: inc }] }`,
		make: func(r *rand.Rand) (string, want) { return digits(r), failed("boom") }},
	{name: "expires", weight: 2, text: `{ signal: { name: never, within: 1500ms } }`,
		make: func(r *rand.Rand) (string, want) { return digits(r), failed("signal_deadline") }},
	{name: "cancelled", weight: 2, then: cancels, untold: true, text: `{ forkjoin: [{ function: forever }, { wait: 1000h }, { signal: never }] }`,
		make: func(r *rand.Rand) (string, want) { return digits(r), want{State: "cancelled"} }},
	{name: "leader", weight: 2, then: leads, text: `{ function: inc, output: "${ {'of': event.id, 'x': output} }" }`,
		make: func(r *rand.Rand) (string, want) { return digits(r), want{} }},
	{name: "large", weight: 1, text: `{ sequence: [{ function: inc, input: 1 }, { forkjoin: [{ function: echo, input: "${ size(data) }" }] }] }`,
		make: func(r *rand.Rand) (string, want) {
			n := 1 + r.IntN(700_000)
			return of(strings.Repeat("x", n)), succeeded([]int{n})
		}},
	{name: "idle", weight: 1, text: `{ map: { items: "${ data }", results: none, do: { wait: 0s, when: "${ item % 2 == 0 }" } }, output: "${ 'idle' }" }`,
		make: func(r *rand.Rand) (string, want) { return fmt.Sprint(r.IntN(3000)), succeeded("idle") }},
	{name: "versioned", weight: 3, versioned: true, text: `{ sequence: [{ function: inc, output: "${ [output, GENERATION] }" }, { wait: 300ms }, { function: echo, input: "${ data }", output: "${ [previous[1], GENERATION, output] }" }] }`,
		make: func(r *rand.Rand) (string, want) { return digits(r), want{} }},
}

// flows are the workload, with a flow for each lie.
func flows() []flow {
	all := slices.Clone(workload)
	for _, name := range append(lieNames(), "later") {
		all = append(all, flow{name: liar + name, weight: 1, text: fmt.Sprintf(
			`{ sequence: [{ function: inc }, { forkjoin: [{ function: lie-%[1]s, %[2]s }, { function: inc }] }, { function: sum }] }`, name, patient),
			make: func(r *rand.Rand) (string, want) {
				x := small(r)
				return fmt.Sprint(x), succeeded(2 * (x + 2))
			}})
	}
	return all
}

func lieNames() (names []string) {
	for _, l := range lies {
		names = append(names, l.name)
	}
	return names
}

func names(all []flow) (names []string) {
	for _, f := range all {
		names = append(names, f.name)
	}
	return names
}

// documents are what the router is given. Each generation says something else that running runs must not see.
func documents(all []flow, url string, generation int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nfunctions:\n%s", describe(url, generation))
	for _, name := range append(names(all), follower) {
		fmt.Fprintf(&b, "  to-%s: { http: { url: %q }, retry: { attempts: 10, backoff: 50ms } }\n", name, url+"/collect/"+name)
	}
	b.WriteString("sources:\n  inbox: { webhook: { path: /events } }\ntriggers:\n")
	for _, f := range all {
		fmt.Fprintf(&b, "  %s:\n    filters: [{ exact: { type: soak.%s } }]\n    flow: %s\n", f.name, f.name, strings.ReplaceAll(f.text, "GENERATION", fmt.Sprint(generation)))
		if !f.untold {
			fmt.Fprintf(&b, "    onSuccess: { function: to-%s }\n    onFailure: { function: to-%s }\n", f.name, f.name)
		}
	}
	fmt.Fprintf(&b, "  %s:\n    filters: [{ exact: { type: dev.onward.run.succeeded, source: /onward/leader } }]\n    flow: { function: echo }\n    onSuccess: { function: to-%s }\n", follower, follower)
	fmt.Fprintf(&b, "  probe: { filters: [{ exact: { type: soak.probe } }], flow: { function: echo } }\n")
	b.WriteString("  loop: { filters: [{ exact: { type: soak.loop } }], flow: { function: echo }, onSuccess: { trigger: loop } }\n")
	if generation%2 == 1 {
		fmt.Fprintf(&b, "  extra-%d: { filters: [{ exact: { type: soak.extra } }], flow: { wait: 1h } }\n", generation)
	}
	return b.String()
}
